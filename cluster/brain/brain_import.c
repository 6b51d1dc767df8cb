/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER SYNCSLOTS: slots that come here at once, with all their keys. Who has them dials a port
 * for clients, sends the keys and then what changes of them, and in the end lets this node claim:
 *
 *     from there                  here                        said to it
 *     ESTABLISH                   waiting-for-ack             +OK, then nothing more as a reply
 *     ACK                         receiving-snapshot          ACK each second
 *     SNAPSHOT-EOF                waiting-for-paused          REQUEST-PAUSE
 *     PAUSED: writes stand still  .. our replicas have all
 *                                 failover-requested          REQUEST-FAILOVER
 *     FAILOVER-GRANTED            the claim; success          (the bus says so)
 *
 * All of it is with our replicas before this node asks for the slots, so that whoever takes over
 * from it has it, too; but a replica that does not say so is not waited for longer than half of
 * cluster-manual-failover-timeout: a Valkey takes writes again four times that after its PAUSED.
 * What the end is they hear by the stream, before the bus tells them.
 *
 * Until the claim nobody sees these keys (map.h), and a job that breaks drops what came: its
 * connection ends first, so that nothing comes behind. Replicas are told of the begin and the end,
 * and hide the keys, too (occurring-on-primary). All of it is in memory alone: a restart drops what
 * is another's (brain_sweep).
 */
#include "cluster/brain/brain_private.h"

#include "base/must.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>

#define ACK_MS 1000

enum import_state {
    IMPORT_WAITS,
    IMPORT_RECEIVES,
    IMPORT_WAITS_FOR_PAUSE,
    IMPORT_ASKS,
    IMPORT_OF_PRIMARY, /* this is a replica, and its primary's it is */
    IMPORT_CLEANS,
    IMPORT_SUCCESS, /* it and what follows are over */
    IMPORT_FAILED,
};

static const char *const state_names[] = {
    [IMPORT_WAITS] = "waiting-for-ack",
    [IMPORT_RECEIVES] = "receiving-snapshot",
    [IMPORT_WAITS_FOR_PAUSE] = "waiting-for-paused",
    [IMPORT_ASKS] = "failover-requested",
    [IMPORT_OF_PRIMARY] = "occurring-on-primary",
    [IMPORT_CLEANS] = "cleaning-up",
    [IMPORT_SUCCESS] = "success",
    [IMPORT_FAILED] = "failed",
};

struct import {
    struct list_node node;
    char name[ID + 1], source[ID + 1], target[ID + 1]; /* source "": it is our primary's */
    struct brain_ranges slots;
    uint64_t number; /* of all migrations, in the order in which they began */
    enum import_state state;
    char *message;
    int64_t created_s, updated_s, acked_s; /* wall */
    int64_t said_ms;                       /* mono: the last ACK */
    int64_t held_ms;                       /* replicas are waited for since then; 0: they are not */
    struct brain_asker link;
    bool is_linked;             /* it is not known yet that nothing of it comes any more */
    bool drops;                 /* what came */
    bool is_granted;            /* and claimed as soon as a test allows that */
    uint64_t source_epoch;      /* as it was when the source was asked for its slots */
    uint64_t closes_at;         /* the claim is in the text of that version; 0: there is none */
    struct brain_breaks breaks; /* before it */
};

static bool is_over(const struct import *import) {
    return import->state >= IMPORT_SUCCESS;
}

static bool goes_on(const struct import *import) {
    return import->state < IMPORT_CLEANS;
}

/* ---- Jobs ---- */

#define EACH_IMPORT(brain, import)                                                                 \
    LIST_EACH_SAFE(&(brain)->imports, import##_node)                                               \
    for (struct import *import = LIST_ENTRY(import##_node, struct import, node); import != NULL;   \
         import = NULL)

static void import_free(struct import *import) {
    list_remove(&import->node);
    free(import->slots.list);
    free(import->message);
    free(import);
}

void brain_imports_free(struct brain *brain) {
    EACH_IMPORT(brain, import) {
        import_free(import);
    }
}

/* The newest are shown; those that go on stay. */
static void trim(struct brain *brain) {
    int64_t left = brain->settings.migrations_kept;
    EACH_IMPORT(brain, import) {
        if (left > 0) {
            left--;
        } else if (is_over(import) && import->closes_at == 0) {
            import_free(import);
        }
    }
}

static void move(struct brain *brain, struct import *import, enum import_state state) {
    struct text ranges;
    brain_ranges_text(&import->slots, &ranges);
    brain_note(brain, BRAIN_NOTICE, "Slot migration %.40s (import of %.*s): %s -> %s%s%s",
               import->name, (int)(ranges.len < 200 ? ranges.len : 200), ranges.ptr,
               state_names[import->state], state_names[state], import->message != NULL ? ": " : "",
               import->message != NULL ? import->message : "");
    text_fini(&ranges);
    import->state = state;
    import->updated_s = brain->now.wall_ms / 1000;
}

/* Bits of what is not this node's own: its keys go if the job fails. */
static void foreign_slots(const struct brain *brain, const struct import *import,
                          uint8_t ret[WIRE_SLOTS_BYTES]) {
    memset(ret, 0, WIRE_SLOTS_BYTES);
    for (unsigned i = 0; i < import->slots.count; i++) {
        for (unsigned slot = import->slots.list[i].first; slot <= import->slots.list[i].last;
             slot++) {
            if (brain_owner(brain, slot) != brain->self) {
                brain_set_bit(ret, slot);
            }
        }
    }
}

static void tell_end(struct brain *brain, const struct import *import) {
    struct bytes words[] = {
        BYTES("CLUSTER"),
        BYTES("SYNCSLOTS"),
        BYTES("FINISH"),
        BYTES("STATE"),
        bytes_of_text(state_names[import->state]),
        BYTES("NAME"),
        bytes_of_text(import->name),
        BYTES("MESSAGE"),
        bytes_of_text(import->message != NULL ? import->message : ""),
    };
    brain->world.tell_replicas(brain->arg, words, import->message != NULL ? 9 : 7);
}

static void finish(struct brain *brain, struct import *import, enum import_state state) {
    move(brain, import, state);
    brain_touch_map(brain);
    if (brain_is_primary(brain->self)) {
        tell_end(brain, import);
    }
}

/* Its connection has ended: what came goes. */
static void clean(struct brain *brain, struct import *import) {
    uint8_t slots[WIRE_SLOTS_BYTES];
    if (!brain_is_primary(brain->self)) { /* the new primary says what becomes of them */
        finish(brain, import, IMPORT_FAILED);
        return;
    }
    import->drops = true;
    foreign_slots(brain, import, slots);
    brain->world.drop_import(brain->arg, import->name, slots);
}

static void fail(struct brain *brain, struct import *import, const char *message) {
    free(import->message);
    import->message = must_malloc(strlen(message) + 1);
    strcpy(import->message, message);
    import->held_ms = 0;
    move(brain, import, IMPORT_CLEANS);
    if (import->is_linked) {
        brain->world.say_source(brain->arg, &import->link, NULL);
    } else {
        clean(brain, import);
    }
}

static struct import *import_of(struct brain *brain, const struct brain_asks *asks) {
    EACH_IMPORT(brain, import) {
        if (goes_on(import) && import->is_linked && import->link.client == asks->asker.client) {
            return import;
        }
    }
    return NULL;
}

static struct import *import_named(struct brain *brain, const char *name) {
    EACH_IMPORT(brain, import) {
        if (memcmp(import->name, name, ID) == 0) {
            return import;
        }
    }
    return NULL;
}

bool brain_imports_any(const struct brain *brain) {
    EACH_IMPORT((struct brain *)brain, import) {
        if (!is_over(import)) {
            return true;
        }
    }
    return false;
}

static bool comes_already(struct brain *brain, unsigned slot) {
    EACH_IMPORT(brain, import) {
        if (!is_over(import) && brain_ranges_have(&import->slots, slot)) {
            return true;
        }
    }
    return false;
}

bool brain_hidden_slots(const struct brain *brain, uint8_t ret[WIRE_SLOTS_BYTES]) {
    bool any = false;
    EACH_IMPORT((struct brain *)brain, import) {
        for (unsigned i = 0; !is_over(import) && i < import->slots.count; i++) {
            for (unsigned slot = import->slots.list[i].first; slot <= import->slots.list[i].last;
                 slot++) {
                brain_set_bit(ret, slot);
                any = true;
            }
        }
    }
    return any;
}

/* ---- What breaks it ---- */

static const char *broken_by(const struct brain *brain, const struct import *import) {
    const struct brain_breaks *before = &import->breaks, *now = &brain->now.breaks;
    bool is_foreign = false, is_mine = false;
    if (now->full != before->full) {
        return "Ran out of memory (OOM) during slot import";
    }
    if (now->errors != before->errors) {
        return "Failed to process command during slot migration. Check logs for more information";
    }
    if (now->flushes != before->flushes) {
        return "Data was flushed";
    }
    for (unsigned i = 0; i < import->slots.count; i++) {
        for (unsigned slot = import->slots.list[i].first; slot <= import->slots.list[i].last;
             slot++) {
            const struct brain_node *owner = brain_owner(brain, slot);
            is_mine |= owner == brain->self;
            is_foreign |= owner == NULL || memcmp(owner->id, import->source, ID) != 0;
        }
    }
    return is_mine      ? "Slots were unexpectedly assigned to myself during import"
           : is_foreign ? "Slots are no longer owned by source node"
                        : NULL;
}

/* The role has changed. */
static void follow_role(struct brain *brain, struct import *import) {
    if (brain_is_primary(brain->self)) {
        if (import->state == IMPORT_OF_PRIMARY) {
            fail(brain, import, "A failover occurred during slot import");
        }
    } else if (goes_on(import) && import->state != IMPORT_OF_PRIMARY) {
        brain->world.say_source(brain->arg, &import->link, NULL);
        import->is_linked = false;
        import->source[0] = '\0';
        move(brain, import, IMPORT_OF_PRIMARY);
    }
}

static void step(struct brain *brain, struct import *import, enum import_state from,
                 enum import_state to, const char *word) {
    const char *why =
        import->state != from ? "Unexpected state machine transition" : broken_by(brain, import);
    if (why != NULL) {
        fail(brain, import, why);
        return;
    }
    move(brain, import, to);
    brain->world.say_source(brain->arg, &import->link, word);
}

/* ---- The claim ---- */

static void hold(struct brain *brain, struct import *import) {
    if (import->state != IMPORT_WAITS_FOR_PAUSE || import->held_ms != 0) {
        fail(brain, import, "Unexpected state machine transition");
        return;
    }
    import->held_ms = brain->now.mono_ms;
    brain->world.hold_import(brain->arg, &import->link);
}

static void ask_for_slots(struct brain *brain, struct import *import) {
    const struct brain_node *source = brain_node_find(brain, import->source);
    import->source_epoch = source != NULL ? source->config_epoch : 0;
    import->held_ms = 0;
    step(brain, import, IMPORT_WAITS_FOR_PAUSE, IMPORT_ASKS, "REQUEST-FAILOVER");
}

static void ask_at_last(struct brain *brain, struct import *import) {
    if (import->held_ms != 0 &&
        brain->now.mono_ms - import->held_ms >= brain->settings.manual_failover_timeout_ms / 2) {
        brain_note(brain, BRAIN_WARNING,
                   "Slot migration %.40s claims slots that not all replicas have", import->name);
        ask_for_slots(brain, import);
    }
}

void brain_import_held(struct brain *brain, uint64_t client, const struct brain_now *now) {
    brain_begin(brain, now);
    EACH_IMPORT(brain, import) {
        if (goes_on(import) && import->is_linked && import->link.client == client &&
            import->held_ms != 0) {
            ask_for_slots(brain, import);
        }
    }
    brain_settle(brain);
}

static void claim(struct brain *brain, struct import *import) {
    if (brain->debug.no_claim) {
        return;
    }
    const struct brain_node *source = brain_node_find(brain, import->source);
    const char *why = import->state != IMPORT_ASKS ? "Unexpected state machine transition"
                      : source == NULL || source->config_epoch != import->source_epoch
                          ? "The source has taken its slots back"
                          : broken_by(brain, import);
    if (why != NULL) {
        fail(brain, import, why);
        return;
    }
    brain_bump_epoch(brain);
    for (unsigned i = 0; i < import->slots.count; i++) {
        for (unsigned slot = import->slots.list[i].first; slot <= import->slots.list[i].last;
             slot++) {
            brain_slot_give(brain, slot, brain->self);
        }
    }
    brain_touch_file(brain);
    brain_update_state(brain);
    brain_announce(brain);
    import->closes_at = brain->version + 1;
    finish(brain, import, IMPORT_SUCCESS);
}

void brain_imports_tick(struct brain *brain) {
    EACH_IMPORT(brain, import) {
        follow_role(brain, import);
        if (import->closes_at != 0 && brain->shown.version >= import->closes_at) {
            import->closes_at = 0;
            brain->world.say_source(brain->arg, &import->link, NULL);
        }
        if (!goes_on(import) || import->state == IMPORT_OF_PRIMARY) {
            continue;
        }
        const char *why = broken_by(brain, import);
        if (why != NULL) {
            fail(brain, import, why);
        } else if (import->is_granted) {
            claim(brain, import);
        } else if (import->state != IMPORT_WAITS &&
                   brain->now.mono_ms - import->said_ms >= ACK_MS) {
            import->said_ms = brain->now.mono_ms;
            brain->world.say_source(brain->arg, &import->link, "ACK");
        }
        ask_at_last(brain, import);
    }
    trim(brain);
}

void brain_sweep(struct brain *brain) {
    uint8_t slots[WIRE_SLOTS_BYTES] = {0};
    bool any = false;
    if (brain->is_swept || !brain->now.is_loaded) {
        return;
    }
    brain->is_swept = true;
    for (unsigned slot = 0; slot < MAP_SLOTS && brain_is_primary(brain->self); slot++) {
        const struct brain_node *owner = brain_owner(brain, slot);
        if (owner != NULL && owner != brain->self &&
            brain_open_find(&brain->importing, slot) == NULL) {
            brain_set_bit(slots, slot);
            any = true;
        }
    }
    if (any) {
        brain->world.drop_slots(brain->arg, slots);
    }
}

void brain_import_gone(struct brain *brain, uint64_t client, bool silent,
                       const struct brain_now *now) {
    brain_begin(brain, now);
    EACH_IMPORT(brain, import) {
        if (!import->is_linked || import->link.client != client) {
            continue;
        }
        import->is_linked = false;
        if (import->state == IMPORT_CLEANS) {
            clean(brain, import);
        } else if (goes_on(import)) {
            fail(brain, import,
                 silent ? "Timed out after too long with no interaction"
                        : "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the "
                          "source node for more information.");
        }
    }
    brain_settle(brain);
}

void brain_import_dropped(struct brain *brain, const char *name, const struct brain_now *now) {
    brain_begin(brain, now);
    EACH_IMPORT(brain, import) {
        if (import->drops && memcmp(import->name, name, ID) == 0) {
            import->drops = false;
            finish(brain, import, IMPORT_FAILED);
            break;
        }
    }
    brain_settle(brain);
}

void brain_synced(struct brain *brain, struct bytes opens, const struct brain_now *now) {
    brain_begin(brain, now);
    brain_opens_told(brain, opens);
    EACH_IMPORT(brain, import) {
        if (import->state == IMPORT_OF_PRIMARY) {
            free(import->message);
            import->message = strdup("Full resynchronization occurred");
            finish(brain, import, IMPORT_FAILED);
        }
    }
    brain_settle(brain);
}

/* ---- ESTABLISH ---- */

static bool read_free_ranges(struct brain_request *request) {
    if (!brain_read_ranges(request)) {
        return false;
    }
    for (unsigned slot = 0; slot < MAP_SLOTS && !request->from_primary; slot++) {
        if (brain_ranges_have(&request->slots, slot) && comes_already(request->brain, slot)) {
            return brain_refuse(request, "ERR Slot is already being imported on the target by a "
                                         "different migration");
        }
    }
    return true;
}

static bool read_source(struct brain_request *request, struct bytes id) {
    request->source = brain_node_named(request->brain, id);
    if (request->source == NULL) {
        return brain_refuse(request, "ERR Target node does not know the source node");
    }
    return request->source != request->brain->self ||
           brain_refuse(request, "ERR Source node is target node itself");
}

/* As nodes make them: it is a text, of lines and files. */
static bool is_name(const char *name) {
    for (unsigned i = 0; i < ID; i++) {
        if (!(name[i] >= '0' && name[i] <= '9') && !(name[i] >= 'a' && name[i] <= 'z')) {
            return false;
        }
    }
    return true;
}

/* A job of this name goes on, or this connection has one already. */
static bool is_busy(struct brain *brain, const char *name, const struct brain_asks *asks) {
    EACH_IMPORT(brain, import) {
        if (!is_over(import) && memcmp(import->name, name, ID) == 0) {
            return true;
        }
    }
    return import_of(brain, asks) != NULL;
}

/* Whom its primary imports from is not a replica's to judge. */
static bool read_establish(struct brain_request *request) {
    bool from_primary = request->from_primary;
    static const char syntax[] = "ERR syntax error";
    while (request->at < request->count) {
        struct bytes word = request->words[request->at++];
        bool has_id = request->at < request->count && request->words[request->at].len == ID;
        if (bytes_is(word, "SOURCE")) {
            if (request->source != NULL || !has_id) {
                return brain_refuse(request, syntax);
            }
            struct bytes id = request->words[request->at++];
            if (!from_primary && !read_source(request, id)) {
                return false;
            }
        } else if (bytes_is(word, "NAME")) {
            if (request->name != NULL || !has_id) {
                return brain_refuse(request, syntax);
            }
            request->name = request->words[request->at++].ptr;
            if (!is_name(request->name)) {
                return brain_refuse(request, syntax);
            }
        } else if (bytes_is(word, "SLOTSRANGE") && request->slots.list == NULL) {
            if (!read_free_ranges(request)) {
                return false;
            }
        } else {
            return brain_refuse(request, syntax);
        }
    }
    if (request->name == NULL || request->slots.list == NULL ||
        (request->source == NULL && !from_primary)) {
        return brain_refuse(request, syntax);
    }
    return from_primary || request->source == request->owner ||
           brain_refuse(request, "ERR Target node does not agree about current slot ownership");
}

/* Its primary has begun anew, and has not said what became of these: it was restarted. */
static void forget_overlaps(struct brain *brain, const struct brain_request *request) {
    EACH_IMPORT(brain, import) {
        for (unsigned i = 0; i < request->slots.count; i++) {
            const struct brain_range *range = &request->slots.list[i];
            for (unsigned slot = range->first; slot <= range->last && !is_over(import); slot++) {
                if (import->state == IMPORT_OF_PRIMARY && brain_ranges_have(&import->slots, slot)) {
                    finish(brain, import, IMPORT_FAILED);
                }
            }
        }
    }
}

static void establish(struct brain *brain, const struct bytes *words, unsigned count,
                      const struct brain_asks *asks, struct reply *reply) {
    struct brain_request request = {.brain = brain,
                                    .words = words,
                                    .count = count,
                                    .at = 2,
                                    .reply = reply,
                                    .from_primary = asks->from_primary};
    if ((!asks->from_primary && !brain_may_migrate(brain, reply)) || !read_establish(&request)) {
        free(request.slots.list);
        return;
    }
    if (!asks->from_primary && is_busy(brain, request.name, asks)) {
        reply_error(reply, "ERR A slot migration of this name, or by this connection, goes on");
        free(request.slots.list);
        return;
    }
    if (!asks->from_primary && asks->slot_keys > 0) { /* they would become one with what comes */
        reply_error(reply, "ERR Target node has keys of these slots already");
        free(request.slots.list);
        return;
    }
    if (asks->from_primary) {
        forget_overlaps(brain, &request);
    }
    struct import *import = must_calloc(1, sizeof *import);
    memcpy(import->name, request.name, ID);
    import->slots = request.slots;
    import->created_s = import->updated_s = import->acked_s = brain->now.wall_ms / 1000;
    import->breaks = brain->now.breaks;
    import->number = ++brain->migrations_count;
    import->state = asks->from_primary ? IMPORT_OF_PRIMARY : IMPORT_WAITS;
    if (!asks->from_primary) {
        memcpy(import->source, request.source->id, ID);
        memcpy(import->target, brain->self->id, ID);
        import->link = asks->asker;
        import->is_linked = true;
        struct bytes told[2] = {BYTES("CLUSTER"), BYTES("SYNCSLOTS")};
        struct bytes *list = must_malloc((count + 1) * sizeof *list);
        memcpy(list, told, sizeof told);
        memcpy(list + 2, words + 1, (count - 1) * sizeof *list);
        brain->world.tell_replicas(brain->arg, list, count + 1);
        free(list);
    }
    list_push_front(&brain->imports, &import->node);
    brain_note(brain, BRAIN_NOTICE, "Slot migration %.40s begins: slots come from %.40s",
               import->name, import->source[0] != '\0' ? import->source : "elsewhere");
    brain_touch_map(brain);
    reply_ok(reply);
}

/* ---- What follows ---- */

static bool is_of_imports(struct bytes word) {
    static const char *const names[] = {"SNAPSHOT-EOF", "PAUSED",           "FAILOVER-GRANTED",
                                        "ACK",          "REQUEST-FAILOVER", "REQUEST-PAUSE"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal_nocase(word, bytes_of_text(names[i]))) {
            return true;
        }
    }
    return false;
}

static void hear(struct brain *brain, struct import *import, struct bytes word) {
    if (bytes_is(word, "ACK")) {
        import->acked_s = brain->now.wall_ms / 1000;
        if (import->state == IMPORT_WAITS) {
            move(brain, import, IMPORT_RECEIVES);
        }
    } else if (bytes_is(word, "SNAPSHOT-EOF")) {
        step(brain, import, IMPORT_RECEIVES, IMPORT_WAITS_FOR_PAUSE, "REQUEST-PAUSE");
    } else if (bytes_is(word, "PAUSED")) {
        hold(brain, import);
    } else if (bytes_is(word, "FAILOVER-GRANTED")) {
        import->is_granted = true;
        claim(brain, import);
    } else {
        fail(brain, import, "Unknown SYNCSLOTS subcommand used");
    }
}

/* Our primary has claimed them, and may be gone before its packet comes: who takes over claims
 * them in its turn. */
static void take_with_primary(struct brain *brain, const struct import *import) {
    struct brain_node *primary = brain_primary_of(brain->self);
    for (unsigned i = 0; i < import->slots.count && primary != NULL; i++) {
        const struct brain_range *range = &import->slots.list[i];
        for (unsigned slot = range->first; slot <= range->last; slot++) {
            brain_slot_give(brain, slot, primary);
        }
    }
    brain_touch_file(brain);
    brain_update_state(brain);
}

/* FINISH: of our primary's. That it tells of a job of which a full sync has not told is no error.
 */
static void hear_end(struct brain *brain, const struct bytes *words, unsigned count,
                     const struct brain_asks *asks, struct reply *reply) {
    struct bytes state = {0}, name = {0}, message = {0};
    for (unsigned i = 2; i + 1 < count; i += 2) {
        struct bytes *ret = bytes_is(words[i], "STATE")     ? &state
                            : bytes_is(words[i], "NAME")    ? &name
                            : bytes_is(words[i], "MESSAGE") ? &message
                                                            : NULL;
        if (ret == NULL || ret->ptr != NULL) {
            reply_error(reply, "ERR syntax error");
            return;
        }
        *ret = words[i + 1];
    }
    if (count % 2 != 0 || state.ptr == NULL || name.len != ID) {
        reply_error(reply, "ERR syntax error");
        return;
    }
    struct import *import = import_named(brain, name.ptr);
    bool good = bytes_is(state, "success");
    if (import == NULL && !asks->from_primary) {
        reply_error(reply, "ERR No such slot migration job");
        return;
    }
    if ((!good && !bytes_is(state, "failed")) || !asks->from_primary) {
        reply_error(reply, "ERR syntax error");
        return;
    }
    if (import != NULL && import->state == IMPORT_OF_PRIMARY) {
        if (message.len > 0) {
            import->message = must_calloc(1, message.len + 1);
            memcpy(import->message, message.ptr, message.len);
        }
        if (good) {
            take_with_primary(brain, import);
        }
        finish(brain, import, good ? IMPORT_SUCCESS : IMPORT_FAILED);
    }
    reply_ok(reply);
}

void brain_syncslots(struct brain *brain, const struct bytes *words, unsigned count,
                     const struct brain_asks *asks, struct reply *reply) {
    EACH_IMPORT(brain, import) {
        follow_role(brain, import); /* it may be another since the last tick */
    }
    struct import *import = import_of(brain, asks);
    if (bytes_is(words[1], "ESTABLISH")) {
        establish(brain, words, count, asks, reply);
    } else if (bytes_is(words[1], "FINISH")) {
        hear_end(brain, words, count, asks, reply);
    } else if (asks->from_primary || bytes_is(words[1], "CAPA")) {
        reply_ok(reply); /* there are none, and a primary's others are not for its replicas */
    } else if (import != NULL) {
        hear(brain, import, words[1]);
        reply_ok(reply);
    } else if (is_of_imports(words[1])) {
        char name[ID] = {0};
        for (size_t i = 0; i < words[1].len; i++) {
            char c = words[1].ptr[i];
            name[i] = (char)(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c);
        }
        reply_errorf(
            reply, "ERR CLUSTER SYNCSLOTS %s should only be used by slot migration clients", name);
    } else {
        reply_error(reply, "ERR syntax error");
    }
}

/* ---- What is shown ---- */

bool brain_import_view(const struct brain *brain, unsigned at, struct brain_migration_view *ret) {
    EACH_IMPORT((struct brain *)brain, import) {
        if (import->slots.count == 0 || at-- > 0) {
            continue;
        }
        *ret = (struct brain_migration_view){
            .name = import->name,
            .operation = "IMPORT",
            .slots = &import->slots,
            .source = import->source[0] != '\0' ? import->source : NULL,
            .target = import->target,
            .created_s = import->created_s,
            .updated_s = import->updated_s,
            .acked_s = import->acked_s,
            .state = state_names[import->state],
            .message = import->message,
            .number = import->number,
            .over = is_over(import),
        };
        return true;
    }
    return false;
}
