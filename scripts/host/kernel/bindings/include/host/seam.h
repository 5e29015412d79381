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

/* Fresh memory holds 0x5a, freed memory 0x6b, as in the kernel's slab poisoning. */
void *host_alloc(unsigned long size, unsigned long align);
void host_free(void *ptr, unsigned long size);

/* Lets the n-th allocation from now on fail, once; 0 takes the order back. */
void host_fail_allocation(unsigned long n);
/* Objects allocated and not freed by this thread. */
long host_live_objects(void);

/* What WARN() comes down to; counts. */
__attribute__((format(printf, 4, 5)))
void warn_slowpath_fmt(const char *file, int line, unsigned int taint,
		       const char *fmt, ...);
/* Warnings on this thread since the last call. */
unsigned long host_take_warnings(void);

#endif
