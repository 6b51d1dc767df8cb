/* SPDX-License-Identifier: BSD-3-Clause */
/* words: splits a line in words as configuration files and inline commands quote them.
 *
 * Thread: any; pure.
 * Words are parted by white space; a word is plain and quoted parts without a gap. "..." knows \xHH
 * \n \r \t \b \a and takes any other escaped byte as it is; '...' knows \' only. A backslash right
 * before the last byte of the line is plain. A NUL ends the line. See quote.h for the way back.
 */
#ifndef SHOAL_BASE_WORDS_H
#define SHOAL_BASE_WORDS_H

#include "base/bytes.h"

/* How many words the line has, or -1 when its quotes are unbalanced. */
int words_count(struct bytes line);

/* Writes the words, as many as words_count said, into `words`; their bytes go to `storage`, which
 * has room for line.len bytes. Returns the count or -1. */
int words_fill(struct bytes line, char *storage, struct bytes *words);

/* Both at once: *ret_words is one allocation that holds the slices and their bytes, for the caller
 * to free(). Each word is followed by a NUL that is not part of it. Returns the count, or -1 with
 * *ret_words NULL. */
int words_split(struct bytes line, struct bytes **ret_words);

#endif
