// SPDX-License-Identifier: GPL-2.0
/*
 * Time below the FFI seam: a clock for each thread that advances on each read and
 * when the thread sleeps. Tests of timeouts take no time and are deterministic.
 */
#include "../include/host/time.h"

/* The time that a read of the clock takes, in nanoseconds. */
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
