// SPDX-License-Identifier: GPL-2.0
/*
 * Time below the FFI seam: a clock of each thread that goes on when it is looked at
 * and when the thread sleeps, so that a test of a timeout takes no time and always
 * the same way.
 */
#include "../include/host/time.h"

/* What a look at the clock takes, in nanoseconds. */
#define LOOK 100

static _Thread_local long long now = 1;
static _Thread_local unsigned long sleeps;

long long ktime_get(void)
{
	now += LOOK;
	return now;
}

long long ktime_get_real(void)
{
	return ktime_get();
}

long long ktime_get_boottime(void)
{
	return ktime_get();
}

long long ktime_get_clocktai(void)
{
	return ktime_get();
}

void udelay(unsigned long usecs)
{
	now += 1000LL * usecs;
}

void fsleep(unsigned long usecs)
{
	sleeps++;
	udelay(usecs);
}

void might_resched(void)
{
	sleeps++;
}

unsigned long host_sleeps(void)
{
	return sleeps;
}

unsigned long __msecs_to_jiffies(unsigned int msecs)
{
	return msecs;
}
