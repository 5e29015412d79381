// SPDX-License-Identifier: GPL-2.0
/* The C side of the list tests: the real inline functions and macros of list.h. */
#include <host/list.h>

long host_list_values(const struct list_head *head, unsigned long *values,
		      unsigned long max)
{
	struct host_item *item;
	unsigned long n = 0;

	if (head->next->prev != head || head->prev->next != head)
		return -1;
	list_for_each_entry(item, head, link) {
		if (n == max || item->link.next->prev != &item->link)
			return -1;
		values[n++] = item->value;
	}
	return n;
}

long host_list_values_reverse(const struct list_head *head,
			      unsigned long *values, unsigned long max)
{
	struct host_item *item;
	unsigned long n = 0;

	if (head->next->prev != head || head->prev->next != head)
		return -1;
	list_for_each_entry_reverse(item, head, link) {
		if (n == max || item->link.prev->next != &item->link)
			return -1;
		values[n++] = item->value;
	}
	return n;
}

void host_list_add(struct list_head *entry, struct list_head *head)
{
	list_add(entry, head);
}

void host_list_del(struct list_head *entry)
{
	list_del(entry);
}

void host_list_del_init(struct list_head *entry)
{
	list_del_init(entry);
}

bool host_list_empty(const struct list_head *head)
{
	return list_empty(head);
}
