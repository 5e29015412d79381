// SPDX-License-Identifier: GPL-2.0
/*
 * The C counterpart of the benchmark of the binding, in a separate file so that
 * the compiler cannot see its caller. It has the same operations and locks as the
 * Rust benchmark.
 */
#include <host/buddy.h>
#include <linux/mutex.h>

int host_bench_alloc_free(struct gpu_buddy *mm, struct mutex *mutex, u64 size,
			  u64 min_block_size, unsigned long flags, unsigned long times)
{
	while (times--) {
		LIST_HEAD(blocks);
		int ret;

		mutex_lock(mutex);
		ret = gpu_buddy_alloc_blocks(mm, 0, mm->size, size, min_block_size, &blocks,
					     flags);
		mutex_unlock(mutex);
		if (ret)
			return ret;

		mutex_lock(mutex);
		gpu_buddy_free_list(mm, &blocks, 0);
		mutex_unlock(mutex);
	}
	return 0;
}
