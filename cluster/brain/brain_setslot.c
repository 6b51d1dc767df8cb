/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER SETSLOT: a slot is opened at both ends of its way, closed, or given.
 *
 *   slot MIGRATING id | IMPORTING id | STABLE | NODE id   [TIMEOUT ms]
 *
 * Replicas are sent the same words, behind what was written before, so that who takes over knows
 * which slots are open; nobody waits for them. They come here with `from_primary`, and what cannot
 * be done here then (a node is not known yet) is no error. Who imports a slot and is given it takes
 * an epoch that nobody has, without asking: its claim beats the old owner's at once.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/num.h"
#include "base/outbuf.h"

#include <stdio.h>

static struct brain_node *known(struct brain *brain, struct bytes id, struct reply *reply,
                                const char *unknown) {
    struct brain_node *node = brain_node_named(brain, id);
    if (node == NULL) {
        reply_errorf(reply, "ERR %s %.*s", unknown, bytes_precision(id), id.ptr);
        return NULL;
    }
    return node;
}

/* The slot is on its way to, or from, that other primary. */
static bool set_open(struct brain *brain, struct brain_opens *opens, unsigned slot, struct bytes id,
                     struct reply *reply) {
    struct brain_node *node = known(brain, id, reply, "I don't know about node");
    if (node == NULL) {
        return false;
    }
    if (node == brain_primary_of(brain->self)) {
        reply_error(reply, "ERR Target node is myself");
        return false;
    }
    if (!brain_is_primary(node)) {
        reply_error(reply, "ERR Target node is not a master");
        return false;
    }
    brain_open_set(opens, slot, node);
    return true;
}

static bool migrate(struct brain *brain, unsigned slot, struct bytes id, struct reply *reply) {
    struct brain_node *mine = brain_primary_of(brain->self);
    if (mine == NULL || brain_owner(brain, slot) != mine) {
        reply_errorf(reply, "ERR I'm not the owner of hash slot %u", slot);
        return false;
    }
    return set_open(brain, &brain->migrating, slot, id, reply);
}

static bool import(struct brain *brain, unsigned slot, struct bytes id, struct reply *reply) {
    struct brain_node *mine = brain_primary_of(brain->self);
    if (brain_owner(brain, slot) == mine && mine != NULL) {
        reply_errorf(reply, "ERR I'm already the owner of hash slot %u", slot);
        return false;
    }
    return set_open(brain, &brain->importing, slot, id, reply);
}

static bool give(struct brain *brain, unsigned slot, struct bytes id, const struct brain_asks *asks,
                 struct reply *reply) {
    struct brain_node *mine = brain_primary_of(brain->self);
    struct brain_node *node = known(brain, id, reply, "Unknown node");
    if (node == NULL) {
        return false;
    }
    if (!brain_is_primary(node)) {
        reply_error(reply, "ERR Target node is not a master");
        return false;
    }
    struct brain_node *owner = brain_owner(brain, slot);
    if (owner == brain->self && node != brain->self && asks->slot_keys > 0) {
        reply_errorf(reply,
                     "ERR Can't assign hashslot %u to a different node while I still hold keys for "
                     "this hash slot.",
                     slot);
        return false;
    }
    bool was_mine = owner != NULL && owner == mine;
    if (asks->slot_keys == 0 || node != mine) {
        brain_open_set(&brain->migrating, slot, NULL);
    }
    bool imported = node == mine && brain_open_find(&brain->importing, slot) != NULL;
    brain_slot_give(brain, slot, node);
    if (imported) {
        brain_open_set(&brain->importing, slot, NULL);
        if (node == brain->self && brain_bump_epoch(brain)) {
            brain_note(brain, BRAIN_NOTICE, "slot %u is here: epoch %llu", slot,
                       (unsigned long long)brain->self->config_epoch);
        }
    }
    if (was_mine && node != mine && mine->slots_count == 0 &&
        brain->settings.allow_replica_migration) {
        brain_note(brain, BRAIN_NOTICE,
                   "Configuration change detected. Reconfiguring myself as a replica of node %s",
                   brain_title(node).text);
        brain_follow(brain, node);
    }
    brain_announce(brain);
    return true;
}

static void tell_replicas(struct brain *brain, const struct bytes *words, unsigned count) {
    struct bytes told[8] = {BYTES("CLUSTER")};
    check(count < 8);
    memcpy(told + 1, words, count * sizeof *words);
    brain->world.tell_replicas(brain->arg, told, count + 1);
}

static void tell_opens(struct brain *brain, const struct brain_opens *opens, struct bytes way) {
    for (uint16_t i = 0; i < opens->count; i++) {
        char slot[8];
        int digits = snprintf(slot, sizeof slot, "%u", opens->list[i].slot);
        const struct bytes words[] = {BYTES("SETSLOT"), bytes_make(slot, (size_t)digits), way,
                                      bytes_make(opens->list[i].node->id, ID)};
        tell_replicas(brain, words, 4);
    }
}

void brain_followed(struct brain *brain, const struct brain_now *now) {
    brain_begin(brain, now);
    tell_opens(brain, &brain->migrating, BYTES("MIGRATING"));
    tell_opens(brain, &brain->importing, BYTES("IMPORTING"));
    brain_settle(brain);
}

static void open_told(struct brain *brain, struct bytes told) {
    size_t digits = 0;
    int64_t slot;
    while (digits < told.len && told.ptr[digits] >= '0' && told.ptr[digits] <= '9') {
        digits++;
    }
    if (told.len != digits + 1 + ID || !num_parse_i64(bytes_make(told.ptr, digits), &slot) ||
        slot >= MAP_SLOTS) {
        return;
    }
    char way = told.ptr[digits];
    struct brain_node *node = brain_node_named(brain, bytes_make(told.ptr + digits + 1, ID));
    if (node != NULL && (way == '>' || way == '<')) {
        brain_open_set(way == '>' ? &brain->migrating : &brain->importing, (unsigned)slot, node);
    }
}

void brain_opens_told(struct brain *brain, struct bytes opens) {
    if (brain_is_primary(brain->self)) {
        return; /* it has taken over meanwhile */
    }
    brain->migrating.count = brain->importing.count = 0;
    while (opens.len > 0) {
        const char *end = memchr(opens.ptr, ',', opens.len);
        size_t len = end != NULL ? (size_t)(end - opens.ptr) : opens.len;
        open_told(brain, bytes_make(opens.ptr, len));
        len += end != NULL;
        opens = bytes_make(opens.ptr + len, opens.len - len);
    }
    brain_touch_file(brain);
}

static void set_slot(struct brain *brain, const struct bytes *words, unsigned count,
                     const struct brain_asks *asks, struct reply *reply) {
    int64_t slot, timeout_ms;
    unsigned rest = count;
    if (!brain_is_primary(brain->self) && !asks->from_primary) {
        reply_error(reply, "ERR Please use SETSLOT only with masters.");
        return;
    }
    if (brain_imports_any(brain) && !asks->from_primary) {
        reply_error(reply, "ERR Slot import in progress.");
        return;
    }
    if (brain_exports_any(brain) && !asks->from_primary) {
        reply_error(reply, "ERR Slot export in progress.");
        return;
    }
    if (!num_parse_i64(words[1], &slot) || slot < 0 || slot >= MAP_SLOTS) {
        reply_error(reply, "ERR Invalid or out of range slot");
        return;
    }
    if (count >= 4 && bytes_is(words[count - 1], "TIMEOUT")) {
        reply_error(reply, "ERR Missing timeout value");
        return;
    }
    if (count >= 5 && bytes_is(words[count - 2], "TIMEOUT")) {
        if (!num_parse_i64(words[count - 1], &timeout_ms)) {
            reply_error(reply, "ERR timeout is not an integer or out of range");
            return;
        }
        rest -= 2;
    }
    bool done;
    if (rest == 4 && bytes_is(words[2], "MIGRATING")) {
        done = migrate(brain, (unsigned)slot, words[3], reply);
    } else if (rest == 4 && bytes_is(words[2], "IMPORTING")) {
        done = import(brain, (unsigned)slot, words[3], reply);
    } else if (rest == 3 && bytes_is(words[2], "STABLE")) {
        brain_open_set(&brain->migrating, (unsigned)slot, NULL);
        brain_open_set(&brain->importing, (unsigned)slot, NULL);
        done = true;
    } else if (rest == 4 && bytes_is(words[2], "NODE")) {
        done = give(brain, (unsigned)slot, words[3], asks, reply);
    } else {
        reply_error(reply, "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER "
                           "HELP");
        return;
    }
    if (done) {
        brain_touch_file(brain);
        brain_update_state(brain);
        if (!asks->from_primary) {
            tell_replicas(brain, words, count);
        }
        reply_ok(reply);
    }
}

void brain_setslot(struct brain *brain, const struct bytes *words, unsigned count,
                   const struct brain_asks *asks, struct reply *reply) {
    struct outbuf unseen;
    struct reply quiet;
    if (!asks->from_primary) {
        set_slot(brain, words, count, asks, reply);
        return;
    }
    outbuf_init(&unseen);
    reply_init(&quiet, &unseen, 2);
    set_slot(brain, words, count, asks, &quiet);
    outbuf_fini(&unseen);
    reply_ok(reply);
}
