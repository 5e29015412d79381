// SPDX-License-Identifier: GPL-2.0
/* The workload on the allocator of the assembled tree. */
#include <host/buddy.h>

#define ALLOCATOR	gpu_buddy
#define BUDDY(name)	gpu_buddy_##name
#define BUDDY_CLEARED	GPU_BUDDY_CLEARED

#include "bench_fragmentation.h"

int host_bench_fragmentation(u64 size, bool reverse)
{
	return run(size, reverse);
}
