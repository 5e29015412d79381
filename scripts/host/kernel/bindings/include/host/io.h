/* SPDX-License-Identifier: GPL-2.0 */
/* Accesses to devices: defined by the stand-in's src/host/mmio.rs. */
#ifndef HOST_IO_H
#define HOST_IO_H

#include <linux/types.h>

u8 readb(const void *address);
u16 readw(const void *address);
u32 readl(const void *address);
u64 readq(const void *address);
u8 readb_relaxed(const void *address);
u16 readw_relaxed(const void *address);
u32 readl_relaxed(const void *address);
u64 readq_relaxed(const void *address);
void writeb(u8 value, void *address);
void writew(u16 value, void *address);
void writel(u32 value, void *address);
void writeq(u64 value, void *address);
void writeb_relaxed(u8 value, void *address);
void writew_relaxed(u16 value, void *address);
void writel_relaxed(u32 value, void *address);
void writeq_relaxed(u64 value, void *address);

#endif
