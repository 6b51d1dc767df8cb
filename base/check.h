/* SPDX-License-Identifier: BSD-3-Clause */
/* check: assertions that stay in release builds, and slow ones that do not.
 *
 * Thread: any. A failed check says where and what, on stderr and to the handler of SIGABRT, then
 * aborts.
 */
#ifndef SHOAL_BASE_CHECK_H
#define SHOAL_BASE_CHECK_H

_Noreturn void check_failed(const char *what, const char *file, int line);
/* The same for what is no check: `what` is the whole reason. */
_Noreturn void die(const char *what, const char *file, int line);

#define check(x) (__builtin_expect(!!(x), 1) ? (void)0 : check_failed(#x, __FILE__, __LINE__))

#ifdef SHOAL_CHECK_SLOW
#define check_slow(x) check(x)
#define CHECKS_SLOW   1
#else
#define check_slow(x) ((void)0)
#define CHECKS_SLOW   0
#endif

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
