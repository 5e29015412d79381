// SPDX-License-Identifier: GPL-2.0
/*
 * Allocation below the FFI seam. It goes through the C library, so that
 * AddressSanitizer sees each object.
 */
#include <limits.h>
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
static _Thread_local long live_bytes;

/* The object size of the kmalloc() cache that serves a request, or the size of its pages. */
static unsigned long kmalloc_bytes(unsigned long size)
{
	if (size <= 8)
		return 8;
	if (size > 64 && size <= 96)
		return 96;
	if (size > 128 && size <= 192)
		return 192;
	return 1UL << (64 - __builtin_clzl(size - 1));
}

static void *acquire(unsigned long size, unsigned long align, unsigned long bytes)
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
	live_bytes += bytes;
	return ptr;
}

static void release(void *ptr, unsigned long size, unsigned long bytes)
{
	memset(ptr, POISON_FREE, size);
	/* Keep the compiler from dropping the stores before free(). */
	__asm__ volatile("" : : "r"(ptr) : "memory");
	free(ptr);
	live--;
	live_bytes -= bytes;
}

void *host_alloc(unsigned long size, unsigned long align)
{
	return acquire(size, align, kmalloc_bytes(size));
}

void host_free(void *ptr, unsigned long size)
{
	if (ptr)
		release(ptr, size, kmalloc_bytes(size));
}

/* Precedes an object of kmalloc(), because kfree() has no size argument. */
struct kmalloc_header {
	unsigned long size;
	/* Detects writes to the header, which AddressSanitizer does not. */
	unsigned long not_size;
};

void *host_kmalloc(unsigned long size)
{
	struct kmalloc_header *header;

	/* Too large to allocate, and the rounding would overflow. */
	if (size > LONG_MAX)
		return NULL;
	header = acquire(sizeof(*header) + size, 0, kmalloc_bytes(size));
	if (!header)
		return NULL;
	header->size = size;
	header->not_size = ~size;
	return header + 1;
}

void host_kfree(const void *ptr)
{
	struct kmalloc_header *header;

	if (!ptr)
		return;
	header = (struct kmalloc_header *)ptr - 1;
	if (header->not_size != ~header->size) {
		fprintf(stderr, "kfree: bad pointer, or header overwritten\n");
		abort();
	}
	release(header, sizeof(*header) + header->size, kmalloc_bytes(header->size));
}

struct kmem_cache {
	const char *name;
	unsigned long size;
	unsigned long align;
	/* Of all threads. */
	atomic_long objects;
	/* The size of an object in a slab. */
	unsigned long bytes;
};

struct kmem_cache *host_cache_create(const char *name, unsigned long size,
				     unsigned long align)
{
	struct kmem_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->name = name;
	cache->size = size;
	cache->align = align < sizeof(void *) ? sizeof(void *) : align;
	cache->bytes = (size + cache->align - 1) & ~(cache->align - 1);
	return cache;
}

void host_cache_destroy(struct kmem_cache *cache)
{
	if (atomic_load(&cache->objects)) {
		fprintf(stderr, "slab cache %s: objects are left\n", cache->name);
		/* A leak changes the exit code of the program. */
		abort();
	}
	free(cache);
}

void *host_cache_alloc(struct kmem_cache *cache, _Bool zero)
{
	void *object = acquire(cache->size, cache->align, cache->bytes);

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
	release(object, cache->size, cache->bytes);
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

long host_live_bytes(void)
{
	return live_bytes;
}

void host_count_objects(long more)
{
	live += more;
}
