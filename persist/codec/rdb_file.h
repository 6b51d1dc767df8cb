/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_file: an RDB file, put together and taken apart as its bytes come, in whatever pieces.
 *
 * Reading gives one item after the other. After RDB_ITEM_KEY its value stands in the input, and is
 * the caller's to read (value_read_some) before he asks for the next:
 *
 *     rdb_file_init(&file);
 *     while ((item = rdb_file_next(&file, &input)) != RDB_ITEM_END && ...)
 *         RDB_ITEM_MORE: more bytes behind input.at, then once more
 *
 * The checksum is of all that was passed, so who reads a value says so with rdb_file_passed.
 *
 * Writing puts items behind a text, which its owner empties when he likes:
 *
 *     rdb_file_put_begin, rdb_file_put_aux .., for each database rdb_file_put_db, for each key
 *     rdb_file_put_key and a value_write, rdb_file_put_end; rdb_sum over all bytes in between
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_CODEC_RDB_FILE_H
#define SHOAL_PERSIST_CODEC_RDB_FILE_H

#include "base/text.h"
#include "persist/codec/rdb.h"
#include "persist/codec/rdb_read.h"

/* ---- Reading ---- */

enum rdb_item {
    RDB_ITEM_MORE, /* the input ends in the middle of one */
    RDB_ITEM_AUX,  /* texts[0] is called texts[1] */
    RDB_ITEM_DB,   /* what follows is of file->db */
    RDB_ITEM_SIZES,
    RDB_ITEM_FUNCTION, /* texts[0]: the code of a library */
    RDB_ITEM_KEY,
    RDB_ITEM_OTHER, /* something that was passed without being understood: of modules, of slots */
    RDB_ITEM_END,
    RDB_ITEM_BAD, /* input->error says what is wrong, file->passed where */
};

struct rdb_file {
    bool begun;
    unsigned version;
    bool is_valkey; /* by the word that it begins with */
    bool relaxed;   /* versions of others are tried as well */
    bool trusted;   /* nobody looks at the checksum */
    uint64_t db;
    uint64_t keys, deadlines; /* RDB_ITEM_SIZES */
    /* A key: texts[0] is its name. */
    uint8_t type;
    int64_t expires_at;   /* ms; -1: it has no deadline */
    int64_t idle_seconds; /* less than 0: not said */
    int frequency;        /* the same */
    struct rdb_text texts[2];
    uint64_t passed; /* bytes */
    uint64_t sum;    /* of those */
};

void rdb_file_init(struct rdb_file *file);
void rdb_file_fini(struct rdb_file *file);
enum rdb_item rdb_file_next(struct rdb_file *file, struct rdb_input *input);
/* What its types are to be read by: all that Redis alone has written are one. */
unsigned rdb_file_version(const struct rdb_file *file);
/* The value has been read: what stood before the key is not said of the next. */
void rdb_file_forget_key(struct rdb_file *file);
/* These bytes were passed by somebody else, since the latest call. */
void rdb_file_passed(struct rdb_file *file, struct bytes bytes);

/* ---- Writing ---- */

void rdb_file_put_begin(struct text *out, unsigned version);
void rdb_file_put_aux(struct text *out, struct bytes name, struct bytes value);
void rdb_file_put_db(struct text *out, uint32_t db, uint64_t keys, uint64_t deadlines);
/* The same, and nothing is said of how many there are. */
void rdb_file_put_select(struct text *out, uint32_t db);
/* How a key was used, if anything is said of it: else both are less than 0. */
struct rdb_usage {
    int64_t idle_seconds;
    int frequency;
};
#define RDB_USAGE_UNSAID ((struct rdb_usage){-1, -1})
/* What stands before a value. `expires_at`: -1 without one. */
void rdb_file_put_key(struct text *out, struct bytes name, enum rdb_type type, int64_t expires_at,
                      struct rdb_usage usage, bool compress);
/* `sum`: of all that was put before and behind this end's first byte; 0: nobody shall look. */
void rdb_file_put_end(struct text *out, uint64_t sum);
/* The first byte of the end, for the sum. */
#define RDB_FILE_END BYTES("\xff")

#endif
