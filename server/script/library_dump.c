/* SPDX-License-Identifier: BSD-3-Clause */
/* library_dump: see the header. What is read is joined to libraries of its own first, so one that
 * does not load leaves all that is there as it was. */
#include "server/script/library_dump.h"

#include "persist/codec/rdb.h"
#include "persist/codec/rdb_read.h"
#include "persist/codec/rdb_write.h"
#include "server/script/functions.h"

void library_dump_put(struct text *out, struct libraries *libraries, bool compress) {
    struct libraries_list all = libraries_all(libraries);
    for (uint32_t i = 0; i < all.count; i++) {
        rdb_put_byte(out, RDB_FUNCTION);
        rdb_put_text(out, library_text(all.list[i]), compress);
    }
    libraries_list_free(&all);
}

void library_dump_write(struct text *out, struct libraries *libraries, bool compress) {
    size_t start = out->len;
    library_dump_put(out, libraries, compress);
    rdb_put_footer(out, start, RDB_VERSION_MIN);
}

bool library_dump_add(struct worker *worker, struct bytes text, struct libraries *libraries,
                      enum libraries_policy policy, struct text *err) {
    struct libraries *must_be_new = policy == LIBRARIES_APPEND ? libraries : NULL;
    struct library *library = functions_make_library(worker, text, must_be_new, 0, err);
    if (library == NULL) {
        return false;
    }
    bool joined = libraries_add(libraries, library, policy, err);
    if (!joined) {
        functions_forget(worker, library);
    }
    return joined;
}

static bool read_library(struct worker *worker, struct rdb_input *in, struct rdb_text *text,
                         struct libraries *made, struct text *err) {
    uint8_t opcode;
    if (!rdb_get_byte(in, &opcode)) {
        text_append_text(err, "ERR can not read data type");
    } else if (opcode == RDB_FUNCTION_PRE) {
        text_append_text(err, "ERR Pre-GA function format not supported");
    } else if (opcode != RDB_FUNCTION) {
        text_append_text(err, "ERR given type is not a function");
    } else if (!rdb_get_text(in, text)) {
        text_append_text(err, "ERR Failed loading library code");
    } else {
        return library_dump_add(worker, text->bytes, made, LIBRARIES_APPEND, err);
    }
    return false;
}

void library_dump_forget(struct worker *worker, struct libraries *made) {
    struct libraries_list all = libraries_all(made);
    for (uint32_t i = 0; i < all.count; i++) {
        library_ref(all.list[i]);
        functions_forget(worker, all.list[i]);
    }
    libraries_list_free(&all);
}

bool library_dump_read(struct worker *worker, struct bytes dump, bool relaxed,
                       struct libraries *libraries, enum libraries_policy policy,
                       struct text *err) {
    struct bytes body;
    unsigned version;
    if (!rdb_get_footer(dump, true, &body, &version) || !rdb_version_is_known(version, relaxed)) {
        text_append_text(err, "ERR DUMP payload version or checksum are wrong");
        return false;
    }
    struct libraries *made = libraries_new();
    struct rdb_input in = rdb_input(body);
    struct rdb_text text = {0};
    bool good = true;
    while (good && rdb_left(&in) > 0) {
        good = read_library(worker, &in, &text, made, err);
    }
    good = good && libraries_join(libraries, made, policy, err);
    if (!good) {
        library_dump_forget(worker, made);
    }
    rdb_text_fini(&text);
    libraries_free(made);
    return good;
}
