/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_write: XADD, XTRIM, XDEL, XSETID: what puts entries into a stream and takes them out.
 *
 * What goes to the log is exact: the id that was drawn, and, where a trim was approximate, what it
 * has left. A LIMIT is not logged: it has done its work.
 */
#include "base/check.h"
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/stream/stream.h"
#include "server/commands/stream/stream_args.h"
#include "server/config/config.h"

#include <stdlib.h>

/* ---- Options of XADD and XTRIM ---- */

struct trim_options {
    struct stream_trim trim;
    bool trims, limited;
    uint32_t threshold_index, limit_index; /* in argv; limit_index: 0 if there is none */
    /* XADD */
    bool no_make;
    uint32_t id_index;
    bool draws_id, draws_seq;
    struct stream_id id;
};

/* LIMIT of an approximate trim that says none. */
static uint64_t usual_limit(const struct exec *x) {
    int64_t limit;
    if (__builtin_mul_overflow(INT64_C(100), exec_config(x)->stream_node_max_entries, &limit) ||
        limit <= 0) {
        return 10000;
    }
    return limit < 1000000 ? (uint64_t)limit : 1000000;
}

/* A number that is not negative, of a word's argument. */
static bool arg_not_negative(const struct exec *x, uint32_t i, const char *word, uint64_t *ret) {
    int64_t value;
    if (!exec_arg_i64(x, i, &value)) {
        return false;
    }
    if (value < 0) {
        reply_errorf(x->reply, "ERR The %s argument must be >= 0.", word);
        return false;
    }
    *ret = (uint64_t)value;
    return true;
}

/* MAXLEN or MINID at *i, which goes on to the last word of it. */
static bool read_threshold(const struct exec *x, bool by_id, struct trim_options *o, uint32_t *i) {
    if (o->trims) {
        reply_error(x->reply, "ERR syntax error, MAXLEN and MINID options at the same time are not "
                              "compatible");
        return false;
    }
    o->trim.approximate = false;
    struct bytes next = x->argv[*i + 1];
    if (*i + 2 < x->argc && next.len == 1 && (next.ptr[0] == '~' || next.ptr[0] == '=')) {
        o->trim.approximate = next.ptr[0] == '~';
        (*i)++;
    }
    o->trims = true;
    o->trim.by_id = by_id;
    o->threshold_index = ++*i;
    return by_id ? stream_arg_id(x, *i, 0, NULL, &o->trim.min_id)
                 : arg_not_negative(x, *i, "MAXLEN", &o->trim.max_length);
}

static bool settle_limit(const struct exec *x, struct trim_options *o) {
    if (o->trim.limit > 0 && !o->trims) {
        reply_error(x->reply, "ERR syntax error, LIMIT cannot be used without specifying a "
                              "trimming strategy");
        return false;
    }
    if (!o->trims && o->id_index == 0) {
        reply_error(x->reply, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return false;
    }
    if (o->limit_index > 0 && !o->trim.approximate) {
        reply_error(x->reply,
                    "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return false;
    }
    if (o->limit_index == 0) {
        o->trim.limit = o->trim.approximate ? usual_limit(x) : 0;
    }
    return true;
}

/* All up to XADD's id, or the end. */
static bool read_options(const struct exec *x, bool adds, struct trim_options *o) {
    *o = (struct trim_options){0};
    uint32_t i = 2;
    for (; i < x->argc && o->id_index == 0; i++) {
        struct bytes word = x->argv[i];
        bool more = i + 1 < x->argc;
        if (adds && word.len == 1 && word.ptr[0] == '*') {
            o->draws_id = true;
            o->id_index = i;
        } else if (more && bytes_is(word, "maxlen")) {
            if (!read_threshold(x, false, o, &i)) {
                return false;
            }
        } else if (more && bytes_is(word, "minid")) {
            if (!read_threshold(x, true, o, &i)) {
                return false;
            }
        } else if (more && bytes_is(word, "limit")) {
            if (!arg_not_negative(x, i + 1, "LIMIT", &o->trim.limit)) {
                return false;
            }
            o->limit_index = ++i;
        } else if (adds && bytes_is(word, "nomkstream")) {
            o->no_make = true;
        } else if (adds) {
            if (!stream_arg_id(x, i, 0, &o->draws_seq, &o->id)) {
                return false;
            }
            o->id_index = i;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    /* XADD without an id says so by its number of arguments. */
    if (adds && o->id_index == 0) {
        o->id_index = x->argc;
    }
    return settle_limit(x, o);
}

/* The request as it is logged: its id is this one (or NULL), an approximate trim is one that leaves
 * what there is now. */
static void state(const struct exec *x, const struct trim_options *o, const struct stream *stream,
                  const struct stream_id *id) {
    char id_text[STREAM_ID_BYTES], threshold[STREAM_ID_BYTES];
    struct bytes *argv = must_malloc(x->argc * sizeof *argv);
    uint32_t argc = 0;
    for (uint32_t i = 0; i < x->argc; i++) {
        if (i > 0 && (i + 1 == o->limit_index || i == o->limit_index)) {
            continue;
        }
        argv[argc] = x->argv[i];
        if (id != NULL && i == o->id_index) {
            argv[argc] = stream_id_text(id_text, *id);
        }
        if (o->trim.approximate && i + 1 == o->threshold_index) {
            argv[argc] = BYTES("=");
        }
        if (o->trim.approximate && i == o->threshold_index) {
            /* Nothing is less than the first; if there is none, everything is to go. */
            struct stream_id first = stream->length > 0 ? stream->first : STREAM_ID_MAX;
            argv[argc] = o->trim.by_id ? stream_id_text(threshold, first)
                                       : effect_int(threshold, (int64_t)stream->length);
        }
        argc++;
    }
    effect_state(x, argv, argc);
    free(argv);
}

/* ---- XADD ---- */

/* The id that the entry shall have; false, with an error, if it can have none. */
static bool choose_id(const struct exec *x, const struct trim_options *o, struct stream_id last,
                      struct stream_id *ret) {
    *ret = o->id;
    if (o->draws_id) {
        *ret = (struct stream_id){(uint64_t)x->now_ms, 0};
        if (!stream_id_less(last, *ret)) {
            *ret = last;
            stream_id_up(ret);
        }
    } else if (o->draws_seq && o->id.ms == last.ms) {
        /* One past the end of this millisecond would be in the next. */
        *ret = last;
        ret->seq += last.seq < UINT64_MAX;
    }
    if (!stream_id_less(last, *ret)) {
        reply_error(x->reply, "ERR The ID specified in XADD is equal or smaller than the target "
                              "stream top item");
        return false;
    }
    return true;
}

static bool fits(const struct exec *x, uint32_t first) {
    uint64_t bytes = 0;
    for (uint32_t i = first; i < x->argc; i++) {
        bytes += x->argv[i].len;
    }
    if (bytes > STREAM_ENTRY_BYTES_MAX) {
        reply_error(x->reply, "ERR Elements are too large to be stored");
    }
    return bytes <= STREAM_ENTRY_BYTES_MAX;
}

static void add_entry(struct exec *x, const struct trim_options *o, struct entry *entry,
                      struct stream_id id) {
    const struct config *config = exec_config(x);
    struct stream_limits limits = {(uint64_t)config->stream_node_max_bytes,
                                   (uint64_t)config->stream_node_max_entries};
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    struct shard_heap *heap = change_heap(&change);
    if (entry == NULL) {
        change_make(&change, stream_new(heap));
    }
    change_element(&change, NULL);
    struct stream *stream = stream_of(&change.value);
    uint32_t first = o->id_index + 1;
    stream_append(heap, stream, id, &x->argv[first], (x->argc - first) / 2, &limits);
    bool trimmed = o->trims && stream_trim(heap, stream, &o->trim) > 0;
    change_close(&change, EVENT_XADD);
    if (trimmed) {
        keyspace_note(x->keyspace, x->db, &x->key, EVENT_XTRIM, TYPE_STREAM);
    }
    reply_stream_id(x->reply, id);
    if (effects_wanted(x) && (o->draws_id || o->draws_seq || o->trim.approximate)) {
        state(x, o, stream, &id);
    }
}

void command_xadd(struct exec *x) {
    struct trim_options options;
    struct entry *entry;
    if (!read_options(x, true, &options)) {
        return;
    }
    uint32_t words = x->argc - options.id_index;
    if (words < 3 || words % 2 == 0) {
        exec_arity_error(x);
        return;
    }
    if (!options.draws_id && !options.draws_seq && stream_id_is_zero(options.id)) {
        reply_error(x->reply, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    if (!exec_find(x, &x->key, TYPE_STREAM, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL && options.no_make) {
        reply_null(x->reply);
        return;
    }
    struct stream_id last = STREAM_ID_MIN, id;
    if (entry != NULL) {
        struct value value = entry_value_of(entry);
        last = stream_of(&value)->last;
    }
    if (stream_id_equal(last, STREAM_ID_MAX)) {
        reply_error(x->reply, "ERR The stream has exhausted the last possible ID, unable to add "
                              "more items");
        return;
    }
    if (choose_id(x, &options, last, &id) && fits(x, options.id_index + 1)) {
        add_entry(x, &options, entry, id);
    }
}

/* ---- Taking out ---- */

void command_xtrim(struct exec *x) {
    struct trim_options options;
    struct entry *entry;
    if (!read_options(x, false, &options) ||
        !exec_find(x, &x->key, TYPE_STREAM, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_int(x->reply, 0);
        return;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    change_element(&change, NULL);
    struct stream *stream = stream_of(&change.value);
    uint64_t trimmed = stream_trim(change_heap(&change), stream, &options.trim);
    change_close(&change, trimmed > 0 ? EVENT_XTRIM : EVENT_NONE);
    keyspace_count_elements(x->keyspace, trimmed);
    if (trimmed > 0 && options.trim.approximate && effects_wanted(x)) {
        state(x, &options, stream, NULL);
    }
    reply_int(x->reply, (int64_t)trimmed);
}

/* Deletes the entries of these ids; returns how many there were. */
static uint64_t delete_entries(struct shard_heap *heap, struct stream *stream,
                               const struct stream_id *ids, uint32_t count) {
    uint64_t deleted = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (stream_delete(heap, stream, ids[i])) {
            deleted++;
            if (stream_id_less(stream->max_deleted, ids[i])) {
                stream->max_deleted = ids[i];
            }
        }
    }
    if (deleted > 0) {
        stream_note_first(stream);
    }
    return deleted;
}

#define IDS_ON_STACK 16

void command_xdel(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_STREAM, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_int(x->reply, 0);
        return;
    }
    struct stream_id on_stack[IDS_ON_STACK], *ids = on_stack;
    uint32_t count = x->argc - 2;
    if (count > IDS_ON_STACK) {
        ids = must_malloc(count * sizeof *ids);
    }
    bool sound = true;
    for (uint32_t i = 0; sound && i < count; i++) {
        sound = stream_arg_id(x, i + 2, 0, NULL, &ids[i]);
    }
    if (sound) {
        struct change change;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        change_element(&change, NULL);
        struct stream *stream = stream_of(&change.value);
        uint64_t deleted = delete_entries(change_heap(&change), stream, ids, count);
        change_close(&change, deleted > 0 ? EVENT_XDEL : EVENT_NONE);
        keyspace_count_elements(x->keyspace, deleted);
        reply_int(x->reply, (int64_t)deleted);
    }
    if (ids != on_stack) {
        free(ids);
    }
}

/* ---- XSETID ---- */

struct setid {
    struct stream_id last, max_deleted;
    int64_t entries_added; /* -1: as it is */
};

static bool read_setid(const struct exec *x, struct setid *s) {
    *s = (struct setid){.entries_added = -1};
    if (!stream_arg_id(x, 2, 0, NULL, &s->last)) {
        return false;
    }
    for (uint32_t i = 3; i < x->argc; i += 2) {
        bool more = i + 1 < x->argc;
        if (more && bytes_is(x->argv[i], "entriesadded")) {
            if (!exec_arg_i64(x, i + 1, &s->entries_added)) {
                return false;
            }
            if (s->entries_added < 0) {
                reply_error(x->reply, "ERR entries_added must be positive");
                return false;
            }
        } else if (more && bytes_is(x->argv[i], "maxdeletedid")) {
            if (!stream_arg_id(x, i + 1, 0, NULL, &s->max_deleted)) {
                return false;
            }
            if (stream_id_less(s->last, s->max_deleted)) {
                reply_error(x->reply, "ERR The ID specified in XSETID is smaller than the provided "
                                      "max_deleted_entry_id");
                return false;
            }
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Why the stream cannot have it, or NULL. */
static const char *refuse_setid(const struct stream *stream, const struct setid *s) {
    if (stream_id_less(s->last, stream->max_deleted)) {
        return "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    }
    if (stream->length > 0 && stream_id_less(s->last, stream_last_entry(stream))) {
        return "ERR The ID specified in XSETID is smaller than the target stream top item";
    }
    if (s->entries_added >= 0 && stream->length > (uint64_t)s->entries_added) {
        return "ERR The entries_added specified in XSETID is smaller than the target stream length";
    }
    return NULL;
}

void command_xsetid(struct exec *x) {
    struct setid set;
    struct entry *entry;
    if (!read_setid(x, &set) || !exec_find(x, &x->key, TYPE_STREAM, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_error(x->reply, ERR_NO_KEY);
        return;
    }
    struct value value = entry_value_of(entry);
    const char *refusal = refuse_setid(stream_of(&value), &set);
    if (refusal != NULL) {
        reply_error(x->reply, refusal);
        return;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    change_element(&change, NULL);
    struct stream *stream = stream_of(&change.value);
    stream->last = set.last;
    if (set.entries_added >= 0) {
        stream->entries_added = (uint64_t)set.entries_added;
    }
    if (!stream_id_is_zero(set.max_deleted)) {
        stream->max_deleted = set.max_deleted;
    }
    change_close_quietly(&change, EVENT_XSETID);
    reply_ok(x->reply);
}
