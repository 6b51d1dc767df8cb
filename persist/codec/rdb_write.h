/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_write: RDB's numbers and texts, put behind what is in a text.
 *
 * Thread: any; pure but for the text.
 */
#ifndef SHOAL_PERSIST_CODEC_RDB_WRITE_H
#define SHOAL_PERSIST_CODEC_RDB_WRITE_H

#include "base/text.h"

#include <stdint.h>

void rdb_put_byte(struct text *out, uint8_t byte);
void rdb_put_length(struct text *out, uint64_t length);
void rdb_put_u64(struct text *out, uint64_t number);
void rdb_put_double(struct text *out, double number);
/* A text as short as it can be: a small number, or, if `compress`, what LZF makes of it. */
void rdb_put_text(struct text *out, struct bytes text, bool compress);
/* Length and bytes, whatever they are. */
void rdb_put_plain(struct text *out, struct bytes text);
/* The text of this number. */
void rdb_put_int(struct text *out, int64_t number);
/* Version and checksum of all that is in `out` from `start` on: the end of a dump. */
void rdb_put_footer(struct text *out, size_t start, unsigned version);
/* The same where `crc` is the checksum (crc64.h) of what is before it. */
void rdb_put_footer_after(struct text *out, uint64_t crc, unsigned version);

#endif
