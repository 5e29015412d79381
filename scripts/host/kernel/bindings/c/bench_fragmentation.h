/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The KUnit case "fragmentation_performance", with names that the including file
 * defines for its allocator: BUDDY(), ALLOCATOR() and BUDDY_CLEARED.
 */
#include <linux/sizes.h>

#define BLOCK_ALIGN	SZ_64K

/* Frees every @n-th block as cleared, counting from @first; the others move to @rest. */
static void free_some(struct ALLOCATOR *mm, struct list_head *blocks, unsigned int n,
		      unsigned int first, struct list_head *rest)
{
	struct BUDDY(block) *block, *next;
	unsigned int count = 0;
	LIST_HEAD(some);

	list_for_each_entry_safe(block, next, blocks, link)
		list_move_tail(&block->link, count++ % n == first ? &some : rest);
	BUDDY(free_list)(mm, &some, BUDDY_CLEARED);
}

static int fill(struct ALLOCATOR *mm, u64 size, struct list_head *blocks)
{
	u64 n;
	int ret;

	for (n = 0; n < mm->size / BLOCK_ALIGN; n++) {
		ret = BUDDY(alloc_blocks)(mm, 0, mm->size, size, BLOCK_ALIGN, blocks, 0);
		if (ret)
			return ret;
	}
	return 0;
}

/* Blocks of 8 KiB aligned to 64 KiB. Half of them are freed as cleared, half as dirty. */
static int fragmented(struct ALLOCATOR *mm)
{
	LIST_HEAD(blocks);
	LIST_HEAD(others);
	LIST_HEAD(dirty);
	int ret;

	ret = fill(mm, SZ_8K, &blocks);
	if (ret)
		return ret;
	/* The first and the last of every four blocks. */
	free_some(mm, &blocks, 4, 0, &others);
	free_some(mm, &others, 3, 2, &dirty);
	BUDDY(free_list)(mm, &dirty, 0);

	ret = fill(mm, BLOCK_ALIGN, &blocks);
	if (ret)
		return ret;
	BUDDY(free_list)(mm, &blocks, 0);
	return 0;
}

/* The same blocks. Every second one is freed, then the others from the end. */
static int reverse_free(struct ALLOCATOR *mm)
{
	struct BUDDY(block) *block, *next;
	LIST_HEAD(reverse);
	LIST_HEAD(blocks);
	LIST_HEAD(others);
	int ret;

	ret = fill(mm, SZ_8K, &blocks);
	if (ret)
		return ret;
	free_some(mm, &blocks, 2, 0, &others);
	list_for_each_entry_safe(block, next, &others, link)
		list_move(&block->link, &reverse);
	BUDDY(free_list)(mm, &reverse, BUDDY_CLEARED);
	return 0;
}

/* Runs one of the two on an allocator for @size bytes. */
static int run(u64 size, bool reverse)
{
	struct ALLOCATOR mm;
	int ret;

	ret = BUDDY(init)(&mm, size, SZ_4K);
	if (ret)
		return ret;
	ret = reverse ? reverse_free(&mm) : fragmented(&mm);
	BUDDY(fini)(&mm);
	return ret;
}
