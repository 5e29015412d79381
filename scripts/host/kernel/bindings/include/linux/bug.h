/* SPDX-License-Identifier: GPL-2.0 */
/* Stands in for the kernel's <linux/bug.h>: a warning is counted, a bug ends the program. */
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

#define WARN_ON(condition)						\
	WARN(condition, "%s", "WARN_ON(" #condition ")")

#define BUG_ON(condition) do {						\
	if (unlikely(condition))					\
		host_bug(__FILE__, __LINE__, #condition);		\
} while (0)

/* Without CONFIG_BUG_ON_DATA_CORRUPTION. */
#define CHECK_DATA_CORRUPTION(condition, addr, format...)		\
	WARN(condition, format)

#endif
