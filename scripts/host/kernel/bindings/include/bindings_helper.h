/* SPDX-License-Identifier: GPL-2.0 */
/* The headers that the host's `kernel::bindings` is made from. */

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/gpu_buddy.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/numa.h>
#include <linux/panic.h>
#include <linux/rbtree.h>
#include <linux/sizes.h>
#include <uapi/linux/time.h>
#include <vdso/time64.h>

#include <host/buddy.h>
#include <host/io.h>
#include <host/list.h>
#include <host/seam.h>
#include <host/time.h>

/* Constants of the kernel's own bindings_helper.h that bindgen does not see otherwise. */
#include <generated/const_helpers.h>
