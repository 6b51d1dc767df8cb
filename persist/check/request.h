/* SPDX-License-Identifier: BSD-3-Clause */
/* request: a command as logs have it: a RESP array of bulk strings, in whole bytes. In Shoal's log
 * (docs/durability.md) a first word that begins with '@' is no part of it, but says in which
 * database it ran, and which command of its transaction it was.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_CHECK_REQUEST_H
#define SHOAL_PERSIST_CHECK_REQUEST_H

#include "base/bytes.h"

#include <stdint.h>

struct request_words {
    struct bytes *argv; /* into the input; the array is kept for the next one */
    uint32_t argc;
    uint32_t room;
};
void request_words_fini(struct request_words *words);

enum request_got {
    REQUEST_WHOLE,
    REQUEST_SHORT, /* the input ends in the middle of it */
    REQUEST_BAD,
};
/* Takes one off the input's beginning, if it is whole. */
enum request_got request_take(struct bytes *input, struct request_words *ret);
/* Takes that word off; 0 and 0 if there is none. False: it says what cannot be, or nothing is left.
 */
bool request_take_mark(struct request_words *words, uint32_t *ret_db, uint32_t *ret_order);
/* The same of a first word alone: false: it is no such word, or cannot be. */
bool request_mark(struct bytes word, uint32_t *ret_db, uint32_t *ret_order);

#endif
