/* SPDX-License-Identifier: GPL-2.0 */
/* C functions for the tests and the benchmark of the GPU buddy allocator. */
#ifndef HOST_BUDDY_H
#define HOST_BUDDY_H

#include <linux/gpu_buddy.h>

struct mutex;

/*
 * Whether the allocator has free trees with alignments, counters of blocks, a lookup of
 * addresses, and blocks that are smaller than their alignment.
 */
enum {
#ifdef HOST_BUDDY_AUGMENTED
	HOST_BUDDY_IS_AUGMENTED = 1,
#else
	HOST_BUDDY_IS_AUGMENTED = 0,
#endif
};

/* A block that is allocated or free, not split. */
struct host_buddy_leaf {
	u64 offset;
	u32 order;
	bool allocated;
	bool clear;
};

/*
 * Look at all there is inside of the allocator: the binary trees, the free trees and
 * the counters, and whether they agree. Store the leaves in ascending order, at most
 * @max of them. Return their number, or minus the line of c/test_buddy.c that found
 * something broken.
 */
long host_buddy_leaves(struct gpu_buddy *mm, struct host_buddy_leaf *leaves,
		       unsigned long max);

/*
 * Store the blocks of a list in its order, at most @max of them, and return their
 * number, or -1 if there are more, or one is not allocated.
 */
long host_buddy_blocks(const struct list_head *list, struct host_buddy_leaf *leaves,
		       unsigned long max);

/* The block at place @n of a list. */
struct gpu_buddy_block *host_buddy_nth(const struct list_head *list, unsigned long n);

/* Move the blocks from place @n on to the end of another list. */
void host_buddy_split_off(struct list_head *list, unsigned long n, struct list_head *to);

/* Allocates and frees, a number of times, with the lock held for each. */
int host_bench_alloc_free(struct gpu_buddy *mm, struct mutex *mutex, u64 size,
			  u64 min_block_size, unsigned long flags, unsigned long times);

/*
 * Run one of the two workloads of the KUnit case "fragmentation_performance" on @size
 * bytes, with the allocator of the assembled tree or with the allocator of the base.
 */
int host_bench_fragmentation(u64 size, bool reverse);
int host_bench_fragmentation_base(u64 size, bool reverse);

/* Reads freed memory in an allocator, which a sanitizer has to notice. */
u64 host_buddy_use_after_free(struct gpu_buddy *mm);

/* Reads a block that is not aligned, which a sanitizer has to notice. */
u64 host_buddy_misaligned(struct gpu_buddy *mm);

#endif
