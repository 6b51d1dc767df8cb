/* SPDX-License-Identifier: BSD-3-Clause */
/* quote: bytes as a double-quoted word that words.h reads back, as MONITOR and CONFIG REWRITE print
 * them.
 *
 * Thread: any; pure over its argument.
 */
#ifndef SHOAL_BASE_QUOTE_H
#define SHOAL_BASE_QUOTE_H

#include "base/bytes.h"
#include "base/text.h"

/* Appends "..." with \\ \" \n \r \t \a \b, and \xHH for any other byte that is not printable ASCII.
 */
void quote_append(struct text *text, struct bytes bytes);

#endif
