// SPDX-License-Identifier: GPL-2.0
/*
 * The C counterpart of the list benchmark. It is in a separate file so that the compiler
 * cannot see its caller, and does the same work as the Rust code for each item.
 */
#include <host/list.h>

unsigned long host_bench_walk(struct list_head *head)
{
	struct host_item *item;
	unsigned long sum = 0;

	list_for_each_entry(item, head, link)
		sum += item->value;
	return sum;
}
