/* SPDX-License-Identifier: GPL-2.0 */
/* Stands in for the kernel's <linux/numa.h>: there is one node. */
#ifndef _LINUX_NUMA_H
#define _LINUX_NUMA_H

#define MAX_NUMNODES	1
#define NUMA_NO_NODE	(-1)

#endif
