/* SPDX-License-Identifier: GPL-2.0 */
/* Replaces the kernel's <linux/slab.h>. The C library allocates the objects. */
#ifndef _LINUX_SLAB_H
#define _LINUX_SLAB_H

/* C files use declarations that the kernel's header includes. */
#include <linux/align.h>
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/gfp_types.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/types.h>
#include <host/seam.h>

struct kmem_cache;

#define KMEM_CACHE(__struct, __flags)				\
	host_cache_create(#__struct, sizeof(struct __struct),	\
			  __alignof__(struct __struct))
#define kmem_cache_destroy(cache)	host_cache_destroy(cache)
#define kmem_cache_alloc(cache, gfp)	((void)(gfp), host_cache_alloc(cache, false))
#define kmem_cache_zalloc(cache, gfp)	((void)(gfp), host_cache_alloc(cache, true))
#define kmem_cache_free(cache, object)	host_cache_free(cache, object)

static inline void *kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	if (check_mul_overflow(n, size, &bytes))
		return NULL;
	return host_kmalloc(bytes);
}

static inline void *kcalloc(size_t n, size_t size, gfp_t gfp)
{
	void *object = kmalloc_array(n, size, gfp);

	if (object)
		__builtin_memset(object, 0, n * size);
	return object;
}

/* Takes a type or an expression, as the kernel's. */
#define kmalloc_objs(type, count)					\
	((typeof(type) *)kmalloc_array(count, sizeof(type), 0))

static inline void kfree(const void *object)
{
	host_kfree(object);
}

#endif
