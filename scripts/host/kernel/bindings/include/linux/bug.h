/* SPDX-License-Identifier: GPL-2.0 */
/* Stands in for the kernel's <linux/bug.h>: a warning is counted. */
#ifndef _LINUX_BUG_H
#define _LINUX_BUG_H

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/panic.h>
#include <host/seam.h>

#define WARN(condition, format...) ({					\
	bool __warn = !!(condition);					\
									\
	if (unlikely(__warn))						\
		warn_slowpath_fmt(__FILE__, __LINE__, TAINT_WARN, format); \
	unlikely(__warn);						\
})

/* Without CONFIG_BUG_ON_DATA_CORRUPTION. */
#define CHECK_DATA_CORRUPTION(condition, addr, format...)		\
	WARN(condition, format)

#endif
