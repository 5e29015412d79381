/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fakes below the FFI seam, and their knobs.
 *
 * All state is per thread, because the test runner runs tests on threads of one
 * process: a test sees its own allocations and its own warnings only.
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

/* What kmalloc() and slab caches come down to: objects like the above. */
struct kmem_cache;

void *host_kmalloc(unsigned long size);
void host_kfree(const void *ptr);
struct kmem_cache *host_cache_create(const char *name, unsigned long size,
				     unsigned long align);
/* Ends the program if objects are left. */
void host_cache_destroy(struct kmem_cache *cache);
void *host_cache_alloc(struct kmem_cache *cache, _Bool zero);
void host_cache_free(struct kmem_cache *cache, void *object);

/* Lets the n-th allocation from now on fail, once; 0 takes the order back. */
void host_fail_allocation(unsigned long n);
/* The order that is not yet carried out, 0 if there is none. */
unsigned long host_allocation_to_fail(void);
/* Lets all allocations fail, or no longer; returns what was. */
_Bool host_fail_all_allocations(_Bool fail);
/* Allocations that this thread asked for. */
unsigned long host_allocations(void);
/* Objects allocated and not freed by this thread. */
long host_live_objects(void);
/* Bytes in these objects, as kmalloc() and slab caches round them. */
long host_live_bytes(void);
/* For what can leak and is no memory. */
void host_count_objects(long more);

/* Real locks, in memory of the caller. Wrong use ends the program. */
void host_mutex_init(void *mutex, unsigned long size);
void host_mutex_destroy(void *mutex);
void host_mutex_lock(void *mutex);
int host_mutex_trylock(void *mutex);

/* What BUG() comes down to: ends the program. */
__attribute__((noreturn)) void host_bug(const char *file, int line, const char *text);

/* What WARN() comes down to; counts. */
__attribute__((format(printf, 4, 5)))
void warn_slowpath_fmt(const char *file, int line, unsigned int taint,
		       const char *fmt, ...);
/* Warnings on this thread since the last call. */
unsigned long host_take_warnings(void);

#endif
