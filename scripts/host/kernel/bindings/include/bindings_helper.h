/* SPDX-License-Identifier: GPL-2.0 */
/* The headers that the host's `kernel::bindings` is made from. */

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/panic.h>
#include <linux/sizes.h>

#include <host/list.h>
#include <host/seam.h>
