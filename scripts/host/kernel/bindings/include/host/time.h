/* SPDX-License-Identifier: GPL-2.0 */
/* The clock below the FFI seam, see c/time.c. */
#ifndef HOST_TIME_H
#define HOST_TIME_H

#define MAX_UDELAY_MS 5

long long ktime_get(void);
long long ktime_get_real(void);
long long ktime_get_boottime(void);
long long ktime_get_clocktai(void);
void fsleep(unsigned long usecs);
void udelay(unsigned long usecs);
void might_resched(void);
unsigned long __msecs_to_jiffies(unsigned int msecs);

/* Calls of might_resched() and fsleep() by this thread. */
unsigned long host_sleeps(void);

#endif
