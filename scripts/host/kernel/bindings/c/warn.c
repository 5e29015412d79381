// SPDX-License-Identifier: GPL-2.0
/* Warnings below the FFI seam: printed and counted. A bug ends the program. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../include/host/seam.h"

static _Thread_local unsigned long warnings;

void warn_slowpath_fmt(const char *file, int line, unsigned int taint,
		       const char *fmt, ...)
{
	va_list args;

	(void)taint;
	warnings++;
	fprintf(stderr, "WARNING: %s:%d ", file, line);
	/* A bare WARN_ON() has no text. */
	if (fmt) {
		va_start(args, fmt);
		vfprintf(stderr, fmt, args);
		va_end(args);
	}
	fputc('\n', stderr);
}

unsigned long host_take_warnings(void)
{
	unsigned long n = warnings;

	warnings = 0;
	return n;
}

void host_bug(const char *file, int line, const char *text)
{
	fprintf(stderr, "BUG: %s:%d %s\n", file, line, text);
	abort();
}
