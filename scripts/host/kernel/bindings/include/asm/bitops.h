/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The bit operations of an architecture that has none of its own. The atomic ones
 * are left out: nothing that is compiled here uses them.
 */
#ifndef _HOST_ASM_BITOPS_H
#define _HOST_ASM_BITOPS_H

#include <asm-generic/bitops/builtin-__ffs.h>
#include <asm-generic/bitops/builtin-ffs.h>
#include <asm-generic/bitops/builtin-__fls.h>
#include <asm-generic/bitops/builtin-fls.h>
#include <asm-generic/bitops/fls64.h>
#include <asm-generic/bitops/ffz.h>
#include <asm-generic/bitops/hweight.h>
#include <asm-generic/bitops/non-atomic.h>

#endif
