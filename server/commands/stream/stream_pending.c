/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_pending: XPENDING, XCLAIM, XAUTOCLAIM: what consumers were given and have not
 * acknowledged.
 *
 * A claim goes to the log as an XCLAIM that says all of what the entry's record has now; so does an
 * entry that was found deleted, whose record that XCLAIM takes away elsewhere as well.
 */
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/stream/stream.h"
#include "server/commands/stream/stream_args.h"

#include <stdlib.h>

/* The group of a stream that was looked up; or the error that one of them is missing. */
static bool group_of(struct exec *x, struct entry *entry, struct stream_group **ret) {
    *ret = NULL;
    if (entry != NULL) {
        if (entry_type(entry) != TYPE_STREAM) {
            reply_error(x->reply, ERR_WRONG_TYPE);
            return false;
        }
        struct value value = entry_value_of(entry);
        *ret = stream_group_find(stream_of(&value), x->argv[2]);
    }
    if (*ret == NULL) {
        reply_errorf(x->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                     bytes_precision(x->argv[1]), x->argv[1].ptr, bytes_precision(x->argv[2]),
                     x->argv[2].ptr);
    }
    return *ret != NULL;
}

static struct entry *look_up(const struct exec *x) {
    return keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, exec_lookup_flags(x, LOOKUP_READ));
}

static bool find_group(struct exec *x, struct entry **ret_entry, struct stream_group **ret) {
    *ret_entry = look_up(x);
    return group_of(x, *ret_entry, ret);
}

/* A number with an error of its own. */
static bool arg_i64(const struct exec *x, uint32_t i, const char *error, int64_t *ret) {
    if (!num_parse_i64(x->argv[i], ret)) {
        reply_error(x->reply, error);
        return false;
    }
    return true;
}

/* Since it was delivered; clocks may have been set. */
static int64_t idle_ms(const struct exec *x, const struct stream_pending *pending) {
    return (int64_t)((uint64_t)x->now_ms - (uint64_t)pending->delivered_ms);
}

/* ---- XPENDING ---- */

struct pending_range {
    struct stream_id from, to;
    int64_t count, idle_ms;
    uint32_t consumer_index; /* 0: of all */
};

static bool read_range(struct exec *x, struct pending_range *p) {
    *p = (struct pending_range){0};
    uint32_t at = 3;
    if (bytes_is(x->argv[3], "idle")) {
        if (!exec_arg_i64(x, 4, &p->idle_ms)) {
            return false;
        }
        if (x->argc < 8) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        at = 5;
    }
    if (!exec_arg_i64(x, at + 2, &p->count)) {
        return false;
    }
    p->consumer_index = at + 3 < x->argc ? at + 3 : 0;
    return stream_arg_range(x, at, at + 1, &p->from, &p->to);
}

static void reply_summary(struct reply *r, const struct stream_group *group) {
    struct idtree_place first, last;
    reply_array(r, 4);
    reply_int(r, (int64_t)group->pending.count);
    if (!idtree_first(&group->pending, &first) || !idtree_last(&group->pending, &last)) {
        reply_null(r);
        reply_null(r);
        reply_null_array(r);
        return;
    }
    reply_stream_id(r, idtree_id(&first));
    reply_stream_id(r, idtree_id(&last));
    uint32_t busy = 0;
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        busy += group->consumers[i]->pending.count > 0;
    }
    reply_array(r, busy);
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        if (consumer->pending.count > 0) {
            reply_array(r, 2);
            reply_bulk(r, stream_consumer_name(consumer));
            reply_bulk_int(r, (int64_t)consumer->pending.count);
        }
    }
}

/* The next that is wanted, from this place on; false: there is none. */
static bool pending_next(const struct exec *x, const struct pending_range *p, bool more,
                         struct idtree_place *place) {
    while (more && !stream_id_less(p->to, idtree_id(place))) {
        if (p->idle_ms == 0 || idle_ms(x, idtree_get(place)) >= p->idle_ms) {
            return true;
        }
        more = idtree_next(place);
    }
    return false;
}

static void reply_range(struct exec *x, const struct idtree *tree, const struct pending_range *p) {
    struct idtree_place place;
    int64_t count = 0;
    bool more = pending_next(x, p, idtree_from(tree, p->from, &place), &place);
    for (; more && count < p->count; count++) {
        more = pending_next(x, p, idtree_next(&place), &place);
    }
    reply_array(x->reply, (uint64_t)count);
    more = count > 0 && pending_next(x, p, idtree_from(tree, p->from, &place), &place);
    for (; more && count > 0; count--) {
        const struct stream_pending *pending = idtree_get(&place);
        int64_t idle = idle_ms(x, pending);
        reply_array(x->reply, 4);
        reply_stream_id(x->reply, idtree_id(&place));
        reply_bulk(x->reply, stream_consumer_name(pending->consumer));
        reply_int(x->reply, idle > 0 ? idle : 0);
        reply_int(x->reply, pending->deliveries);
        more = pending_next(x, p, idtree_next(&place), &place);
    }
}

void command_xpending(struct exec *x) {
    struct pending_range p;
    struct entry *entry;
    struct stream_group *group;
    if (x->argc != 3 && (x->argc < 6 || x->argc > 9)) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if ((x->argc > 3 && !read_range(x, &p)) || !find_group(x, &entry, &group)) {
        return;
    }
    if (x->argc == 3) {
        reply_summary(x->reply, group);
        return;
    }
    const struct idtree *tree = &group->pending;
    if (p.consumer_index > 0) {
        const struct stream_consumer *consumer =
            stream_consumer_find(group, x->argv[p.consumer_index]);
        static const struct idtree none;
        tree = consumer != NULL ? &consumer->pending : &none;
    }
    reply_range(x, tree, &p);
}

/* ---- Claims ---- */

/* Who claims from a group. */
struct claiming {
    struct exec *x;
    struct change change;
    struct stream *stream;
    struct stream_group *group;
    struct stream_consumer *consumer;
    uint64_t changes;
    struct stream_id *given; /* what the consumer has now */
    uint32_t given_count;
};

static void claim_open(struct claiming *c, struct exec *x, struct entry *entry,
                       struct stream_group *group, uint32_t room) {
    *c = (struct claiming){.x = x, .group = group};
    change_open(&c->change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    change_element(&c->change, NULL);
    c->stream = stream_of(&c->change.value);
    c->given = must_malloc((room + UINT64_C(1)) * sizeof *c->given);
}

/* The consumer, who is made if he is missing. */
static void claim_as(struct claiming *c, struct bytes name) {
    struct exec *x = c->x;
    c->consumer = stream_consumer_find(c->group, name);
    if (c->consumer == NULL) {
        c->consumer =
            stream_consumer_add(change_heap(&c->change), c->stream, c->group, name, x->now_ms);
        keyspace_note(x->keyspace, x->db, &x->key, EVENT_XGROUP_CREATECONSUMER, TYPE_STREAM);
        c->changes++;
    }
    c->consumer->seen_ms = x->now_ms;
}

static void claim_close(struct claiming *c) {
    if (c->changes > 0) {
        change_close_quietly(&c->change, EVENT_NONE);
        keyspace_count_elements(c->x->keyspace, c->changes);
    } else {
        change_close(&c->change, EVENT_NONE);
    }
    effect_told(c->x); /* Valkey does not log that a consumer was made */
}

static void claim_reply(struct claiming *c, bool just_ids) {
    struct reply *r = c->x->reply;
    reply_array(r, c->given_count);
    for (uint32_t i = 0; i < c->given_count; i++) {
        if (just_ids) {
            reply_stream_id(r, c->given[i]);
            continue;
        }
        struct stream_iter iter;
        stream_iter_init(&iter, c->stream, c->given[i], c->given[i], false);
        if (stream_iter_next(&iter)) {
            reply_stream_entry(r, &iter);
        }
    }
    free(c->given);
}

void stream_say_pending(const struct exec *x, struct bytes key, const struct stream_group *group,
                        struct bytes id, const struct stream_pending *pending) {
    if (!effects_wanted(x)) {
        return;
    }
    char time[EFFECT_INT_BYTES], count[EFFECT_INT_BYTES], last[STREAM_ID_BYTES];
    EFFECT(x, BYTES("XCLAIM"), key, stream_group_name(group),
           stream_consumer_name(pending->consumer), BYTES("0"), id, BYTES("TIME"),
           effect_int(time, pending->delivered_ms), BYTES("RETRYCOUNT"),
           effect_int(count, pending->deliveries), BYTES("FORCE"), BYTES("JUSTID"), BYTES("LASTID"),
           stream_id_text(last, group->last));
}

void stream_say_group(const struct exec *x, struct bytes key, const struct stream_group *group) {
    if (!effects_wanted(x)) {
        return;
    }
    char last[STREAM_ID_BYTES], read[EFFECT_INT_BYTES];
    EFFECT(x, BYTES("XGROUP"), BYTES("SETID"), key, stream_group_name(group),
           stream_id_text(last, group->last), BYTES("ENTRIESREAD"),
           effect_int(read, group->entries_read));
}

static void claim_say(const struct claiming *c, struct bytes id,
                      const struct stream_pending *pending) {
    stream_say_pending(c->x, c->x->key.name, c->group, id, pending);
}

/* Its entry was deleted. */
static void claim_drop(struct claiming *c, struct stream_id id, struct bytes text,
                       const struct stream_pending *pending) {
    claim_say(c, text, pending);
    stream_pending_remove(change_heap(&c->change), c->stream, c->group, id);
    c->changes++;
}

/* It is the consumer's from now on. */
static struct stream_pending *claim_give(struct claiming *c, struct stream_id id,
                                         int64_t delivered_ms) {
    struct stream_pending *pending =
        stream_pending_give(change_heap(&c->change), c->stream, c->group, c->consumer, id);
    pending->delivered_ms = delivered_ms;
    c->consumer->active_ms = c->x->now_ms;
    c->given[c->given_count++] = id;
    c->changes++;
    return pending;
}

/* ---- XCLAIM ---- */

struct xclaim {
    int64_t min_idle_ms;
    uint32_t ids_end;     /* in argv, from 5 on */
    int64_t delivered_ms; /* -1: now */
    int64_t deliveries;   /* -1: one more */
    bool force, just_ids;
    struct stream_id last;
};

static bool read_claim_option(struct exec *x, uint32_t *i, struct xclaim *o) {
    struct bytes word = x->argv[*i];
    bool more = *i + 1 < x->argc;
    if (bytes_is(word, "force")) {
        o->force = true;
    } else if (bytes_is(word, "justid")) {
        o->just_ids = true;
    } else if (more && bytes_is(word, "idle")) {
        int64_t idle;
        if (!arg_i64(x, ++*i, "ERR Invalid IDLE option argument for XCLAIM", &idle)) {
            return false;
        }
        o->delivered_ms = (int64_t)((uint64_t)x->now_ms - (uint64_t)idle);
    } else if (more && bytes_is(word, "time")) {
        return arg_i64(x, ++*i, "ERR Invalid TIME option argument for XCLAIM", &o->delivered_ms);
    } else if (more && bytes_is(word, "retrycount")) {
        return arg_i64(x, ++*i, "ERR Invalid RETRYCOUNT option argument for XCLAIM",
                       &o->deliveries);
    } else if (more && bytes_is(word, "lastid")) {
        return stream_arg_id(x, ++*i, 0, NULL, &o->last);
    } else {
        reply_errorf(x->reply, "ERR Unrecognized XCLAIM option '%.*s'", bytes_precision(word),
                     word.ptr);
        return false;
    }
    return true;
}

static bool read_claim(struct exec *x, struct xclaim *o) {
    *o = (struct xclaim){.delivered_ms = -1, .deliveries = -1, .ids_end = 5};
    if (!arg_i64(x, 4, "ERR Invalid min-idle-time argument for XCLAIM", &o->min_idle_ms)) {
        return false;
    }
    struct stream_id id;
    while (o->ids_end < x->argc && stream_id_parse(x->argv[o->ids_end], &id)) {
        o->ids_end++;
    }
    for (uint32_t i = o->ids_end; i < x->argc; i++) {
        if (!read_claim_option(x, &i, o)) {
            return false;
        }
    }
    /* A time that makes no sense is now: clients reckon with clocks of their own. */
    if (o->delivered_ms < 0 || o->delivered_ms > x->now_ms) {
        o->delivered_ms = x->now_ms;
    }
    return true;
}

static void claim_one(struct claiming *c, const struct xclaim *o, struct bytes text) {
    struct stream_id id;
    stream_id_parse(text, &id);
    struct stream_pending *pending = stream_pending_find(c->group, id);
    if (!stream_has(c->stream, id)) {
        if (pending != NULL) {
            claim_drop(c, id, text, pending);
        }
        return;
    }
    if (pending == NULL ? !o->force
                        : o->min_idle_ms > 0 && idle_ms(c->x, pending) < o->min_idle_ms) {
        return;
    }
    bool is_new = pending == NULL;
    pending = claim_give(c, id, o->delivered_ms);
    pending->deliveries += is_new; /* it counts as delivered before */
    if (o->deliveries >= 0) {
        pending->deliveries = o->deliveries;
    } else if (!o->just_ids) {
        pending->deliveries = stream_one_more(pending->deliveries);
    }
    claim_say(c, text, pending);
}

void command_xclaim(struct exec *x) {
    struct xclaim o;
    struct entry *entry;
    struct stream_group *group;
    if (!find_group(x, &entry, &group) || !read_claim(x, &o)) {
        return;
    }
    struct claiming c;
    claim_open(&c, x, entry, group, o.ids_end - 5);
    bool moves = stream_id_less(group->last, o.last);
    if (moves) {
        group->last = o.last;
    }
    claim_as(&c, x->argv[3]);
    uint64_t before = c.changes;
    for (uint32_t i = 5; i < o.ids_end; i++) {
        claim_one(&c, &o, x->argv[i]);
    }
    if (moves && c.changes == before) {
        stream_say_group(x, x->key.name, group);
        c.changes++;
    }
    claim_close(&c);
    claim_reply(&c, o.just_ids);
}

/* ---- XAUTOCLAIM ---- */

/* Entries that it looks at, for each that it may give. */
#define ATTEMPTS 10

struct autoclaim {
    int64_t min_idle_ms, count;
    struct stream_id from;
    bool just_ids;
};

static bool read_autoclaim(struct exec *x, struct autoclaim *o) {
    *o = (struct autoclaim){.count = 100};
    if (!arg_i64(x, 4, "ERR Invalid min-idle-time argument for XAUTOCLAIM", &o->min_idle_ms) ||
        !stream_arg_from(x, 5, &o->from)) {
        return false;
    }
    for (uint32_t i = 6; i < x->argc; i++) {
        if (i + 1 < x->argc && bytes_is(x->argv[i], "count")) {
            if (!arg_i64(x, ++i, "ERR COUNT must be > 0", &o->count)) {
                return false;
            }
            if (o->count < 1 || o->count > INT64_MAX / (int64_t)sizeof(struct stream_id)) {
                reply_error(x->reply, "ERR COUNT must be > 0");
                return false;
            }
        } else if (bytes_is(x->argv[i], "justid")) {
            o->just_ids = true;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Walks through what is pending. What it claims is in c->given, what it found deleted in `dropped`,
 * of which it returns the number; *ret_next: where to go on, 0-0 at the end. */
static uint32_t walk_pending(struct claiming *c, const struct autoclaim *o,
                             struct stream_id *dropped, struct stream_id *ret_next) {
    uint32_t count = 0;
    uint64_t left = (uint64_t)o->count, attempts = left * ATTEMPTS;
    struct idtree_place place;
    bool more = idtree_from(&c->group->pending, o->from, &place);
    for (; more && left > 0 && attempts > 0; attempts--) {
        struct stream_id id = idtree_id(&place);
        struct stream_pending *pending = idtree_get(&place);
        char text[STREAM_ID_BYTES];
        if (!stream_has(c->stream, id)) {
            claim_drop(c, id, stream_id_text(text, id), pending);
            dropped[count++] = id;
            left--;
            more = idtree_from(&c->group->pending, id, &place);
            continue;
        }
        if (o->min_idle_ms <= 0 || idle_ms(c->x, pending) >= o->min_idle_ms) {
            pending = claim_give(c, id, c->x->now_ms);
            if (!o->just_ids) {
                pending->deliveries = stream_one_more(pending->deliveries);
            }
            claim_say(c, stream_id_text(text, id), pending);
            left--;
        }
        more = idtree_next(&place);
    }
    *ret_next = more ? idtree_id(&place) : STREAM_ID_MIN;
    return count;
}

void command_xautoclaim(struct exec *x) {
    struct autoclaim o;
    struct stream_group *group;
    struct entry *entry = look_up(x); /* counted, and a miss told, whatever else is said */
    if (!read_autoclaim(x, &o) || !group_of(x, entry, &group)) {
        return;
    }
    /* No more than there is. */
    uint64_t pending = group->pending.count;
    o.count = (uint64_t)o.count < pending + 1 ? o.count : (int64_t)pending + 1;
    struct claiming c;
    claim_open(&c, x, entry, group, (uint32_t)o.count);
    claim_as(&c, x->argv[3]);
    struct stream_id *dropped = must_malloc(((size_t)o.count + 1) * sizeof *dropped), next;
    uint32_t dropped_count = walk_pending(&c, &o, dropped, &next);
    claim_close(&c);
    reply_array(x->reply, 3);
    reply_stream_id(x->reply, next);
    claim_reply(&c, o.just_ids);
    reply_array(x->reply, dropped_count);
    for (uint32_t i = 0; i < dropped_count; i++) {
        reply_stream_id(x->reply, dropped[i]);
    }
    free(dropped);
}
