/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/check.h"

#include <criterion/criterion.h>
#include <signal.h>

Test(check, a_true_check_goes_on_and_evaluates_once) {
    int calls = 0;
    check(++calls == 1);
    cr_assert_eq(calls, 1);
}

Test(check, a_false_check_aborts, .signal = SIGABRT) {
    check(1 + 1 == 3);
}
