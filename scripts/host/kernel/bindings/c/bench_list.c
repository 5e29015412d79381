// SPDX-License-Identifier: GPL-2.0
/*
 * The C counterparts of the list benchmark, in a file of their own so that the
 * compiler cannot see their callers. Each does per item what the Rust one does.
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

unsigned long host_bench_walk_back(struct list_head *head)
{
	struct host_item *item;
	unsigned long sum = 0;

	list_for_each_entry_reverse(item, head, link)
		sum += item->value;
	return sum;
}

unsigned long host_bench_remove_all(struct list_head *head)
{
	struct host_item *item, *next;
	unsigned long sum = 0;

	list_for_each_entry_safe(item, next, head, link) {
		list_del_init(&item->link);
		sum += item->value;
	}
	return sum;
}

unsigned long host_bench_remove_every_second(struct list_head *head)
{
	struct host_item *item, *next;
	unsigned long sum = 0;

	list_for_each_entry_safe(item, next, head, link) {
		if (item->value & 1) {
			list_del_init(&item->link);
			sum += item->value;
		}
	}
	return sum;
}

unsigned long host_bench_drain(struct list_head *head)
{
	struct host_item *item;
	unsigned long sum = 0;

	while (!list_empty(head)) {
		item = list_first_entry(head, struct host_item, link);
		list_del_init(&item->link);
		sum += item->value;
	}
	return sum;
}
