/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The generic bit operations, except for the atomic ones, which the compiled code
 * does not use.
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
