/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_groups: XGROUP and XACK: groups, consumers, and what these have done with.
 *
 * As in Valkey nothing here counts as a change of the key for who watches it, but that it was made.
 */
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/help.h"
#include "server/commands/stream/stream.h"
#include "server/commands/stream/stream_args.h"

#include <stdlib.h>

/* ---- XGROUP ---- */

/* What is behind the words that all of them have. */
struct group_options {
    bool make;
    int64_t entries_read;
};

static bool read_options(struct exec *x, bool creates, struct group_options *o) {
    *o = (struct group_options){.entries_read = STREAM_COUNT_UNKNOWN};
    for (uint32_t i = 5; i < x->argc; i++) {
        if (creates && bytes_is(x->argv[i], "mkstream")) {
            o->make = true;
        } else if (i + 1 < x->argc && bytes_is(x->argv[i], "entriesread")) {
            if (!exec_arg_i64(x, ++i, &o->entries_read)) {
                return false;
            }
            if (o->entries_read < STREAM_COUNT_UNKNOWN) {
                reply_error(x->reply, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            reply_subcommand_error(x);
            return false;
        }
    }
    return true;
}

/* The stream; NULL only if it may be made. */
static bool find_stream(struct exec *x, bool make, struct entry **ret_entry,
                        struct stream **ret_stream) {
    *ret_stream = NULL;
    if (!exec_find(x, &x->key, TYPE_STREAM, LOOKUP_WRITE, ret_entry)) {
        return false;
    }
    if (*ret_entry != NULL) {
        struct value value = entry_value_of(*ret_entry);
        *ret_stream = stream_of(&value);
    } else if (!make) {
        reply_error(x->reply, "ERR The XGROUP subcommand requires the key to exist. Note that for "
                              "CREATE you may want to use the MKSTREAM option to create an empty "
                              "stream automatically.");
    }
    return *ret_entry != NULL || make;
}

/* The stream and its group, which both must be there. */
static bool find_group(struct exec *x, struct entry **ret_entry, struct stream_group **ret) {
    struct stream *stream;
    if (!find_stream(x, false, ret_entry, &stream)) {
        return false;
    }
    *ret = stream_group_find(stream, x->argv[3]);
    if (*ret == NULL) {
        stream_no_group(x, x->argv[2], x->argv[3]);
    }
    return *ret != NULL;
}

/* Where a group begins: an id, or `$` for the last. */
static bool read_start(const struct exec *x, const struct stream *stream, bool edges,
                       struct stream_id *ret) {
    struct bytes text = x->argv[4];
    if (text.len == 1 && text.ptr[0] == '$') {
        *ret = stream != NULL ? stream->last : STREAM_ID_MIN;
        return true;
    }
    if (edges && text.len == 1 && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        *ret = text.ptr[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return true;
    }
    return stream_arg_id(x, 4, 0, NULL, ret);
}

/* What Valkey's one function for all of them finds at the end only. */
static bool has_words(struct exec *x, uint32_t most) {
    if (x->argc > most) {
        reply_subcommand_error(x);
    }
    return x->argc <= most;
}

void command_xgroup_create(struct exec *x) {
    struct group_options o;
    struct entry *entry;
    struct stream *stream;
    struct stream_id start;
    if (!read_options(x, true, &o) || !find_stream(x, o.make, &entry, &stream) ||
        !has_words(x, 8) || !read_start(x, stream, false, &start)) {
        return;
    }
    if (stream != NULL && stream_group_find(stream, x->argv[3]) != NULL) {
        reply_error(x->reply, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    struct shard_heap *heap = change_heap(&change);
    if (entry == NULL) {
        change_make(&change, stream_new(heap));
    }
    change_element(&change, NULL);
    stream_group_add(heap, stream_of(&change.value), x->argv[3], start, o.entries_read);
    if (entry == NULL) {
        change_close(&change, EVENT_XGROUP_CREATE);
    } else {
        change_close_quietly(&change, EVENT_XGROUP_CREATE);
    }
    reply_ok(x->reply);
}

void command_xgroup_setid(struct exec *x) {
    struct group_options o;
    struct entry *entry;
    struct stream_group *group;
    struct stream_id start;
    if (!read_options(x, false, &o) || !find_group(x, &entry, &group) || !has_words(x, 7)) {
        return;
    }
    struct value value = entry_value_of(entry);
    if (!read_start(x, stream_of(&value), true, &start)) {
        return;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    change_element(&change, NULL);
    group->last = start;
    group->entries_read = o.entries_read;
    change_close_quietly(&change, EVENT_XGROUP_SETID);
    reply_ok(x->reply);
}

void command_xgroup_destroy(struct exec *x) {
    struct entry *entry;
    struct stream *stream;
    if (!find_stream(x, false, &entry, &stream)) {
        return;
    }
    struct stream_group *group = stream_group_find(stream, x->argv[3]);
    if (group != NULL) {
        struct change change;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        change_element(&change, NULL);
        change_discard(&change, stream_group_detach(change_heap(&change), stream, group));
        change_close_quietly(&change, EVENT_XGROUP_DESTROY);
    }
    reply_int(x->reply, group != NULL);
}

void command_xgroup_createconsumer(struct exec *x) {
    struct entry *entry;
    struct stream_group *group;
    if (!find_group(x, &entry, &group)) {
        return;
    }
    bool is_new = stream_consumer_find(group, x->argv[4]) == NULL;
    if (is_new) {
        struct change change;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        change_element(&change, NULL);
        stream_consumer_add(change_heap(&change), stream_of(&change.value), group, x->argv[4],
                            x->now_ms);
        change_close_quietly(&change, EVENT_XGROUP_CREATECONSUMER);
    }
    reply_int(x->reply, is_new);
}

void command_xgroup_delconsumer(struct exec *x) {
    struct entry *entry;
    struct stream_group *group;
    if (!find_group(x, &entry, &group)) {
        return;
    }
    struct stream_consumer *consumer = stream_consumer_find(group, x->argv[4]);
    int64_t pending = 0;
    if (consumer != NULL) {
        pending = (int64_t)consumer->pending.count;
        struct change change;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        change_element(&change, NULL);
        struct shard_heap *heap = change_heap(&change);
        struct stream *stream = stream_of(&change.value);
        if (stream_consumer_has_all(group, consumer)) {
            change_discard(&change, stream_consumer_detach(heap, stream, group, consumer));
        } else {
            stream_consumer_remove(heap, stream, group, consumer);
        }
        change_close_quietly(&change, EVENT_XGROUP_DELCONSUMER);
    }
    reply_int(x->reply, pending);
}

void command_xgroup_help(struct exec *x) {
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Make a group that has read up to this id. Options are:",
        "    * MKSTREAM",
        "      A stream that is missing is made, without entries.",
        "    * ENTRIESREAD entries_read",
        "      How many entries it has read (for replication).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Make a consumer of the group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove a consumer, and what is pending with it.",
        "DESTROY <key> <groupname>",
        "    Remove the group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Say up to which id the group has read, and how many entries.",
        NULL,
    };
    reply_help(x, lines);
}

/* ---- XACK ---- */

#define IDS_ON_STACK 16

void command_xack(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_STREAM, LOOKUP_READ, &entry)) {
        return;
    }
    struct value value = {0};
    struct stream_group *group = NULL;
    if (entry != NULL) {
        value = entry_value_of(entry);
        group = stream_group_find(stream_of(&value), x->argv[2]);
    }
    if (group == NULL) {
        reply_int(x->reply, 0);
        return;
    }
    struct stream_id on_stack[IDS_ON_STACK], *ids = on_stack;
    uint32_t count = x->argc - 3;
    if (count > IDS_ON_STACK) {
        ids = must_malloc(count * sizeof *ids);
    }
    bool sound = true;
    for (uint32_t i = 0; sound && i < count; i++) {
        sound = stream_arg_id(x, i + 3, 0, NULL, &ids[i]);
    }
    if (sound) {
        struct change change;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        change_element(&change, NULL);
        int64_t done = 0;
        for (uint32_t i = 0; i < count; i++) {
            done += stream_pending_remove(change_heap(&change), stream_of(&change.value), group,
                                          ids[i]);
        }
        if (done > 0) {
            change_close_quietly(&change, EVENT_NONE);
            keyspace_count_elements(x->keyspace, (uint64_t)done);
        } else {
            change_close(&change, EVENT_NONE);
        }
        reply_int(x->reply, done);
    }
    if (ids != on_stack) {
        free(ids);
    }
}
