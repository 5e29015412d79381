/* SPDX-License-Identifier: GPL-2.0 */
/* Replaces the kernel's <linux/rcupdate.h> as far as <linux/rbtree.h> uses it. */
#ifndef __LINUX_RCUPDATE_H
#define __LINUX_RCUPDATE_H

#include <linux/compiler.h>
#include <asm/barrier.h>

#define rcu_dereference_raw(p)		READ_ONCE(p)
#define rcu_assign_pointer(p, v)	smp_store_release(&(p), (v))

#endif
