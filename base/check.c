/* SPDX-License-Identifier: BSD-3-Clause */
/* A failed check is a bug of ours: what we would write or answer next could be wrong, so the
 * process stops here and leaves a core. stderr is written directly because the log may be what is
 * broken. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
    fflush(stderr);
    abort();
}
