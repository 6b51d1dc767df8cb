/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_info: XINFO. */
#include "server/call/errors.h"
#include "server/call/help.h"
#include "server/commands/stream/stream.h"
#include "server/commands/stream/stream_args.h"

static bool find(struct exec *x, const struct stream **ret) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_STREAM, LOOKUP_READ, &entry)) {
        return false;
    }
    if (entry == NULL) {
        reply_error(x->reply, ERR_NO_KEY);
        return false;
    }
    struct value value = entry_value_of(entry);
    *ret = stream_of(&value);
    return true;
}

static void pair_int(struct reply *r, const char *name, int64_t value) {
    reply_bulk_text(r, name);
    reply_int(r, value);
}

static void pair_id(struct reply *r, const char *name, struct stream_id id) {
    reply_bulk_text(r, name);
    reply_stream_id(r, id);
}

static void pair_text(struct reply *r, const char *name, struct bytes text) {
    reply_bulk_text(r, name);
    reply_bulk(r, text);
}

/* Numbers of entries that may not be known. */
static void pair_counts(struct reply *r, const struct stream *stream,
                        const struct stream_group *group) {
    int64_t lag;
    reply_bulk_text(r, "entries-read");
    if (group->entries_read == STREAM_COUNT_UNKNOWN) {
        reply_null(r);
    } else {
        reply_int(r, group->entries_read);
    }
    reply_bulk_text(r, "lag");
    if (stream_group_lag(stream, group, &lag)) {
        reply_int(r, lag);
    } else {
        reply_null(r);
    }
}

/* ---- STREAM ---- */

static void reply_edge(struct reply *r, const struct stream *stream, bool last) {
    struct stream_iter iter;
    stream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, last);
    if (stream_iter_next(&iter)) {
        reply_stream_entry(r, &iter);
    } else {
        reply_null(r);
    }
}

/* Up to `count`. */
static void reply_entries(struct reply *r, const struct stream *stream, uint64_t count) {
    struct stream_iter iter;
    stream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, false);
    count = count < stream->length ? count : stream->length;
    reply_array(r, count);
    for (; count > 0 && stream_iter_next(&iter); count--) {
        reply_stream_entry(r, &iter);
    }
}

/* Up to `count` of what is pending; with the consumer's name where it may be anybody's. */
static void reply_pending(struct reply *r, const struct idtree *tree, uint64_t count, bool named) {
    count = count < tree->count ? count : tree->count;
    reply_bulk_text(r, "pending");
    reply_array(r, count);
    struct idtree_place place;
    bool more = idtree_first(tree, &place);
    for (; more && count > 0; more = idtree_next(&place), count--) {
        const struct stream_pending *pending = idtree_get(&place);
        reply_array(r, named ? 4 : 3);
        reply_stream_id(r, idtree_id(&place));
        if (named) {
            reply_bulk(r, stream_consumer_name(pending->consumer));
        }
        reply_int(r, pending->delivered_ms);
        reply_int(r, pending->deliveries);
    }
}

static void reply_group_in_full(struct reply *r, const struct stream *stream,
                                const struct stream_group *group, uint64_t count) {
    reply_map(r, 7);
    pair_text(r, "name", stream_group_name(group));
    pair_id(r, "last-delivered-id", group->last);
    pair_counts(r, stream, group);
    pair_int(r, "pel-count", (int64_t)group->pending.count);
    reply_pending(r, &group->pending, count, true);
    reply_bulk_text(r, "consumers");
    reply_array(r, group->consumers_count);
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        reply_map(r, 5);
        pair_text(r, "name", stream_consumer_name(consumer));
        pair_int(r, "seen-time", consumer->seen_ms);
        pair_int(r, "active-time", consumer->active_ms);
        pair_int(r, "pel-count", (int64_t)consumer->pending.count);
        reply_pending(r, &consumer->pending, count, false);
    }
}

/* Options of STREAM: nothing, or FULL and perhaps COUNT. */
static bool read_full(struct exec *x, bool *ret_full, uint64_t *ret_count) {
    *ret_full = x->argc > 3;
    *ret_count = 10;
    bool counts = x->argc == 6;
    if (*ret_full && ((x->argc != 4 && !counts) || !bytes_is(x->argv[3], "full") ||
                      (counts && !bytes_is(x->argv[4], "count")))) {
        reply_subcommand_error(x);
        return false;
    }
    int64_t count = -1;
    if (counts && !exec_arg_i64(x, 5, &count)) {
        return false;
    }
    *ret_count = count < 0 ? 10 : count == 0 ? UINT64_MAX : (uint64_t)count;
    return true;
}

void command_xinfo_stream(struct exec *x) {
    struct reply *r = x->reply;
    const struct stream *stream;
    bool full;
    uint64_t count;
    if (!find(x, &stream) || !read_full(x, &full, &count)) {
        return;
    }
    reply_map(r, full ? 9 : 10);
    pair_int(r, "length", (int64_t)stream->length);
    pair_int(r, "radix-tree-keys", (int64_t)stream->nodes.count);
    /* What a radix tree of them would have at least. */
    pair_int(r, "radix-tree-nodes", (int64_t)stream->nodes.count + 1);
    pair_id(r, "last-generated-id", stream->last);
    pair_id(r, "max-deleted-entry-id", stream->max_deleted);
    pair_int(r, "entries-added", (int64_t)stream->entries_added);
    pair_id(r, "recorded-first-entry-id", stream->first);
    if (!full) {
        pair_int(r, "groups", stream->groups_count);
        reply_bulk_text(r, "first-entry");
        reply_edge(r, stream, false);
        reply_bulk_text(r, "last-entry");
        reply_edge(r, stream, true);
        return;
    }
    reply_bulk_text(r, "entries");
    reply_entries(r, stream, count);
    reply_bulk_text(r, "groups");
    reply_array(r, stream->groups_count);
    for (uint32_t i = 0; i < stream->groups_count; i++) {
        reply_group_in_full(r, stream, stream->groups[i], count);
    }
}

/* ---- GROUPS, CONSUMERS ---- */

void command_xinfo_groups(struct exec *x) {
    struct reply *r = x->reply;
    const struct stream *stream;
    if (!find(x, &stream)) {
        return;
    }
    reply_array(r, stream->groups_count);
    for (uint32_t i = 0; i < stream->groups_count; i++) {
        const struct stream_group *group = stream->groups[i];
        reply_map(r, 6);
        pair_text(r, "name", stream_group_name(group));
        pair_int(r, "consumers", group->consumers_count);
        pair_int(r, "pending", (int64_t)group->pending.count);
        pair_id(r, "last-delivered-id", group->last);
        pair_counts(r, stream, group);
    }
}

void command_xinfo_consumers(struct exec *x) {
    struct reply *r = x->reply;
    const struct stream *stream;
    if (!find(x, &stream)) {
        return;
    }
    const struct stream_group *group = stream_group_find(stream, x->argv[3]);
    if (group == NULL) {
        stream_no_group(x, x->argv[2], x->argv[3]);
        return;
    }
    reply_array(r, group->consumers_count);
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        int64_t idle = (int64_t)((uint64_t)x->now_ms - (uint64_t)consumer->seen_ms);
        reply_map(r, 4);
        pair_text(r, "name", stream_consumer_name(consumer));
        pair_int(r, "pending", (int64_t)consumer->pending.count);
        pair_int(r, "idle", idle > 0 ? idle : 0);
        pair_int(r, "inactive", consumer->active_ms < 0 ? -1 : x->now_ms - consumer->active_ms);
    }
}

void command_xinfo_help(struct exec *x) {
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    Tell of the group's consumers.",
        "GROUPS <key>",
        "    Tell of the stream's groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Tell of the stream.",
        NULL,
    };
    reply_help(x, lines);
}
