/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Replaces the kernel's <linux/module.h>. The init functions of modules run before
 * main(), and their exit functions run after it.
 */
#ifndef _LINUX_MODULE_H
#define _LINUX_MODULE_H

#include <linux/bug.h>
#include <linux/export.h>

/* C files use functions that the kernel's header includes. Messages are discarded. */
static inline __attribute__((format(printf, 1, 2))) void host_no_printk(const char *format, ...)
{
}

#define pr_info(format...) do {						\
	if (0)								\
		host_no_printk(format);					\
} while (0)

#define __init
#define __exit

#define module_init(function)						\
	static void __attribute__((constructor)) host_start_##function(void)	\
	{								\
		BUG_ON(function());					\
	}

#define module_exit(function)						\
	static void __attribute__((destructor)) host_end_##function(void)	\
	{								\
		function();						\
	}

#define MODULE_DESCRIPTION(text)
#define MODULE_LICENSE(text)

#endif
