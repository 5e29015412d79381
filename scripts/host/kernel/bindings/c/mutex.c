// SPDX-License-Identifier: GPL-2.0
/*
 * Mutexes below the FFI seam, with the most important checks of lockdep: no
 * recursion, and only the owner unlocks. A violation ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../include/host/seam.h"

/* For a `struct mutex`, whose memory is all lock. */
void mutex_unlock(void *mutex);

static void must(int error, const char *what)
{
	if (!error)
		return;
	errno = error;
	perror(what);
	abort();
}

void host_mutex_init(void *mutex, unsigned long size)
{
	pthread_mutexattr_t attr;

	if (size < sizeof(pthread_mutex_t))
		abort();
	must(pthread_mutexattr_init(&attr), "pthread_mutexattr_init");
	must(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK), "settype");
	must(pthread_mutex_init(mutex, &attr), "mutex_init");
	pthread_mutexattr_destroy(&attr);
}

void host_mutex_destroy(void *mutex)
{
	must(pthread_mutex_destroy(mutex), "mutex_destroy");
}

void host_mutex_lock(void *mutex)
{
	must(pthread_mutex_lock(mutex), "mutex_lock");
}

int host_mutex_trylock(void *mutex)
{
	int error = pthread_mutex_trylock(mutex);

	if (error == EBUSY)
		return 0;
	must(error, "mutex_trylock");
	return 1;
}

void mutex_unlock(void *mutex)
{
	must(pthread_mutex_unlock(mutex), "mutex_unlock");
}
