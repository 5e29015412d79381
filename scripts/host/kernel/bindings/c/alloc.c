// SPDX-License-Identifier: GPL-2.0
/*
 * Allocation below the FFI seam. It goes through the C library, so that
 * AddressSanitizer sees each object.
 */
#include <stdlib.h>
#include <string.h>

#include "../include/host/seam.h"

/* As in include/linux/poison.h. */
#define POISON_INUSE 0x5a
#define POISON_FREE 0x6b

static _Thread_local unsigned long fail_in;
static _Thread_local long live;

void *host_alloc(unsigned long size, unsigned long align)
{
	void *ptr;

	if (fail_in && --fail_in == 0)
		return NULL;
	if (align < sizeof(void *))
		align = sizeof(void *);
	if (posix_memalign(&ptr, align, size))
		return NULL;
	memset(ptr, POISON_INUSE, size);
	live++;
	return ptr;
}

void host_free(void *ptr, unsigned long size)
{
	if (!ptr)
		return;
	memset(ptr, POISON_FREE, size);
	/* The compiler may not drop the stores for being followed by free(). */
	__asm__ volatile("" : : "r"(ptr) : "memory");
	free(ptr);
	live--;
}

void host_fail_allocation(unsigned long n)
{
	fail_in = n;
}

long host_live_objects(void)
{
	return live;
}
