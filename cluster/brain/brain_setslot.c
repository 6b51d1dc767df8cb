/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER SETSLOT: a slot is opened at both ends of its way, closed, or given.
 *
 *   slot MIGRATING id | IMPORTING id | STABLE | NODE id   [TIMEOUT ms]
 *
 * Replicas are sent the same words, behind what was written before, so that who takes over knows
 * which slots are open; and before it is done here, as what this node does then others hear of: a
 * slot that was given to it, and has come, would be the old owner's again if a replica took over
 * that does not know. They come there with `from_primary`, and what cannot be done then (a node is
 * not known yet) is no error. Who imports a slot and is given it takes
 * an epoch that nobody has, without asking: its claim beats the old owner's at once.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/num.h"
#include "base/outbuf.h"

#include <stdio.h>

#define TIMEOUT_MS 2000

enum way { TO_MIGRATE, TO_IMPORT, TO_CLOSE, TO_GIVE };

struct order {
    enum way way;
    unsigned slot;
    struct brain_node *node; /* but to close */
    int64_t timeout_ms;
};

/* ---- What is refused ---- */

static bool find_node(struct brain *brain, struct order *order, struct bytes id,
                      struct reply *reply) {
    order->node = brain_node_named(brain, id);
    if (order->node == NULL) {
        reply_errorf(reply, "ERR %s %.*s",
                     order->way == TO_GIVE ? "Unknown node" : "I don't know about node",
                     bytes_precision(id), id.ptr);
        return false;
    }
    if (order->way != TO_GIVE && order->node == brain_primary_of(brain->self)) {
        reply_error(reply, "ERR Target node is myself");
        return false;
    }
    if (!brain_is_primary(order->node)) {
        reply_error(reply, "ERR Target node is not a master");
        return false;
    }
    return true;
}

static bool may_open(const struct brain *brain, const struct order *order, struct reply *reply) {
    struct brain_node *mine = brain_primary_of(brain->self);
    bool is_mine = mine != NULL && brain_owner(brain, order->slot) == mine;
    if (order->way == TO_MIGRATE && !is_mine) {
        reply_errorf(reply, "ERR I'm not the owner of hash slot %u", order->slot);
        return false;
    }
    if (order->way == TO_IMPORT && is_mine) {
        reply_errorf(reply, "ERR I'm already the owner of hash slot %u", order->slot);
        return false;
    }
    return true;
}

static bool may_give(const struct brain *brain, const struct order *order,
                     const struct brain_asks *asks, struct reply *reply) {
    if (brain_owner(brain, order->slot) == brain->self && order->node != brain->self &&
        asks->slot_keys > 0) {
        reply_errorf(reply,
                     "ERR Can't assign hashslot %u to a different node while I still hold keys for "
                     "this hash slot.",
                     order->slot);
        return false;
    }
    return true;
}

static const char *not_now(const struct brain *brain) {
    return !brain_is_primary(brain->self) ? "ERR Please use SETSLOT only with masters."
           : brain_imports_any(brain)     ? "ERR Slot import in progress."
           : brain_exports_any(brain)     ? "ERR Slot export in progress."
                                          : NULL;
}

static bool read_timeout(const struct bytes *words, unsigned *count, struct order *order,
                         struct reply *reply) {
    const char *why = NULL;
    order->timeout_ms = TIMEOUT_MS;
    if (*count >= 4 && bytes_is(words[*count - 1], "TIMEOUT")) {
        why = "ERR Missing timeout value";
    } else if (*count >= 5 && bytes_is(words[*count - 2], "TIMEOUT")) {
        why = !num_parse_i64(words[*count - 1], &order->timeout_ms)
                  ? "ERR timeout is not an integer or out of range"
              : order->timeout_ms < 0 ? "ERR timeout is negative"
                                      : NULL;
        *count -= 2;
    }
    if (why != NULL) {
        reply_error(reply, why);
    }
    return why == NULL;
}

static bool read_order(struct brain *brain, const struct bytes *words, unsigned count,
                       const struct brain_asks *asks, struct order *order, struct reply *reply) {
    int64_t slot;
    const char *why = asks->from_primary ? NULL : not_now(brain);
    if (why != NULL) {
        reply_error(reply, why);
        return false;
    }
    if (!num_parse_i64(words[1], &slot) || slot < 0 || slot >= MAP_SLOTS) {
        reply_error(reply, "ERR Invalid or out of range slot");
        return false;
    }
    if (!read_timeout(words, &count, order, reply)) {
        return false;
    }
    order->slot = (unsigned)slot;
    if (count == 3 && bytes_is(words[2], "STABLE")) {
        order->way = TO_CLOSE;
        return true;
    }
    if (count == 4 && bytes_is(words[2], "NODE")) {
        order->way = TO_GIVE;
        return find_node(brain, order, words[3], reply) && may_give(brain, order, asks, reply);
    }
    if (count == 4 && (bytes_is(words[2], "MIGRATING") || bytes_is(words[2], "IMPORTING"))) {
        order->way = bytes_is(words[2], "MIGRATING") ? TO_MIGRATE : TO_IMPORT;
        return may_open(brain, order, reply) && find_node(brain, order, words[3], reply);
    }
    reply_error(reply, "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER "
                       "HELP");
    return false;
}

/* ---- What is done ---- */

static void give(struct brain *brain, unsigned slot, struct brain_node *node,
                 const struct brain_asks *asks) {
    struct brain_node *mine = brain_primary_of(brain->self);
    struct brain_node *owner = brain_owner(brain, slot);
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
}

static void carry_out(struct brain *brain, const struct order *order,
                      const struct brain_asks *asks) {
    switch (order->way) {
    case TO_MIGRATE:
        brain_open_set(&brain->migrating, order->slot, order->node);
        break;
    case TO_IMPORT:
        brain_open_set(&brain->importing, order->slot, order->node);
        break;
    case TO_CLOSE:
        brain_open_set(&brain->migrating, order->slot, NULL);
        brain_open_set(&brain->importing, order->slot, NULL);
        break;
    case TO_GIVE:
        give(brain, order->slot, order->node, asks);
        break;
    }
    brain_touch_file(brain);
    brain_update_state(brain);
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

bool brain_setslot_waits(struct brain *brain, const struct bytes *words, unsigned count,
                         const struct brain_asks *asks, int64_t *ret_timeout_ms) {
    struct outbuf unseen;
    struct reply quiet;
    struct order order;
    outbuf_init(&unseen);
    reply_init(&quiet, &unseen, 2);
    bool good = count >= 3 && bytes_is(words[0], "SETSLOT") && !asks->from_primary &&
                read_order(brain, words, count, asks, &order, &quiet);
    outbuf_fini(&unseen);
    *ret_timeout_ms = good ? order.timeout_ms : 0;
    return good;
}

static void set_slot(struct brain *brain, const struct bytes *words, unsigned count,
                     const struct brain_asks *asks, struct reply *reply) {
    struct order order;
    if (!read_order(brain, words, count, asks, &order, reply)) {
        return;
    }
    carry_out(brain, &order, asks);
    if (!asks->from_primary && !asks->told) {
        tell_replicas(brain, words, count);
    }
    reply_ok(reply);
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
