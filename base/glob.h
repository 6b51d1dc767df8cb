/* SPDX-License-Identifier: BSD-3-Clause */
/* glob: matches names against patterns such as "user:[0-9]*".
 *
 * Thread: any; pure. Takes at most pattern * text steps and no recursion, whatever the pattern.
 */
#ifndef SHOAL_BASE_GLOB_H
#define SHOAL_BASE_GLOB_H

#include "base/bytes.h"

/* '*' any run, '?' any byte, [abc] [a-z] [^x] one byte of a set, '\' takes the next byte as it is.
 */
bool glob_match(struct bytes pattern, struct bytes text, bool nocase);

#endif
