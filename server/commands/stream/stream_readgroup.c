/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_readgroup: XREADGROUP: what nobody in a group has had yet, or what a consumer was given.
 *
 * It changes each of its streams, so each shard runs it on its own (SPREAD_EACH): all are asked
 * first whether their streams and groups are there and the ids make sense, then each serves its
 * streams.
 *
 * It is logged as XCLAIMs of what was given, with what the records say now, and an XGROUP SETID of
 * how far the group has come. What was only read again is not logged.
 */
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/stream/stream.h"
#include "server/commands/stream/stream_read.h"

/* One of its streams, which is here. */
struct serving {
    struct exec *x;
    const struct read_request *r;
    struct key key;
    struct entry *entry;
    struct change change;
    struct stream *stream;
    struct stream_group *group;
    struct stream_consumer *consumer;
    uint64_t changes;
};

#define MEANINGLESS(id)                                                                            \
    "ERR The " id " ID is meaningless in the context of XREADGROUP: you want to read the history " \
    "of this consumer by specifying a proper ID, or use the > ID to get new messages. The " id     \
    " ID would just return an empty result set."

/* The id behind which it reads its history; the greatest: what is new (`>`). */
static bool read_after(const struct exec *x, uint32_t i, struct stream_id *ret) {
    struct bytes text = x->argv[i];
    char only = text.len == 1 ? text.ptr[0] : 0;
    if (only == '$' || only == '+') {
        reply_error(x->reply, only == '$' ? MEANINGLESS("$") : MEANINGLESS("+"));
        return false;
    }
    if (only == '>') {
        *ret = STREAM_ID_MAX;
        return true;
    }
    return stream_arg_id(x, i, 0, NULL, ret);
}

/* The i-th stream and its group. */
static bool find(struct exec *x, const struct read_request *r, uint32_t i, struct serving *s) {
    *s = (struct serving){.x = x, .r = r, .key = exec_key(x, r->first + i)};
    if (!exec_find(x, &s->key, TYPE_STREAM, LOOKUP_READ, &s->entry)) {
        return false;
    }
    if (s->entry != NULL) {
        struct value value = entry_value_of(s->entry);
        s->stream = stream_of(&value);
        s->group = stream_group_find(s->stream, r->group);
    }
    return true;
}

static bool check_one(struct exec *x, const struct read_request *r, uint32_t i) {
    struct serving s;
    struct stream_id after;
    if (!find(x, r, i, &s)) {
        return false;
    }
    if (s.group == NULL) {
        reply_errorf(x->reply,
                     "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP "
                     "option",
                     bytes_precision(s.key.name), s.key.name.ptr, bytes_precision(r->group),
                     r->group.ptr);
        return false;
    }
    return read_after(x, r->first + r->streams + i, &after);
}

/* The consumer, who is made if he is missing. */
static void come_as(struct serving *s) {
    struct exec *x = s->x;
    s->consumer = stream_consumer_find(s->group, s->r->consumer);
    if (s->consumer == NULL) {
        s->consumer = stream_consumer_add(change_heap(&s->change), s->stream, s->group,
                                          s->r->consumer, x->now_ms);
        s->changes++;
        keyspace_note(x->keyspace, x->db, &s->key, EVENT_XGROUP_CREATECONSUMER, TYPE_STREAM);
        if (s->r->no_ack && effects_wanted(x)) {
            EFFECT(x, BYTES("XGROUP"), BYTES("CREATECONSUMER"), s->key.name,
                   stream_group_name(s->group), s->r->consumer);
        }
    }
    s->consumer->seen_ms = x->now_ms;
}

static void give(struct serving *s, struct stream_id id) {
    struct stream_pending *pending =
        stream_pending_give(change_heap(&s->change), s->stream, s->group, s->consumer, id);
    pending->delivered_ms = s->x->now_ms;
    pending->deliveries = 1;
    s->consumer->active_ms =
        s->x->now_ms; /* as in Valkey, who acknowledges nothing is not active */
    if (effects_wanted(s->x)) {
        char text[STREAM_ID_BYTES];
        stream_say_pending(s->x, s->key.name, s->group, stream_id_text(text, id), pending);
    }
}

/* What the group has not had yet. False: there is nothing. */
static bool begin_new(const struct stream *stream, const struct stream_group *group, uint64_t max,
                      struct stream_iter *iter, uint64_t *ret_count) {
    struct stream_id from = group->last;
    if (!stream_id_less(group->last, stream->last) || !stream_id_up(&from)) {
        return false;
    }
    stream_iter_init(iter, stream, from, STREAM_ID_MAX, false);
    *ret_count = stream_iter_count(iter, max);
    return *ret_count > 0;
}

static void serve_new(struct serving *s, struct stream_iter *iter, uint64_t count) {
    struct exec *x = s->x;
    reply_array(x->reply, count);
    for (; count > 0 && stream_iter_next(iter); count--) {
        stream_group_reach(s->stream, s->group, iter->id);
        reply_stream_entry(x->reply, iter);
        if (!s->r->no_ack) {
            give(s, iter->id);
        }
    }
    stream_say_group(x, s->key.name, s->group);
}

/* What the consumer was given and has not acknowledged. Of an entry that was deleted only the id is
 * left. */
static void serve_history(struct serving *s, struct stream_id after) {
    struct exec *x = s->x;
    struct idtree_place place;
    bool more = stream_id_up(&after) && idtree_from(&s->consumer->pending, after, &place);
    struct idtree_place counting = place;
    uint64_t count = 0;
    for (bool one = more; one && count < s->r->count; one = idtree_next(&counting)) {
        count++;
    }
    reply_array(x->reply, count);
    for (; more && count > 0; more = idtree_next(&place), count--) {
        struct stream_id id = idtree_id(&place);
        struct stream_iter iter;
        stream_iter_init(&iter, s->stream, id, id, false);
        if (stream_iter_next(&iter)) {
            struct stream_pending *pending = idtree_get(&place);
            pending->delivered_ms = x->now_ms;
            pending->deliveries = stream_one_more(pending->deliveries);
            reply_stream_entry(x->reply, &iter);
        } else {
            reply_array(x->reply, 2);
            reply_stream_id(x->reply, id);
            reply_null_array(x->reply);
        }
    }
}

/* The i-th stream; false: it has nothing for the consumer. */
static bool serve_one(struct exec *x, const struct read_request *r, uint32_t i, bool head) {
    struct serving s;
    struct stream_id after;
    if (!find(x, r, i, &s) || s.group == NULL ||
        !read_after(x, r->first + r->streams + i, &after)) {
        return false;
    }
    change_open(&s.change, x->keyspace, x->db, &s.key, s.entry, x->now_ms);
    change_element(&s.change, NULL);
    come_as(&s);
    struct stream_iter iter;
    uint64_t count;
    bool history = !stream_id_equal(after, STREAM_ID_MAX);
    bool serves = history || begin_new(s.stream, s.group, r->count, &iter, &count);
    if (serves) {
        if (head) {
            reply_streams_head(x->reply, 1);
        }
        reply_stream_name(x->reply, s.key.name);
        if (history) {
            serve_history(&s, after);
        } else {
            serve_new(&s, &iter, count);
        }
        s.changes++;
    }
    if (s.changes > 0) {
        change_close_quietly(&s.change, EVENT_NONE);
        keyspace_count_elements(x->keyspace, s.changes);
    } else {
        change_close(&s.change, EVENT_NONE);
    }
    effect_told(x); /* that a consumer was made, or has read again, is not logged */
    return serves;
}

/* Those of its streams that are here. */
static uint32_t serve(struct exec *x, const struct read_request *r) {
    uint32_t served = 0;
    for (uint32_t i = 0; i < r->streams; i++) {
        if (exec_has(x, r->first + i)) {
            served += serve_one(x, r, i, false);
            exec_element(x);
        }
    }
    return served;
}

/* All of them. How many have something is known in the end, and stands in the reply's head. */
static uint32_t serve_all(struct exec *x, const struct read_request *r) {
    if (r->streams == 1) {
        return serve_one(x, r, 0, true);
    }
    struct reply *reply = x->reply, streams;
    struct outbuf out;
    outbuf_init(&out);
    reply_init(&streams, &out, reply->resp);
    x->reply = &streams;
    uint32_t served = serve(x, r);
    x->reply = reply;
    if (served > 0) {
        reply_streams_head(reply, served);
        outbuf_splice(reply->out, &out);
    }
    outbuf_fini(&out);
    return served;
}

/* Who waits is also told that the stream, or the group, has gone. */
enum waiter_answer stream_readgroup_ready(const struct exec *x) {
    const struct entry *entry = exec_peek(x);
    if (entry == NULL || entry_type(entry) != TYPE_STREAM) {
        return WAITER_SERVES;
    }
    struct value value = entry_value_of(entry);
    const struct stream *stream = stream_of(&value);
    const struct stream_group *group =
        stream_group_find(stream, stream_read_group(x->argv, x->argc));
    struct stream_iter iter;
    uint64_t count;
    return group == NULL || begin_new(stream, group, 1, &iter, &count) ? WAITER_SERVES
                                                                       : WAITER_PASSES;
}

void command_xreadgroup(struct exec *x) {
    struct read_request r;
    if (!read_request_parse(x, true, &r)) {
        return;
    }
    for (uint32_t i = 0; i < r.streams && !exec_is_agreed(x); i++) {
        if (exec_has(x, r.first + i) && !check_one(x, &r, i)) {
            exec_denies(x, i);
            return;
        }
    }
    if (exec_is_asked(x)) {
        return;
    }
    bool divided = exec_is_agreed(x);
    uint32_t served = divided ? serve(x, &r) : serve_all(x, &r);
    if (served == 0 && (!r.blocks || !exec_wait(x, r.block_ms)) && !divided) {
        reply_null_array(x->reply);
    }
}
