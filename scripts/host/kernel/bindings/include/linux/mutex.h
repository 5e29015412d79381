/* SPDX-License-Identifier: GPL-2.0 */
/* Replaces the kernel's <linux/mutex.h> with a real lock of the C library. */
#ifndef __LINUX_MUTEX_H
#define __LINUX_MUTEX_H

#include <linux/lockdep_types.h>
#include <host/seam.h>

/* Large enough for the C library's lock, see c/mutex.c. */
struct mutex {
	unsigned long lock[8];
};

static inline void __mutex_init(struct mutex *mutex, const char *name,
				struct lock_class_key *key)
{
	host_mutex_init(mutex->lock, sizeof(mutex->lock));
}

static inline void mutex_lock(struct mutex *mutex)
{
	host_mutex_lock(mutex->lock);
}

static inline int mutex_trylock(struct mutex *mutex)
{
	return host_mutex_trylock(mutex->lock);
}

/* Not inline in the kernel either, so Rust code calls it without a helper. */
void mutex_unlock(struct mutex *mutex);

static inline void mutex_destroy(struct mutex *mutex)
{
	host_mutex_destroy(mutex->lock);
}

/* Lockdep is off, but c/mutex.c checks for recursion and for unlocking without the lock. */
#define lockdep_assert_held(mutex)	((void)(mutex))

#endif
