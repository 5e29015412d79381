// SPDX-License-Identifier: GPL-2.0
/* The workload on the allocator of the base. */
#include <drm/drm_buddy.h>

#define ALLOCATOR	drm_buddy
#define BUDDY(name)	drm_buddy_##name
#define BUDDY_CLEARED	DRM_BUDDY_CLEARED

#include "bench_fragmentation.h"

int host_bench_fragmentation_base(u64 size, bool reverse);

int host_bench_fragmentation_base(u64 size, bool reverse)
{
	return run(size, reverse);
}
