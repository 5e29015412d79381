/* SPDX-License-Identifier: GPL-2.0 */
/* Empty: lib/list_debug.c uses nothing of the kernel's <linux/rculist.h>. */
