/* SPDX-License-Identifier: BSD-3-Clause */
/* export_share: see the header. A key is a RESTORE, with its deadline; what changes is said as
 * replicas hear it. */
#include "server/cluster/export_share.h"

#include "base/check.h"
#include "base/must.h"
#include "persist/codec/rdb_write.h"
#include "persist/snapshot/walk.h"
#include "server/call/command_table.h"
#include "server/call/effects.h"
#include "server/config/config.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So long is walked in a turn, and between two looks at the clock about so much. */
#define WALK_NS    (100 * 1000)
#define WALK_BYTES ((size_t)16 << 10)
/* As much of a shard's keys may be on its way; what changes is not asked. */
#define AWAY_BYTES ((size_t)1 << 20)
#define NO_DB      UINT32_MAX

/* Commands, each in a database that was selected before. */
struct said {
    struct text text;
    uint32_t db;
};

struct share {
    struct list_node node; /* of worker->exports */
    char name[EXPORT_NAME_BYTES];
    uint8_t slots[MAP_SLOTS / 8];
    bool begun, walked, finished, told_walked;
    struct walk *walk;
    struct said keys;    /* to be sent */
    struct said changes; /* the same, behind all keys */
    struct text value;   /* of the key that is shown in pieces */
    size_t away;
    bool selects; /* there are several databases */
    /* rdb-key-save-delay, as it was when it began: each shard takes so many microseconds a key. */
    int64_t delay_us, began_ms, keys_shown;
};

static bool has_slot(const struct share *share, uint16_t slot) {
    return share->slots[slot / 8] >> slot % 8 & 1;
}

static struct share *share_named(struct worker *worker, const char *name) {
    LIST_EACH(&worker->exports, node) {
        struct share *share = LIST_ENTRY(node, struct share, node);
        if (strcmp(share->name, name) == 0) {
            return share;
        }
    }
    return NULL;
}

/* ---- Words ---- */

static void put_word(struct text *text, struct bytes word) {
    text_appendf(text, "$%zu\r\n", word.len);
    text_append_bytes(text, word);
    text_append(text, "\r\n", 2);
}

static void select_db(const struct share *share, struct said *said, uint32_t db) {
    if (share->selects && said->db != db) {
        char number[16];
        snprintf(number, sizeof number, "%u", db);
        text_append_text(&said->text, "*2\r\n$6\r\nSELECT\r\n");
        put_word(&said->text, bytes_of_text(number));
        said->db = db;
    }
}

/* ---- Keys ---- */

static void put_restore(struct share *share, const struct walk_item *item, struct bytes value) {
    struct text *text = &share->keys.text;
    char deadline[24];
    snprintf(deadline, sizeof deadline, "%lld",
             item->expires_at != NO_EXPIRY ? (long long)item->expires_at : 0);
    select_db(share, &share->keys, item->db);
    text_append_text(text, "*6\r\n$7\r\nRESTORE\r\n");
    put_word(text, item->name);
    put_word(text, bytes_of_text(deadline));
    text_appendf(text, "$%zu\r\n", value.len + 1 + RDB_FOOTER_BYTES);
    size_t start = text->len;
    rdb_put_byte(text, item->type);
    text_append_bytes(text, value);
    rdb_put_footer(text, start, item->version);
    text_append_text(text, "\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n");
}

static void show(void *arg, const struct walk_item *item) {
    struct share *share = arg;
    share->keys_shown += item->last;
    if (item->first && item->last) {
        put_restore(share, item, item->piece);
        return;
    }
    text_append_bytes(&share->value, item->piece);
    if (item->last) {
        put_restore(share, item, text_bytes(&share->value));
        text_fini(&share->value);
        text_init(&share->value);
    }
}

/* ---- What changes ---- */

/* Of all keys of a command: in a cluster they share it. -1: it has none. */
static int slot_of(const struct worker *worker, const struct bytes *argv, uint32_t argc) {
    const struct command_ref *ref = command_table_find(worker->server->commands, argv[0]);
    if (ref != NULL && ref->subcommands != NULL && argc > 1) {
        ref = command_ref_find_sub(ref, argv[1]);
    }
    struct key_ref key;
    if (ref ==
        NULL) { /* it goes by another name here: what is said by itself names its key first */
        return argc > 1 ? key_slot(argv[1]) : -1;
    }
    return command_keys(ref->row, argv, argc, &key, 1) > 0 ? key_slot(argv[key.index]) : -1;
}

static void put_change(struct share *share, uint32_t db, const struct bytes *argv, uint32_t argc) {
    struct text *text = &share->changes.text;
    select_db(share, &share->changes, db);
    text_appendf(text, "*%u\r\n", argc);
    for (uint32_t i = 0; i < argc; i++) {
        put_word(text, argv[i]);
    }
}

static void hear(struct worker *worker, uint32_t db, const struct bytes *argv, uint32_t argc) {
    int slot = slot_of(worker, argv, argc);
    if (slot < 0) {
        return;
    }
    struct worker *owner = worker->server->workers[node_owner(worker->node, (uint16_t)slot)];
    check_slow(owner == worker || owner->parked.is);
    LIST_EACH(&owner->exports, node) {
        struct share *share = LIST_ENTRY(node, struct share, node);
        if (share->begun && !share->finished && has_slot(share, (uint16_t)slot)) {
            put_change(share, db, argv, argc);
        }
    }
}

/* ---- To worker 0 ---- */

void export_block_free(struct export_block *block) {
    text_fini(&block->text);
    free(block);
}

static void send_block(struct worker *worker, struct share *share, enum export_said said,
                       struct said *taken) {
    struct export_block *block = must_calloc(1, sizeof *block);
    block->message = (struct message){.kind = MESSAGE_EXPORT_BLOCK, .home = POST_ONE_WAY};
    block->said = said;
    block->worker = worker->id;
    memcpy(block->name, share->name, sizeof block->name);
    text_init(&block->text);
    if (taken != NULL) {
        struct text empty = block->text;
        block->text = taken->text;
        taken->text = empty;
        taken->db = NO_DB;
        share->away += block->text.len;
    }
    if (worker->id == 0) {
        worker->server->handlers->messages[MESSAGE_EXPORT_BLOCK](worker, &block->message);
    } else {
        post_send(worker->server->office, worker->id, 0, &block->message);
    }
}

static void tell(struct worker *worker, struct share *share) {
    if (share->keys.text.len > 0) {
        send_block(worker, share, EXPORT_KEYS, &share->keys);
    }
    if (!share->walked) {
        return;
    }
    if (share->changes.text.len > 0) {
        send_block(worker, share, EXPORT_KEYS, &share->changes);
    }
    if (!share->told_walked) {
        share->told_walked = true;
        send_block(worker, share, EXPORT_IS_WALKED, NULL);
    }
    if (share->finished) {
        share->walked = false; /* that was all */
        send_block(worker, share, EXPORT_IS_OVER, NULL);
    }
}

void export_shares_tell(struct worker *worker) {
    LIST_EACH_SAFE(&worker->exports, node) {
        tell(worker, LIST_ENTRY(node, struct share, node));
    }
}

/* ---- Walks ---- */

static bool is_full(const struct share *share) {
    return share->away + share->keys.text.len >= AWAY_BYTES;
}

/* Worker's cron wakes it. */
static bool is_ahead(const struct worker *worker, const struct share *share) {
    return share->delay_us > 0 &&
           share->keys_shown * share->delay_us >= (rt_mono_ms(worker->rt) - share->began_ms) * 1000;
}

static bool is_busy(const struct worker *worker, const struct share *share) {
    return share->walk != NULL &&
           ((!is_full(share) && !is_ahead(worker, share)) || walk_is_hurried(share->walk));
}

static void end_walk(struct share *share) {
    if (share->walk != NULL) {
        walk_end(share->walk);
        share->walk = NULL;
    }
}

void export_shares_walk(struct worker *worker) {
    uint64_t until = rt_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, WALK_NS);
    LIST_EACH(&worker->exports, node) {
        struct share *share = LIST_ENTRY(node, struct share, node);
        bool more = true;
        while (is_busy(worker, share) && more && rt_ticks(worker->rt) < until) {
            if (is_full(share) || is_ahead(worker, share)) {
                more = walk_hurry_some(share->walk, WALK_BYTES);
            } else if (walk_some(share->walk, share->delay_us > 0 ? 1 : WALK_BYTES)) {
                end_walk(share);
                share->walked = true;
            }
        }
    }
}

bool export_shares_are_busy(const struct worker *worker) {
    LIST_EACH(&worker->exports, node) {
        if (is_busy(worker, LIST_ENTRY(node, const struct share, node))) {
            return true;
        }
    }
    return false;
}

size_t export_shares_memory(const struct worker *worker) {
    size_t bytes = 0;
    LIST_EACH(&worker->exports, node) {
        const struct share *share = LIST_ENTRY(node, const struct share, node);
        bytes += share->keys.text.cap + share->changes.text.cap + share->value.cap;
    }
    return bytes;
}

bool export_shares_need_slot(const struct worker *worker, uint16_t slot) {
    LIST_EACH(&worker->exports, node) {
        if (has_slot(LIST_ENTRY(node, const struct share, node), slot)) {
            return true;
        }
    }
    return false;
}

void export_share_finish(struct worker *worker, const char *name) {
    struct share *share = share_named(worker, name);
    if (share != NULL) {
        share->finished = true;
    }
}

/* ---- Orders ---- */

static void listen(struct worker *worker, const struct export_order *order) {
    struct share *share = must_calloc(1, sizeof *share);
    memcpy(share->name, order->name, sizeof share->name);
    memcpy(share->slots, order->slots, sizeof share->slots);
    text_init(&share->keys.text);
    text_init(&share->changes.text);
    text_init(&share->value);
    share->keys.db = share->changes.db = NO_DB;
    share->selects = config_databases(worker->config) > 1;
    list_push_back(&worker->exports, &share->node);
    effects_tell_all(worker, hear);
    send_block(worker, share, EXPORT_LISTENS, NULL);
}

static void begin(struct worker *worker, struct share *share) {
    struct slot_set slots = {0};
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (has_slot(share, (uint16_t)slot) &&
            node_owner(worker->node, (uint16_t)slot) == worker->id) {
            slots.words[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
    }
    const struct walk_options options = {
        .slots = &slots,
        .version = RDB_VERSION_SHARED,
        .show = show,
        .arg = share,
    };
    share->begun = true;
    share->delay_us = worker->config->rdb_key_save_delay;
    share->began_ms = rt_mono_ms(worker->rt);
    share->walk = walk_begin(&worker->walks, &options);
}

static void share_free(struct worker *worker, struct share *share) {
    end_walk(share);
    list_remove(&share->node);
    text_fini(&share->keys.text);
    text_fini(&share->changes.text);
    text_fini(&share->value);
    free(share);
    if (list_empty(&worker->exports)) {
        effects_tell_all(worker, NULL);
    }
}

void export_order_arrived(struct worker *worker, struct message *message) {
    struct export_order *order = (struct export_order *)message;
    struct share *share = share_named(worker, order->name);
    if (order->step == EXPORT_LISTEN) {
        listen(worker, order);
    } else if (share == NULL) { /* forgotten */
    } else if (order->step == EXPORT_BEGIN) {
        begin(worker, share);
    } else if (order->step == EXPORT_TAKEN) {
        share->away -= order->bytes;
    } else {
        share_free(worker, share);
    }
    free(order);
}

void export_shares_free(struct worker *worker) {
    struct list_node *node;
    while ((node = list_first(&worker->exports)) != NULL) {
        share_free(worker, LIST_ENTRY(node, struct share, node));
    }
}
