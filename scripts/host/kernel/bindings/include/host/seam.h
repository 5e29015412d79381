/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fakes below the FFI seam, and their knobs.
 *
 * All state is per thread, because the test runner runs tests on threads of one
 * process: a test counts only its own allocations and warnings.
 *
 * Includes nothing, so that it serves both the code that sees kernel headers and
 * the code that sees the host's.
 */
#ifndef HOST_SEAM_H
#define HOST_SEAM_H

/*
 * Fresh memory holds 0x5a, freed memory 0x6b, as in the kernel's slab poisoning.
 * It counts as an object of kmalloc().
 */
void *host_alloc(unsigned long size, unsigned long align);
void host_free(void *ptr, unsigned long size);

/* The implementation of kmalloc() and slab caches, with objects like the above. */
struct kmem_cache;

void *host_kmalloc(unsigned long size);
void host_kfree(const void *ptr);
struct kmem_cache *host_cache_create(const char *name, unsigned long size,
				     unsigned long align);
/* Ends the program if objects are left. */
void host_cache_destroy(struct kmem_cache *cache);
void *host_cache_alloc(struct kmem_cache *cache, _Bool zero);
void host_cache_free(struct kmem_cache *cache, void *object);

/* Makes the n-th allocation from now on fail, once; 0 cancels the request. */
void host_fail_allocation(unsigned long n);
/* Returns the pending request, or 0 if there is none. */
unsigned long host_allocation_to_fail(void);
/* Makes all allocations fail, or ends that; returns the previous state. */
_Bool host_fail_all_allocations(_Bool fail);
/* Allocations that this thread asked for. */
unsigned long host_allocations(void);
/* Objects allocated and not freed by this thread. */
long host_live_objects(void);
/* Bytes in these objects, as kmalloc() and slab caches round them. */
long host_live_bytes(void);
/* Count objects that are not memory but can leak. */
void host_count_objects(long more);

/* Real locks, in memory of the caller. Wrong use ends the program. */
void host_mutex_init(void *mutex, unsigned long size);
void host_mutex_destroy(void *mutex);
void host_mutex_lock(void *mutex);
int host_mutex_trylock(void *mutex);

/* The implementation of BUG(); ends the program. */
__attribute__((noreturn)) void host_bug(const char *file, int line, const char *text);

/* The implementation of WARN(); counts the warnings. */
__attribute__((format(printf, 4, 5)))
void warn_slowpath_fmt(const char *file, int line, unsigned int taint,
		       const char *fmt, ...);
/* Warnings on this thread since the last call. */
unsigned long host_take_warnings(void);

#endif
