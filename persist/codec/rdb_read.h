/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_read: RDB's numbers and texts, read from bytes that may be foreign and may still be arriving.
 *
 * Each function reads one thing and is past it, or returns false: then either there is an error, or
 * what is there ends in the middle of it. Who reads things that belong together goes back to the
 * first of them (`at`), and comes again with the same bytes and more behind them.
 *
 * Nothing is allocated on the word of the input: a text is where it stands, and a compressed one
 * grows by no more than its bytes can say.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_CODEC_RDB_READ_H
#define SHOAL_PERSIST_CODEC_RDB_READ_H

#include "base/bytes.h"
#include "base/num.h"

#include <stdint.h>

struct rdb_input {
    const char *at, *end;
    const char *error; /* what is wrong with what stands at `at`, or NULL; static */
};

static inline struct rdb_input rdb_input(struct bytes bytes) {
    return (struct rdb_input){bytes.ptr, bytes.ptr + bytes.len, NULL};
}
static inline size_t rdb_left(const struct rdb_input *in) {
    return (size_t)(in->end - in->at);
}
/* Returns false, so that it can be returned. */
static inline bool rdb_fail(struct rdb_input *in, const char *error) {
    in->error = error;
    return false;
}

/* A text, where it stands in the input or in memory of its own. */
struct rdb_text {
    struct bytes bytes; /* valid until the input goes, or the next text is read into it */
    char *room;
    size_t room_bytes;
    char digits[NUM_I64_BYTES];
};
void rdb_text_fini(struct rdb_text *text);

bool rdb_get_byte(struct rdb_input *in, uint8_t *ret);
bool rdb_get_length(struct rdb_input *in, uint64_t *ret);
bool rdb_get_u32(struct rdb_input *in, uint32_t *ret);
bool rdb_get_u64(struct rdb_input *in, uint64_t *ret);
bool rdb_get_double(struct rdb_input *in, double *ret);
/* A score as RDB_ZSET has it, in digits. */
bool rdb_get_digits(struct rdb_input *in, double *ret);
/* So many bytes as they are. */
bool rdb_get_raw(struct rdb_input *in, size_t length, struct bytes *ret);
bool rdb_get_text(struct rdb_input *in, struct rdb_text *text);
/* Is past it without looking into it. */
bool rdb_pass_text(struct rdb_input *in);

/* Takes the footer off a dump. False: version or checksum make no sense. The checksum may be left
 * unlooked at. */
bool rdb_get_footer(struct bytes dump, bool check_sum, struct bytes *ret_body,
                    unsigned *ret_version);
/* Whether a dump or file of this version can be read; `relaxed`: also those of others, as far as
 * their types are known. */
bool rdb_version_is_known(unsigned version, bool relaxed);

#endif
