/* SPDX-License-Identifier: GPL-2.0 */
/* C functions for the tests and the benchmark of the C list abstraction. */
#ifndef HOST_LIST_H
#define HOST_LIST_H

#include <linux/list.h>

/*
 * An item with its link in the middle and a guard on either side, so that a wrong
 * offset shows.
 */
struct host_item {
	unsigned long guard_before;
	unsigned long value;
	struct list_head link;
	unsigned long guard_after;
};

/*
 * Walk a list by its C macros and store the values found, at most @max of them,
 * which also ends the walk of a broken list. Return the number of items, or -1 if
 * a link does not point back, or the list has more than @max items.
 */
long host_list_values(const struct list_head *head, unsigned long *values,
		      unsigned long max);
long host_list_values_reverse(const struct list_head *head,
			      unsigned long *values, unsigned long max);

/* Wrappers of inline functions, for tests that act as C code. */
void host_list_add(struct list_head *entry, struct list_head *head);
void host_list_del(struct list_head *entry);
void host_list_del_init(struct list_head *entry);
bool host_list_empty(const struct list_head *head);

/* The C counterpart of the benchmark. */
unsigned long host_bench_walk(struct list_head *head);

#endif
