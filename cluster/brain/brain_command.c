/* SPDX-License-Identifier: BSD-3-Clause */
/* CLUSTER subcommands that change or show what the brain alone knows. SETSLOT has a file of its
 * own.
 *
 * A command is checked whole before any of it is done. Its errors are what tools look at: their
 * words are Valkey's.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <stdlib.h>

struct asked {
    const struct bytes *words;
    unsigned count;
    const struct brain_asks *asks;
    struct reply *reply;
};

static void unknown_node(struct reply *reply, struct bytes id) {
    reply_errorf(reply, "ERR Unknown node %.*s", bytes_precision(id), id.ptr);
}

/* ---- Slots ---- */

static bool read_slot(struct asked *asked, struct bytes word, unsigned *ret) {
    int64_t n;
    if (!num_parse_i64(word, &n) || n < 0 || n >= MAP_SLOTS) {
        reply_error(asked->reply, "ERR Invalid or out of range slot");
        return false;
    }
    *ret = (unsigned)n;
    return true;
}

/* A slot that shall be given to this node, or taken from whoever has it. */
static bool mark_slot(struct brain *brain, struct asked *asked, bool add, unsigned slot,
                      uint8_t *marked) {
    if (add == (brain_owner(brain, slot) != NULL)) {
        reply_errorf(asked->reply, "ERR Slot %u is already %s", slot, add ? "busy" : "unassigned");
        return false;
    }
    if (brain_bit(marked, slot)) {
        reply_errorf(asked->reply, "ERR Slot %u specified multiple times", slot);
        return false;
    }
    brain_set_bit(marked, slot);
    return true;
}

static void change_slots(struct brain *brain, struct asked *asked, bool add, bool ranges) {
    uint8_t marked[WIRE_SLOTS_BYTES] = {0};
    unsigned first, last;
    for (unsigned i = 1; i < asked->count; i += 1 + ranges) {
        if (!read_slot(asked, asked->words[i], &first)) {
            return;
        }
        last = first;
        if (ranges && !read_slot(asked, asked->words[i + 1], &last)) {
            return;
        }
        if (last < first) {
            reply_errorf(asked->reply,
                         "ERR start slot number %u is greater than end slot number %u", first,
                         last);
            return;
        }
        for (unsigned slot = first; slot <= last; slot++) {
            if (!mark_slot(brain, asked, add, slot, marked)) {
                return;
            }
        }
    }
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        if (brain_bit(marked, slot)) {
            if (add) {
                brain_open_set(&brain->importing, slot, NULL);
            }
            brain_slot_give(brain, slot, add ? brain->self : NULL);
        }
    }
    brain_update_state(brain);
    reply_ok(asked->reply);
}

static void add_slots(struct brain *brain, struct asked *asked) {
    change_slots(brain, asked, true, false);
}

static void add_ranges(struct brain *brain, struct asked *asked) {
    change_slots(brain, asked, true, true);
}

static void del_slots(struct brain *brain, struct asked *asked) {
    change_slots(brain, asked, false, false);
}

static void del_ranges(struct brain *brain, struct asked *asked) {
    change_slots(brain, asked, false, true);
}

static void flush_slots(struct brain *brain, struct asked *asked) {
    if (asked->asks->keys > 0) {
        reply_error(asked->reply, "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
        return;
    }
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        if (brain_owner(brain, slot) == brain->self) {
            brain_slot_give(brain, slot, NULL);
        }
    }
    brain_update_state(brain);
    reply_ok(asked->reply);
}

static void set_slot(struct brain *brain, struct asked *asked) {
    brain_setslot(brain, asked->words, asked->count, asked->asks, asked->reply);
}

/* ---- Epochs ---- */

static void set_config_epoch(struct brain *brain, struct asked *asked) {
    int64_t epoch;
    if (!num_parse_i64(asked->words[1], &epoch)) {
        reply_error(asked->reply, "ERR value is not an integer or out of range");
    } else if (epoch < 0) {
        reply_errorf(asked->reply, "ERR Invalid config epoch specified: %lld", (long long)epoch);
    } else if (brain->nodes_count > 1) {
        reply_error(asked->reply, "ERR The user can assign a config epoch only when the node does "
                                  "not know any other node.");
    } else if (brain->self->config_epoch != 0) {
        reply_error(asked->reply, "ERR Node config epoch is already non-zero");
    } else {
        brain->self->config_epoch = (uint64_t)epoch;
        if (brain->current_epoch < (uint64_t)epoch) {
            brain->current_epoch = (uint64_t)epoch;
        }
        brain_touch_file(brain);
        reply_ok(asked->reply);
    }
}

static void bump_epoch(struct brain *brain, struct asked *asked) {
    bool bumped = brain_bump_epoch(brain);
    char text[40] = "STILL ";
    memcpy(text, bumped ? "BUMPED " : "STILL ", bumped ? 7 : 6);
    size_t at = bumped ? 7 : 6;
    text[at + num_format_u64(text + at, brain->self->config_epoch)] = '\0';
    if (bumped) {
        brain_announce(brain);
    }
    reply_status(asked->reply, text);
}

static void save_config(struct brain *brain, struct asked *asked) {
    brain_touch_file(brain);
    reply_ok(asked->reply);
}

/* ---- Who is there ---- */

static bool read_port(struct bytes word, int64_t *ret) {
    return num_parse_i64(word, ret);
}

/* An address as it is compared and gossiped; false: it is no number. */
static bool read_ip(struct bytes word, char ret[WIRE_IP_BYTES + 1]) {
    char text[WIRE_IP_BYTES + 1];
    uint8_t raw[16];
    if (word.len == 0 || word.len > WIRE_IP_BYTES || memchr(word.ptr, '\0', word.len) != NULL) {
        return false;
    }
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    return inet_pton(family, text, raw) == 1 &&
           inet_ntop(family, raw, ret, WIRE_IP_BYTES + 1) != NULL;
}

static void meet(struct brain *brain, struct asked *asked) {
    const struct bytes *words = asked->words;
    int64_t port, bus_port;
    char ip[WIRE_IP_BYTES + 1];
    if (!read_port(words[2], &port)) {
        reply_errorf(asked->reply, "ERR Invalid base port specified: %.*s",
                     bytes_precision(words[2]), words[2].ptr);
        return;
    }
    if (port <= 0 || port > UINT16_MAX) {
        reply_error(asked->reply, "ERR Port number is out of range");
        return;
    }
    bus_port = port + 10000;
    if (asked->count == 4 && !read_port(words[3], &bus_port)) {
        reply_errorf(asked->reply, "ERR Invalid bus port specified: %.*s",
                     bytes_precision(words[3]), words[3].ptr);
        return;
    }
    if (bus_port <= 0 || bus_port > UINT16_MAX) {
        reply_error(asked->reply, "ERR Cluster bus port number is out of range");
        return;
    }
    if (!read_ip(words[1], ip)) {
        reply_errorf(asked->reply, "ERR Invalid node address specified: %.*s:%.*s",
                     bytes_precision(words[1]), words[1].ptr, bytes_precision(words[2]),
                     words[2].ptr);
        return;
    }
    bool tls = brain->settings.tls_cluster;
    brain_start_handshake(brain, ip, tls ? 0 : (uint16_t)port, tls ? (uint16_t)port : 0,
                          (uint16_t)bus_port, true);
    reply_ok(asked->reply);
}

static void forget(struct brain *brain, struct asked *asked) {
    struct bytes id = asked->words[1];
    struct brain_node *node = brain_node_named(brain, id);
    if (node == NULL) {
        if (id.len == ID && brain_is_forgotten(brain, id.ptr)) {
            reply_ok(asked->reply);
        } else {
            unknown_node(asked->reply, id);
        }
    } else if (node == brain->self) {
        reply_error(asked->reply, "ERR I tried hard but I can't forget myself...");
    } else if (!brain_is_primary(brain->self) && brain->self->primary == node) {
        reply_error(asked->reply, "ERR Can't forget my master!");
    } else {
        brain_forget(brain, node->id, brain->settings.blacklist_ttl_s * 1000);
        brain_node_remove(brain, node);
        brain_update_state(brain);
        brain_announce(brain); /* the others hear of it at once */
        reply_ok(asked->reply);
    }
}

static void leave_shard(struct brain *brain, struct asked *asked) {
    if (!brain_is_primary(brain->self)) {
        brain_end_manual(brain);
        brain->election = (struct brain_election){0};
        brain_become_primary(brain, brain->self);
        brain_draw_id(brain, brain->self->shard_id);
        brain->self->config_epoch = 0;
        brain_tell_role(brain);
        brain->world.flush(brain->arg);
        brain_announce(brain);
    }
    reply_ok(asked->reply);
}

static void replicate(struct brain *brain, struct asked *asked) {
    struct brain_node *self = brain->self;
    if (asked->count == 3) {
        if (bytes_is(asked->words[1], "NO") && bytes_is(asked->words[2], "ONE")) {
            leave_shard(brain, asked);
        } else {
            reply_error(asked->reply, "ERR unknown subcommand or wrong number of arguments for "
                                      "'REPLICATE'. Try CLUSTER HELP.");
        }
        return;
    }
    struct brain_node *node = brain_node_named(brain, asked->words[1]);
    if (node == NULL) {
        unknown_node(asked->reply, asked->words[1]);
    } else if (node == self) {
        reply_error(asked->reply, "ERR Can't replicate myself");
    } else if (!brain_is_primary(node)) {
        reply_error(asked->reply, "ERR I can only replicate a master, not a replica.");
    } else if (self->primary == node) {
        reply_ok(asked->reply);
    } else if (brain_is_primary(self) && (self->slots_count > 0 || asked->asks->keys > 0)) {
        reply_error(asked->reply, "ERR To set a master the node must be empty and without assigned "
                                  "slots.");
    } else {
        brain_follow(brain, node);
        brain_update_state(brain);
        reply_ok(asked->reply);
    }
}

static void reset(struct brain *brain, struct asked *asked) {
    bool hard = asked->count > 1 && bytes_is(asked->words[1], "HARD");
    struct brain_node *self = brain->self;
    if (asked->count > 1 && !hard && !bytes_is(asked->words[1], "SOFT")) {
        reply_error(asked->reply, "ERR syntax error");
        return;
    }
    if (brain_is_primary(self) && asked->asks->keys > 0) {
        reply_error(asked->reply, "ERR CLUSTER RESET can't be called with master nodes containing "
                                  "keys");
        return;
    }
    brain_end_manual(brain);
    brain->election = (struct brain_election){0};
    if (!brain_is_primary(self)) {
        brain_become_primary(brain, self);
        brain_tell_role(brain);
        brain->world.flush(brain->arg);
    }
    brain->migrating.count = brain->importing.count = 0;
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        brain_slot_give(brain, slot, NULL);
    }
    BRAIN_EACH(brain, node) {
        if (node != self) {
            brain_node_remove(brain, node);
        }
    }
    self->flags &= ~(uint32_t)MAP_MIGRATE_TO;
    brain_draw_id(brain, self->shard_id);
    brain->forgotten_count = 0;
    if (hard) {
        char id[ID + 1];
        brain->current_epoch = brain->vote_epoch = self->config_epoch = 0;
        brain_draw_id(brain, id);
        brain_note(brain, BRAIN_NOTICE, "CLUSTER RESET HARD: %.40s is %.40s now", self->id, id);
        brain_node_rename(brain, self, id);
    }
    brain_touch_file(brain);
    brain_update_state(brain);
    reply_ok(asked->reply);
}

/* ---- Failover by hand ---- */

static void failover(struct brain *brain, struct asked *asked) {
    struct brain_node *self = brain->self, *primary = self->primary;
    const char *who = asked->asks->from_primary ? "primary" : "user";
    bool force = false, takeover = false;
    for (unsigned i = 1; i < asked->count; i++) {
        if (bytes_is(asked->words[i], "FORCE")) {
            force = true;
        } else if (bytes_is(asked->words[i], "TAKEOVER")) {
            takeover = true;
        } else if (bytes_is(asked->words[i], "REPLICAID") && i + 1 < asked->count &&
                   asked->asks->from_primary) {
            if (!bytes_equal(asked->words[++i], bytes_make(self->id, ID))) {
                reply_ok(asked->reply); /* another one is meant */
                return;
            }
        } else {
            reply_error(asked->reply, "ERR syntax error");
            return;
        }
    }
    if (brain_is_primary(self)) {
        reply_error(asked->reply, "ERR You should send CLUSTER FAILOVER to a replica");
    } else if (primary == NULL) {
        reply_error(asked->reply, "ERR I'm a replica but my master is unknown to me");
    } else if (!force && !takeover &&
               ((primary->flags & MAP_FAIL) || primary->out == NULL || !primary->out->connected)) {
        reply_error(asked->reply,
                    "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE");
    } else if (takeover) {
        brain_note(brain, BRAIN_NOTICE, "Taking over the primary (%s request).", who);
        brain_end_manual(brain);
        brain_bump_epoch(brain);
        brain_take_over(brain);
        reply_ok(asked->reply);
    } else {
        brain_note(brain, BRAIN_NOTICE, "%s failover %s request accepted.",
                   force ? "Forced" : "Manual", who);
        brain_manual_ask(brain, force);
        reply_ok(asked->reply);
    }
}

/* ---- What it knows ---- */

static void put_text(struct reply *reply, struct text *text) {
    reply_verbatim(reply, "txt", text_bytes(text));
    text_fini(text);
}

static void nodes(struct brain *brain, struct asked *asked) {
    struct brain_runs runs;
    struct text text;
    text_init(&text);
    brain_runs_init(&runs, brain);
    BRAIN_EACH(brain, node) {
        brain_describe(brain, &runs, node, asked->asks, &text);
        text_append_char(&text, '\n');
    }
    brain_runs_fini(&runs);
    put_text(asked->reply, &text);
}

static void replicas(struct brain *brain, struct asked *asked) {
    const struct brain_node *primary = brain_node_named(brain, asked->words[1]);
    if (primary == NULL) {
        unknown_node(asked->reply, asked->words[1]);
        return;
    }
    if (!brain_is_primary(primary)) {
        reply_error(asked->reply, "ERR The specified node is not a master");
        return;
    }
    struct brain_runs runs;
    struct text text;
    text_init(&text);
    brain_runs_init(&runs, brain);
    reply_array(asked->reply, brain_count_replicas(brain, primary, false));
    BRAIN_EACH(brain, node) {
        if (node->primary == primary && (node->flags & MAP_REPLICA)) {
            text_clear(&text);
            brain_describe(brain, &runs, node, asked->asks, &text);
            reply_bulk(asked->reply, text_bytes(&text));
        }
    }
    brain_runs_fini(&runs);
    text_fini(&text);
}

static void count_failure_reports(struct brain *brain, struct asked *asked) {
    struct brain_node *node = brain_node_named(brain, asked->words[1]);
    if (node == NULL) {
        unknown_node(asked->reply, asked->words[1]);
    } else {
        reply_int(asked->reply, brain_reports(brain, node));
    }
}

static void links(struct brain *brain, struct asked *asked) {
    size_t count = 0;
    LIST_EACH(&brain->links, at) {
        count += LIST_ENTRY(at, struct brain_link, in_list)->node != NULL;
    }
    reply_array(asked->reply, count);
    LIST_EACH(&brain->links, at) {
        const struct brain_link *link = LIST_ENTRY(at, struct brain_link, in_list);
        if (link->node == NULL) {
            continue;
        }
        reply_map(asked->reply, 6);
        reply_bulk_text(asked->reply, "direction");
        reply_bulk_text(asked->reply, link->inbound ? "from" : "to");
        reply_bulk_text(asked->reply, "node");
        reply_bulk(asked->reply, bytes_make(link->node->id, ID));
        reply_bulk_text(asked->reply, "create-time");
        reply_int(asked->reply, link->made_wall);
        reply_bulk_text(asked->reply, "events");
        reply_bulk_text(asked->reply, link->queued > 0 || !link->connected ? "rw" : "r");
        reply_bulk_text(asked->reply, "send-buffer-allocated");
        reply_int(asked->reply, (int64_t)link->queued);
        reply_bulk_text(asked->reply, "send-buffer-used");
        reply_int(asked->reply, (int64_t)link->queued);
    }
}

static void put_counts(struct text *text, const struct brain_stats *stats, bool sent) {
    static const char *const names[WIRE_TYPES] = {"ping",    "pong",     "meet",        "fail",
                                                  "publish", "auth-req", "auth-ack",    "update",
                                                  "mfstart", "module",   "publishshard"};
    const uint64_t *counts = sent ? stats->sent : stats->received;
    uint64_t all = 0;
    for (unsigned i = 0; i < WIRE_TYPES; i++) {
        all += counts[i];
        if (counts[i] > 0) {
            text_appendf(text, "cluster_stats_messages_%s_%s:%llu\r\n", names[i],
                         sent ? "sent" : "received", (unsigned long long)counts[i]);
        }
    }
    text_appendf(text, "cluster_stats_messages_%s:%llu\r\n", sent ? "sent" : "received",
                 (unsigned long long)all);
}

void brain_reset_stats(struct brain *brain) {
    brain->stats = (struct brain_stats){0};
}

static void info(struct brain *brain, struct asked *asked) {
    unsigned slots[3] = {0}, nodes_bad[2] = {0}, voters_bad[2] = {0}, size = 0;
    BRAIN_EACH(brain, node) {
        bool failed = node->flags & MAP_FAIL, silent = node->flags & MAP_PFAIL;
        unsigned how = failed ? 2 : silent ? 1 : 0;
        slots[how] += node->slots_count;
        size += brain_is_voter(node);
        if (how > 0) {
            nodes_bad[how - 1]++;
            voters_bad[how - 1] += brain_is_voter(node);
        }
    }
    const struct brain_node *mine = brain_primary_of(brain->self);
    const struct brain_stats *stats = &brain->stats;
    struct text text;
    text_init(&text);
    text_appendf(&text, "cluster_state:%s\r\n", brain->state == MAP_STATE_OK ? "ok" : "fail");
    text_appendf(&text, "cluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n",
                 brain->assigned_count, slots[0]);
    text_appendf(&text, "cluster_slots_pfail:%u\r\ncluster_slots_fail:%u\r\n", slots[1], slots[2]);
    text_appendf(&text, "cluster_nodes_pfail:%u\r\ncluster_nodes_fail:%u\r\n", nodes_bad[0],
                 nodes_bad[1]);
    text_appendf(&text, "cluster_voting_nodes_pfail:%u\r\ncluster_voting_nodes_fail:%u\r\n",
                 voters_bad[0], voters_bad[1]);
    text_appendf(&text, "cluster_known_nodes:%u\r\ncluster_size:%u\r\n", brain->nodes_count, size);
    text_appendf(
        &text, "cluster_current_epoch:%llu\r\ncluster_my_epoch:%llu\r\n",
        (unsigned long long)brain->current_epoch,
        (unsigned long long)(mine != NULL ? mine->config_epoch : brain->self->config_epoch));
    put_counts(&text, stats, true);
    put_counts(&text, stats, false);
    const struct {
        const char *name;
        uint64_t value;
    } bytes[] = {
        {"cluster_stats_bytes_sent", stats->bytes_sent},
        {"cluster_stats_bytes_received", stats->bytes_received},
        {"cluster_stats_pubsub_bytes_sent", stats->pubsub_bytes_sent},
        {"cluster_stats_pubsub_bytes_received", stats->pubsub_bytes_received},
        {"cluster_stats_module_bytes_sent", stats->module_bytes_sent},
        {"cluster_stats_module_bytes_received", stats->module_bytes_received},
        {"total_cluster_links_buffer_limit_exceeded", stats->links_over_limit},
    };
    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        text_appendf(&text, "%s:%llu\r\n", bytes[i].name, (unsigned long long)bytes[i].value);
    }
    put_text(asked->reply, &text);
}

/* ---- Slots that move at once ---- */

static void sync_slots(struct brain *brain, struct asked *asked) {
    brain_syncslots(brain, asked->words, asked->count, asked->asks, asked->reply);
}

static void put_word(struct reply *reply, const char *name, const char *value) {
    reply_bulk(reply, bytes_of_text(name));
    reply_bulk(reply, bytes_of_text(value));
}

static void put_number(struct reply *reply, const char *name, uint64_t value) {
    reply_bulk(reply, bytes_of_text(name));
    reply_int(reply, (int64_t)value);
}

static void show_migration(const struct brain_migration_view *shown, struct reply *reply) {
    struct text ranges;
    brain_ranges_text(shown->slots, &ranges);
    reply_map(reply, shown->source != NULL ? 12 : 10);
    put_word(reply, "name", shown->name);
    put_word(reply, "operation", shown->operation);
    put_word(reply, "slot_ranges", ranges.ptr);
    if (shown->source != NULL) {
        put_word(reply, "target_node", shown->target);
        put_word(reply, "source_node", shown->source);
    }
    put_number(reply, "create_time", (uint64_t)shown->created_s);
    put_number(reply, "last_update_time", (uint64_t)shown->updated_s);
    put_number(reply, "last_ack_time", (uint64_t)shown->acked_s);
    put_word(reply, "state", shown->state);
    put_word(reply, "message", shown->message != NULL ? shown->message : "");
    put_number(reply, "cow_size", 0);
    put_number(reply, "remaining_repl_size", shown->left);
    text_fini(&ranges);
}

/* The next of both ways, the newest first; false: there is none. */
static bool next_migration(const struct brain *brain, unsigned *in, unsigned *out,
                           struct brain_migration_view *ret) {
    struct brain_migration_view from, to;
    bool comes = brain_import_view(brain, *in, &from), goes = brain_export_view(brain, *out, &to);
    if (!comes && !goes) {
        return false;
    }
    bool out_next = !comes || (goes && to.number > from.number);
    *ret = out_next ? to : from;
    *(out_next ? out : in) += 1;
    return true;
}

/* Of those that are over only the newest are shown, as of both ways together. */
static unsigned walk_migrations(const struct brain *brain, struct reply *reply) {
    struct brain_migration_view shown;
    int64_t left = brain->settings.migrations_kept;
    unsigned in = 0, out = 0, count = 0;
    while (next_migration(brain, &in, &out, &shown)) {
        if (left-- > 0 || !shown.over) {
            count++;
            if (reply != NULL) {
                show_migration(&shown, reply);
            }
        }
    }
    return count;
}

static void migrations(struct brain *brain, struct asked *asked) {
    reply_array(asked->reply, walk_migrations(brain, NULL));
    walk_migrations(brain, asked->reply);
}

static void cancel_migrations(struct brain *brain, struct asked *asked) {
    brain_cancel_exports(brain, asked->reply);
}

static void migrate_slots(struct brain *brain, struct asked *asked) {
    brain_migrateslots(brain, asked->words, asked->count, asked->reply);
}

/* Not CLUSTER's (brain_debug.c). */
static void debug(struct brain *brain, struct asked *asked) {
    brain_debug(brain, asked->words, asked->count, asked->reply);
}

/* ---- The table ---- */

static const struct {
    const char *name;
    void (*run)(struct brain *brain, struct asked *asked);
    unsigned least, most; /* words, the name too */
    bool pairs;           /* of words behind the name */
} rows[] = {
    {"ADDSLOTS", add_slots, 2, UINT32_MAX, false},
    {"ADDSLOTSRANGE", add_ranges, 3, UINT32_MAX, true},
    {"BUMPEPOCH", bump_epoch, 1, 1, false},
    {"CANCELSLOTMIGRATIONS", cancel_migrations, 1, 1, false},
    {"CLOSE-CLUSTER-LINK-ON-PACKET-DROP", debug, 2, 2, false},
    {"CLUSTERLINK", debug, 4, 4, false},
    {"COUNT-FAILURE-REPORTS", count_failure_reports, 2, 2, false},
    {"DELSLOTS", del_slots, 2, UINT32_MAX, false},
    {"DELSLOTSRANGE", del_ranges, 3, UINT32_MAX, true},
    {"DISABLE-CLUSTER-RANDOM-PING", debug, 2, 2, false},
    {"DISABLE-CLUSTER-RECONNECTION", debug, 2, 2, false},
    {"DROP-CLUSTER-PACKET-FILTER", debug, 2, 2, false},
    {"FAILOVER", failover, 1, 4, false},
    {"FLUSHSLOTS", flush_slots, 1, 1, false},
    {"FORGET", forget, 2, 2, false},
    {"GETSLOTMIGRATIONS", migrations, 1, 1, false},
    {"INFO", info, 1, 1, false},
    {"LINKS", links, 1, 1, false},
    {"MEET", meet, 3, 4, false},
    {"MIGRATESLOTS", migrate_slots, 3, UINT32_MAX, false},
    {"NODES", nodes, 1, 1, false},
    {"REPLICAS", replicas, 2, 2, false},
    {"REPLICATE", replicate, 2, 3, false},
    {"RESET", reset, 1, 2, false},
    {"SAVECONFIG", save_config, 1, 1, false},
    {"SET-CONFIG-EPOCH", set_config_epoch, 2, 2, false},
    {"SETSLOT", set_slot, 3, 6, false},
    {"SLAVES", replicas, 2, 2, false},
    {"SLOTMIGRATION", debug, 3, 3, false},
    {"SYNCSLOTS", sync_slots, 2, UINT32_MAX, false},
};
#define ROWS (sizeof rows / sizeof rows[0])

static unsigned find_row(struct bytes word) {
    unsigned i = 0;
    while (i < ROWS && !bytes_equal_nocase(word, bytes_of_text(rows[i].name))) {
        i++;
    }
    return i;
}

bool brain_answers(struct bytes word) {
    return find_row(word) < ROWS;
}

void brain_command(struct brain *brain, const struct bytes *words, unsigned count,
                   const struct brain_asks *asks, struct reply *reply,
                   const struct brain_now *now) {
    struct asked asked = {words, count, asks, reply};
    unsigned row = find_row(words[0]);
    check(row < ROWS);
    if (count < rows[row].least || count > rows[row].most || (rows[row].pairs && count % 2 == 0)) {
        char name[32] = {0};
        for (unsigned i = 0; rows[row].name[i] != '\0'; i++) {
            char c = rows[row].name[i];
            name[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        }
        reply_errorf(reply, "ERR wrong number of arguments for 'cluster|%s' command", name);
        return;
    }
    brain_begin(brain, now);
    rows[row].run(brain, &asked);
    brain_settle(brain);
}
