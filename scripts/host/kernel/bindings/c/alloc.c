// SPDX-License-Identifier: GPL-2.0
/*
 * Allocation below the FFI seam. It goes through the C library, so that
 * AddressSanitizer sees each object.
 */
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../include/host/seam.h"

/* As in include/linux/poison.h. */
#define POISON_INUSE 0x5a
#define POISON_FREE 0x6b

static _Thread_local unsigned long fail_in;
static _Thread_local _Bool fail_all;
static _Thread_local unsigned long asked;
static _Thread_local long live;

void *host_alloc(unsigned long size, unsigned long align)
{
	void *ptr;

	asked++;
	if (fail_in && --fail_in == 0)
		return NULL;
	if (fail_all)
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

void *host_kmalloc(unsigned long size)
{
	return host_alloc(size, 0);
}

void host_kfree(const void *ptr)
{
	host_free((void *)ptr, malloc_usable_size((void *)ptr));
}

struct kmem_cache {
	const char *name;
	unsigned long size;
	unsigned long align;
	/* Of all threads. */
	atomic_long objects;
};

struct kmem_cache *host_cache_create(const char *name, unsigned long size,
				     unsigned long align)
{
	struct kmem_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->name = name;
	cache->size = size;
	cache->align = align;
	return cache;
}

void host_cache_destroy(struct kmem_cache *cache)
{
	if (atomic_load(&cache->objects)) {
		fprintf(stderr, "slab cache %s: objects are left\n", cache->name);
		/* The exit code of a program that leaks tells it. */
		abort();
	}
	free(cache);
}

void *host_cache_alloc(struct kmem_cache *cache, _Bool zero)
{
	void *object = host_alloc(cache->size, cache->align);

	if (!object)
		return NULL;
	atomic_fetch_add_explicit(&cache->objects, 1, memory_order_relaxed);
	if (zero)
		memset(object, 0, cache->size);
	return object;
}

void host_cache_free(struct kmem_cache *cache, void *object)
{
	atomic_fetch_sub_explicit(&cache->objects, 1, memory_order_relaxed);
	host_free(object, cache->size);
}

void host_fail_allocation(unsigned long n)
{
	fail_in = n;
}

unsigned long host_allocation_to_fail(void)
{
	return fail_in;
}

_Bool host_fail_all_allocations(_Bool fail)
{
	_Bool was = fail_all;

	fail_all = fail;
	return was;
}

unsigned long host_allocations(void)
{
	return asked;
}

long host_live_objects(void)
{
	return live;
}

void host_count_objects(long more)
{
	live += more;
}
