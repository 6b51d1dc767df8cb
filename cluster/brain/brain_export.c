/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER MIGRATESLOTS: slots that leave from here at once, with all their keys: the other end of
 * brain_import.c. This node dials a port for clients of who gets them, and speaks first:
 *
 *     here                        said to it                  from there
 *     connecting
 *     reading-establish-response  ESTABLISH                   OK
 *     snapshotting                ACK; all keys
 *     replicating                 SNAPSHOT-EOF; what changes  REQUEST-PAUSE
 *     waiting-to-pause            the rest
 *     failover-paused             PAUSED                      REQUEST-FAILOVER
 *     failover-granted            FAILOVER-GRANTED            (the bus tells of the claim)
 *     success
 *
 * In waiting-to-pause, once little is left to send, clients are held that would write to these
 * slots, then shards refuse what comes in spite of that (map.h); all others go on. Before the grant
 * whatever breaks it gives them back at once. Behind it the target may claim them at any moment, so
 * nothing is written to them until that is heard of, or is known not to come any more: the target
 * has ended the connection, and answers over the bus, some time later, that they are not its own;
 * or it has failed. Then they are taken back with an epoch above any that it could have claimed
 * them by. So a grant is in nodes.conf before it is said: who starts again behind one goes on with
 * that, as if the connection had ended now. As a variable there, of which other servers know that
 * they do not know it:
 *
 *     vars currentEpoch 5 lastVoteEpoch 0 granted <job>@<target>@0-100,300-300
 */
#include "cluster/brain/brain_private.h"

#include "base/must.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACK_MS 1000
/* A pause is begun when no more than this waits to be sent: some milliseconds of a connection. */
#define LITTLE_BYTES (512 * 1024)
/* What was on its way to the target as its connection ended has come of it by then. */
#define SETTLED_MS 1000

enum export_state {
    EXPORT_CONNECTS,
    EXPORT_SENDS_AUTH,
    EXPORT_ASKS,
    EXPORT_SNAPSHOTS,
    EXPORT_REPLICATES,
    EXPORT_WAITS, /* to pause */
    EXPORT_PAUSED,
    EXPORT_GRANTED,
    EXPORT_SUCCESS, /* it and what follows are over */
    EXPORT_FAILED,
    EXPORT_CANCELLED,
};

static const char *const state_names[] = {
    [EXPORT_CONNECTS] = "connecting",
    [EXPORT_SENDS_AUTH] = "reading-auth-response",
    [EXPORT_ASKS] = "reading-establish-response",
    [EXPORT_SNAPSHOTS] = "snapshotting",
    [EXPORT_REPLICATES] = "replicating",
    [EXPORT_WAITS] = "waiting-to-pause",
    [EXPORT_PAUSED] = "failover-paused",
    [EXPORT_GRANTED] = "failover-granted",
    [EXPORT_SUCCESS] = "success",
    [EXPORT_FAILED] = "failed",
    [EXPORT_CANCELLED] = "cancelled",
};

struct export {
    struct list_node node;
    char name[ID + 1], source[ID + 1], target[ID + 1];
    struct brain_ranges slots;
    uint64_t number; /* of all migrations, in the order in which they began */
    enum export_state state;
    char *message;
    bool asks_pause;     /* the world is to say when little is left */
    uint64_t granted_at; /* the grant is in the text of that version, and said when it is written */
    bool holds, seals;   /* map.h */
    int64_t created_s, updated_s, acked_s; /* wall */
    int64_t heard_ms, said_ms;             /* mono: ACKs */
    int64_t paused_ms;
    int64_t lost_ms;  /* the connection has ended behind the grant */
    int64_t asked_ms; /* so the target was asked over the bus what it has; 0: not yet */
    uint64_t left;
    uint64_t flushes; /* of all, before it */
};

static bool is_over(const struct export *export) {
    return export->state >= EXPORT_SUCCESS;
}

/* ---- Jobs ---- */

#define EACH_EXPORT(brain, export)                                                                 \
    LIST_EACH_SAFE(&(brain)->exports, export##_node)                                               \
    for (struct export *export = LIST_ENTRY(export##_node, struct export, node); export != NULL;   \
         export = NULL)

static void export_free(struct export *export) {
    list_remove(&export->node);
    free(export->slots.list);
    free(export->message);
    free(export);
}

void brain_exports_free(struct brain *brain) {
    EACH_EXPORT(brain, export) {
        export_free(export);
    }
}

static void trim(struct brain *brain) {
    int64_t left = brain->settings.migrations_kept;
    EACH_EXPORT(brain, export) {
        if (left > 0) {
            left--;
        } else if (is_over(export) && !export->holds) {
            export_free(export);
        }
    }
}

static void move(struct brain *brain, struct export *export, enum export_state state) {
    struct text ranges;
    const char *message = export->message;
    brain_ranges_text(&export->slots, &ranges);
    brain_note(brain, BRAIN_NOTICE, "Slot migration %.40s (export of %.*s): %s -> %s%s%.*s",
               export->name, (int)(ranges.len < 200 ? ranges.len : 200), ranges.ptr,
               state_names[export->state], state_names[state], message != NULL ? ": " : "",
               message != NULL ? (int)strcspn(message, "\r\n") : 0, message);
    text_fini(&ranges);
    export->state = state;
    export->updated_s = brain->now.wall_ms / 1000;
}

/* Shards are let write before clients are let go on. */
static void let_go(struct brain *brain, struct export *export) {
    if (export->holds) {
        export->seals = false;
        brain_touch_map(brain);
    }
}

static void finish(struct brain *brain, struct export *export, enum export_state state) {
    export->left = 0;
    if (export->granted_at != 0) {
        export->granted_at = 0;
        brain_touch_file(brain);
    }
    move(brain, export, state);
    let_go(brain, export);
    brain->world.export_close(brain->arg, export->name);
}

static void set_message(struct export *export, const char *before, struct bytes text,
                        const char *behind) {
    struct text all;
    text_init(&all);
    text_append_text(&all, before);
    text_append_bytes(&all, text);
    text_append_text(&all, behind);
    free(export->message);
    export->message = text_take(&all);
}

static void fail(struct brain *brain, struct export *export, const char *message) {
    set_message(export, message, (struct bytes){0}, "");
    finish(brain, export, EXPORT_FAILED);
}

static struct export *export_named(struct brain *brain, const char *name) {
    EACH_EXPORT(brain, export) {
        if (!is_over(export) && memcmp(export->name, name, ID) == 0) {
            return export;
        }
    }
    return NULL;
}

bool brain_exports_any(const struct brain *brain) {
    EACH_EXPORT((struct brain *)brain, export) {
        if (!is_over(export)) {
            return true;
        }
    }
    return false;
}

bool brain_held_slots(const struct brain *brain, uint8_t held[WIRE_SLOTS_BYTES],
                      uint8_t sealed[WIRE_SLOTS_BYTES]) {
    bool any = false;
    EACH_EXPORT((struct brain *)brain, export) {
        if (export->holds) {
            brain_ranges_bits(&export->slots, held);
            any = true;
        }
        if (export->seals) {
            brain_ranges_bits(&export->slots, sealed);
        }
    }
    return any;
}

/* ---- MIGRATESLOTS ---- */

static bool leaves_already(const struct brain *brain, unsigned slot) {
    EACH_EXPORT((struct brain *)brain, export) {
        if (!is_over(export) && brain_ranges_have(&export->slots, slot)) {
            return true;
        }
    }
    return false;
}

/* The slots of one job: all are this node's, and no job before it in the command has any. */
static bool read_own_ranges(struct brain_request *request, uint8_t taken[WIRE_SLOTS_BYTES]) {
    request->owner = NULL;
    if (!brain_read_ranges(request)) {
        return false;
    }
    if (request->owner != request->brain->self) {
        return brain_refuse(request, "ERR Slots are not served by this node.");
    }
    for (unsigned i = 0; i < request->slots.count; i++) {
        const struct brain_range *range = &request->slots.list[i];
        for (unsigned slot = range->first; slot <= range->last; slot++) {
            if (leaves_already(request->brain, slot)) {
                reply_errorf(request->reply, "ERR I am already migrating slot %u.", slot);
                return false;
            }
            if (brain_bit(taken, slot)) {
                return brain_refuse(request, "ERR Slot ranges in migrations overlap");
            }
            brain_set_bit(taken, slot);
        }
    }
    return true;
}

static struct brain_node *read_target(struct brain_request *request) {
    if (request->at + 1 >= request->count || !bytes_is(request->words[request->at], "NODE")) {
        brain_refuse(request, "ERR syntax error");
        return NULL;
    }
    struct bytes id = request->words[request->at + 1];
    struct brain_node *node = brain_node_named(request->brain, id);
    request->at += 2;
    if (node == NULL) {
        reply_errorf(request->reply, "ERR %s node name: %.*s", id.len == ID ? "Unknown" : "Invalid",
                     bytes_precision(id), id.ptr);
        return NULL;
    }
    if (node == request->brain->self) {
        brain_refuse(request, "ERR Target node can not be this node.");
        return NULL;
    }
    return node;
}

/* A job that is not in the list yet; NULL: the error is said. */
static struct export *read_job(struct brain_request *request, uint8_t taken[WIRE_SLOTS_BYTES]) {
    struct bytes word = request->words[request->at++];
    word.len = strnlen(word.ptr, word.len); /* valkey-cli sends its end along */
    if (!bytes_is(word, "SLOTSRANGE")) {
        brain_refuse(request, "ERR syntax error");
        return NULL;
    }
    struct brain_node *target = read_own_ranges(request, taken) ? read_target(request) : NULL;
    if (target == NULL) {
        free(request->slots.list);
        request->slots = (struct brain_ranges){0};
        return NULL;
    }
    struct brain *brain = request->brain;
    struct export *export = must_calloc(1, sizeof *export);
    list_node_init(&export->node);
    brain_draw_id(brain, export->name);
    memcpy(export->source, brain->self->id, ID);
    memcpy(export->target, target->id, ID);
    export->slots = request->slots;
    request->slots = (struct brain_ranges){0};
    export->created_s = export->updated_s = export->acked_s = brain->now.wall_ms / 1000;
    export->heard_ms = brain->now.mono_ms;
    export->flushes = brain->now.breaks.flushes;
    return export;
}

#define ESTABLISH_WORDS 8
#define NUMBER_BYTES    8

static void open_link(struct brain *brain, const struct export *export) {
    const struct brain_node *target = brain_node_find(brain, export->target);
    unsigned count = ESTABLISH_WORDS + 2 * export->slots.count;
    uint8_t slots[WIRE_SLOTS_BYTES] = {0};
    struct bytes *words = must_calloc(count, sizeof *words);
    char *numbers = must_calloc(2 * export->slots.count, NUMBER_BYTES);
    const struct bytes first[ESTABLISH_WORDS] = {
        BYTES("CLUSTER"),
        BYTES("SYNCSLOTS"),
        BYTES("ESTABLISH"),
        BYTES("SOURCE"),
        bytes_make(export->source, ID),
        BYTES("NAME"),
        bytes_make(export->name, ID),
        BYTES("SLOTSRANGE"),
    };
    memcpy(words, first, sizeof first);
    for (unsigned i = 0; i < 2 * export->slots.count; i++) {
        const struct brain_range *range = &export->slots.list[i / 2];
        char *number = numbers + (size_t)i * NUMBER_BYTES;
        snprintf(number, NUMBER_BYTES, "%u", i % 2 == 0 ? range->first : range->last);
        words[ESTABLISH_WORDS + i] = bytes_of_text(number);
    }
    brain_ranges_bits(&export->slots, slots);
    brain->world.export_open(
        brain->arg, &(struct brain_export){
                        .name = export->name,
                        .ip = target->ip,
                        .port = brain->settings.tls_cluster ? target->tls_port : target->port,
                        .slots = slots,
                        .words = words,
                        .count = count,
                    });
    free(numbers);
    free(words);
}

void brain_migrateslots(struct brain *brain, const struct bytes *words, unsigned count,
                        struct reply *reply) {
    uint8_t taken[WIRE_SLOTS_BYTES] = {0};
    struct list jobs;
    struct brain_request request = {
        .brain = brain, .words = words, .count = count, .at = 1, .reply = reply};
    bool good = brain_may_migrate(brain, reply);
    list_init(&jobs);
    while (good && request.at < count) {
        struct export *export = read_job(&request, taken);
        good = export != NULL;
        if (good) {
            list_push_back(&jobs, &export->node);
        }
    }
    struct list_node *node;
    while ((node = list_pop_front(&jobs)) != NULL) {
        struct export *export = LIST_ENTRY(node, struct export, node);
        if (!good) {
            list_push_front(&brain->exports, &export->node);
            export_free(export);
            continue;
        }
        export->number = ++brain->migrations_count;
        list_push_front(&brain->exports, &export->node);
        brain_note(brain, BRAIN_NOTICE, "Slot migration %.40s begins: slots go to %.40s",
                   export->name, export->target);
        open_link(brain, export);
    }
    if (good) {
        reply_ok(reply);
    }
}

void brain_cancel_exports(struct brain *brain, struct reply *reply) {
    bool any = false, late = false;
    EACH_EXPORT(brain, export) {
        if (export->state == EXPORT_GRANTED) {
            late = true;
        } else if (!is_over(export)) {
            any = true;
            finish(brain, export, EXPORT_CANCELLED);
        }
    }
    if (any) {
        reply_ok(reply);
    } else {
        reply_error(reply, late ? "ERR Slots that were granted to their new owner already are not "
                                  "taken back"
                                : "ERR No migrations ongoing");
    }
}

/* ---- What breaks it ---- */

struct owners {
    bool any_mine, any_targets, any_others;
};

static struct owners owners_of(const struct brain *brain, const struct export *export) {
    struct owners owners = {0};
    for (unsigned i = 0; i < export->slots.count; i++) {
        const struct brain_range *range = &export->slots.list[i];
        for (unsigned slot = range->first; slot <= range->last; slot++) {
            const struct brain_node *owner = brain_owner(brain, slot);
            bool is_mine = owner == brain->self;
            bool is_target = owner != NULL && memcmp(owner->id, export->target, ID) == 0;
            owners.any_mine |= is_mine;
            owners.any_targets |= is_target;
            owners.any_others |= !is_mine && !is_target;
        }
    }
    return owners;
}

static const char *broken_by(const struct brain *brain, const struct export *export) {
    struct owners owners = owners_of(brain, export);
    int64_t pause_ms = 2 * brain->settings.manual_failover_timeout_ms;
    if (owners.any_targets || owners.any_others || !brain_is_primary(brain->self)) {
        return "Slots are no longer owned by myself";
    }
    if (brain->now.breaks.flushes != export->flushes) {
        return "Data was flushed";
    }
    if (brain_node_find(brain, export->target) == NULL) {
        return "Target node is not known any more";
    }
    if (brain->now.mono_ms - export->heard_ms > brain->settings.repl_timeout_s * 1000) {
        return "Timed out after too long with no interaction";
    }
    return export->state == EXPORT_PAUSED && brain->now.mono_ms - export->paused_ms > pause_ms
               ? "Timed out before streaming completed"
               : NULL;
}

/* ---- Behind the grant ---- */

/* No claim of the target can be above. */
static void take_back(struct brain *brain, struct export *export, const char *why) {
    brain->current_epoch = brain_epoch_max(brain) + 2;
    brain->self->config_epoch = brain->current_epoch;
    brain_touch_file(brain);
    brain_announce(brain);
    fail(brain, export, why);
}

/* The target has ended the connection: it has claimed the slots, or never will. */
static bool has_disowned(struct brain *brain, struct export *export, struct brain_node *target) {
    int64_t now = brain->now.mono_ms;
    if (export->lost_ms == 0 || now - export->lost_ms < SETTLED_MS || target->out == NULL ||
        !target->out->connected) {
        return false;
    }
    if (export->asked_ms == 0) {
        if (target->ping_sent == 0) { /* else that answer may be of before */
            export->asked_ms = now;
            brain_send_ping(brain, target->out, WIRE_PING);
        }
        return false;
    }
    return target->ping_sent == 0 && target->answered >= export->asked_ms;
}

static void await_claim(struct brain *brain, struct export *export) {
    struct brain_node *target = brain_node_find(brain, export->target);
    struct owners owners = owners_of(brain, export);
    int64_t now = brain->now.mono_ms;
    if (!owners.any_mine) {
        if (owners.any_targets) {
            finish(brain, export, EXPORT_SUCCESS);
        } else {
            fail(brain, export, "Slots are no longer owned by myself");
        }
    } else if (!brain_is_primary(brain->self)) {
        fail(brain, export, "Slots are no longer owned by myself");
    } else if (target == NULL) {
        take_back(brain, export, "Target node is not known any more");
    } else if (target->flags & MAP_FAIL && now - target->failed > brain->settings.node_timeout_ms) {
        take_back(brain, export, "Target node has failed");
    } else if (has_disowned(brain, export, target)) {
        take_back(brain, export,
                  "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node "
                  "for more information.");
    }
}

void brain_exports_look(struct brain *brain) {
    EACH_EXPORT(brain, export) {
        if (export->state == EXPORT_GRANTED) {
            await_claim(brain, export);
        }
    }
}

/* ---- In nodes.conf ---- */

void brain_exports_file(const struct brain *brain, struct text *ret) {
    EACH_EXPORT((struct brain *)brain, export) {
        if (export->granted_at == 0) {
            continue;
        }
        text_appendf(ret, " granted %s@%s", export->name, export->target);
        for (unsigned i = 0; i < export->slots.count; i++) {
            const struct brain_range *range = &export->slots.list[i];
            text_appendf(ret, "%c%u-%u", i == 0 ? '@' : ',', range->first, range->last);
        }
    }
}

static bool take_number(struct bytes *rest, char end, uint16_t *ret) {
    uint64_t n;
    const char *at = memchr(rest->ptr, end, rest->len);
    struct bytes digits = {rest->ptr, at != NULL ? (size_t)(at - rest->ptr) : rest->len};
    if (!num_parse_u64(digits, &n) || n >= MAP_SLOTS) {
        return false;
    }
    size_t taken = digits.len + (at != NULL);
    *rest = bytes_make(rest->ptr + taken, rest->len - taken);
    *ret = (uint16_t)n;
    return true;
}

static bool read_granted_slots(struct brain_ranges *slots, struct bytes rest) {
    slots->list = must_calloc(rest.len / 4 + 1, sizeof *slots->list); /* "0-0," */
    while (rest.len > 0) {
        struct brain_range range;
        if (!take_number(&rest, '-', &range.first) || !take_number(&rest, ',', &range.last) ||
            range.first > range.last) {
            return false;
        }
        slots->list[slots->count++] = range;
    }
    return slots->count > 0;
}

bool brain_exports_load(struct brain *brain, struct bytes text) {
    size_t head = 2 * (ID + 1);
    struct brain_ranges slots = {0};
    if (text.len < head || text.ptr[ID] != '@' || text.ptr[head - 1] != '@' ||
        !read_granted_slots(&slots, bytes_make(text.ptr + head, text.len - head))) {
        free(slots.list);
        return false;
    }
    struct export *export = must_calloc(1, sizeof *export);
    list_node_init(&export->node);
    memcpy(export->name, text.ptr, ID);
    memcpy(export->target, text.ptr + ID + 1, ID);
    export->slots = slots;
    export->state = EXPORT_GRANTED;
    export->holds = export->seals = true;
    export->granted_at = 1;
    export->number = ++brain->migrations_count;
    export->created_s = export->updated_s = export->acked_s = brain->now.wall_ms / 1000;
    export->lost_ms = brain->now.mono_ms;
    list_push_front(&brain->exports, &export->node);
    return true;
}

void brain_exports_loaded(struct brain *brain) {
    EACH_EXPORT(brain, export) {
        memcpy(export->source, brain->self->id, ID);
    }
}

/* What waits is `most` bytes or fewer. */
static int64_t little(const struct brain *brain) {
    int64_t most = brain->settings.failover_bytes;
    return most < 0 || most > LITTLE_BYTES ? most : LITTLE_BYTES;
}

/* Unless a test wants to see it wait. */
static void ask_for_pause(struct brain *brain, struct export *export) {
    if (!export->asks_pause && !brain->debug.no_pause) {
        export->asks_pause = true;
        brain->world.export_wait(brain->arg, export->name, little(brain));
    }
}

void brain_exports_tick(struct brain *brain) {
    EACH_EXPORT(brain, export) {
        if (is_over(export)) {
            continue;
        }
        const char *why = export->state == EXPORT_GRANTED ? NULL : broken_by(brain, export);
        if (why != NULL) {
            fail(brain, export, why);
            continue;
        }
        if (export->state == EXPORT_GRANTED) {
            await_claim(brain, export);
            continue;
        }
        if (export->state == EXPORT_WAITS) {
            ask_for_pause(brain, export);
        }
        if (export->state > EXPORT_ASKS && brain->now.mono_ms - export->said_ms >= ACK_MS) {
            export->said_ms = brain->now.mono_ms;
            brain->world.export_say(brain->arg, export->name, "ACK");
        }
    }
    trim(brain);
}

/* ---- What follows ---- */

static void say(struct brain *brain, const struct export *export, const char *word) {
    brain->world.export_say(brain->arg, export->name, word);
}

static void hear(struct brain *brain, struct export *export, struct bytes word) {
    export->heard_ms = brain->now.mono_ms;
    export->acked_s = brain->now.wall_ms / 1000;
    if (bytes_is(word, "ACK")) {
        return;
    }
    bool pauses = bytes_is(word, "REQUEST-PAUSE"), asks = bytes_is(word, "REQUEST-FAILOVER");
    const char *why = broken_by(brain, export);
    if (export->state == EXPORT_GRANTED) {
        return; /* it is the target's */
    }
    if (!pauses && !asks) {
        why = "Unknown SYNCSLOTS subcommand used";
    } else if (export->state != (pauses ? EXPORT_REPLICATES : EXPORT_PAUSED) ||
               export->granted_at != 0) {
        why = "Unexpected state machine transition";
    }
    if (why != NULL) {
        fail(brain, export, why);
    } else if (pauses) {
        move(brain, export, EXPORT_WAITS);
        ask_for_pause(brain, export);
    } else {
        brain_touch_file(brain);
        export->granted_at = brain->version + 1;
    }
}

void brain_exports_shown(struct brain *brain) {
    EACH_EXPORT(brain, export) {
        if (export->state == EXPORT_PAUSED && export->granted_at != 0 &&
            export->granted_at <= brain->shown.version) {
            move(brain, export, EXPORT_GRANTED);
            say(brain, export, "FAILOVER-GRANTED");
        }
    }
}

/* Clients wait, all of them: what they had sent before is through soon, and what is not is refused
 * from now on. */
static void seal(struct brain *brain, struct export *export) {
    uint8_t slots[WIRE_SLOTS_BYTES] = {0};
    brain_ranges_bits(&export->slots, slots);
    export->seals = true;
    brain_touch_map(brain);
    brain->world.export_drain(brain->arg, export->name, slots);
}

void brain_map_taken(struct brain *brain, const struct brain_now *now) {
    brain_begin(brain, now);
    EACH_EXPORT(brain, export) {
        if (export->holds && !export->seals) {
            if (is_over(export)) {
                export->holds = false;
                brain_touch_map(brain);
            } else {
                seal(brain, export);
            }
        }
    }
    brain_settle(brain);
}

static void accepted(struct brain *brain, struct export *export) {
    export->heard_ms = export->said_ms = brain->now.mono_ms;
    move(brain, export, EXPORT_SNAPSHOTS);
    say(brain, export, "ACK");
    brain->world.export_walk(brain->arg, export->name);
}

void brain_export_tell(struct brain *brain, const char *name, enum brain_export_news news,
                       struct bytes text, const struct brain_now *now) {
    brain_begin(brain, now);
    struct export *export = export_named(brain, name);
    if (export == NULL) {
        brain_settle(brain);
        return;
    }
    switch (news) {
    case BRAIN_EXPORT_SENDS_AUTH:
        move(brain, export, EXPORT_SENDS_AUTH);
        break;
    case BRAIN_EXPORT_ASKED:
        move(brain, export, EXPORT_ASKS);
        break;
    case BRAIN_EXPORT_ACCEPTED:
        accepted(brain, export);
        break;
    case BRAIN_EXPORT_REFUSED:
        set_message(export, "Received error during handshake to target: -", text, "\r\n");
        finish(brain, export, EXPORT_FAILED);
        break;
    case BRAIN_EXPORT_NO_AUTH:
        set_message(export, "Failed to AUTH to target node: -", text, "");
        finish(brain, export, EXPORT_FAILED);
        break;
    case BRAIN_EXPORT_TOLD:
        hear(brain, export, text);
        break;
    case BRAIN_EXPORT_WALKED:
        move(brain, export, EXPORT_REPLICATES);
        say(brain, export, "SNAPSHOT-EOF");
        break;
    case BRAIN_EXPORT_LITTLE:
        export->holds = true;
        brain_touch_map(brain);
        break;
    case BRAIN_EXPORT_DRAINED:
        export->paused_ms = brain->now.mono_ms;
        move(brain, export, EXPORT_PAUSED);
        say(brain, export, "PAUSED");
        break;
    case BRAIN_EXPORT_UNREACHED:
        set_message(export, "Unable to connect to target node: ", text, "");
        finish(brain, export, EXPORT_FAILED);
        break;
    case BRAIN_EXPORT_LOST:
        if (export->state == EXPORT_GRANTED) {
            export->lost_ms = brain->now.mono_ms;
        } else {
            fail(brain, export,
                 "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node "
                 "for more information.");
        }
        break;
    }
    brain_settle(brain);
}

void brain_export_left(struct brain *brain, const char *name, uint64_t left) {
    struct export *export = export_named(brain, name);
    if (export != NULL) {
        export->left = left;
    }
}

/* ---- What is shown ---- */

bool brain_export_view(const struct brain *brain, unsigned at, struct brain_migration_view *ret) {
    EACH_EXPORT((struct brain *)brain, export) {
        if (at-- > 0) {
            continue;
        }
        *ret = (struct brain_migration_view){
            .name = export->name,
            .operation = "EXPORT",
            .slots = &export->slots,
            .source = export->source,
            .target = export->target,
            .created_s = export->created_s,
            .updated_s = export->updated_s,
            .acked_s = export->acked_s,
            .state = state_names[export->state],
            .message = export->message,
            .left = export->left,
            .number = export->number,
            .over = is_over(export),
        };
        return true;
    }
    return false;
}
