/* SPDX-License-Identifier: BSD-3-Clause */
/* brain: all that a node of a cluster decides: whom it knows, who has failed, who owns which slot,
 * whom it votes for, when it takes over.
 *
 * Pure: in go packets, ticks, what became of links, commands, and what is on the disk; out come, by
 * the functions of its world, packets, wishes for links, what shall be on the disk, changes of role
 * and of the map. It has no socket, no file, no clock and no state outside itself, so that
 * thousands live in one simulated process. It stands behind this header because another bus may
 * come.
 *
 * Invariants
 *   1 A vote, an epoch or a claim of slots leaves (as a packet, as a reply) only after the text
 * that has it is on the disk (brain_persisted). What waits for it is held here. 2 Failures are told
 * by monotonic time alone; wall time goes into packets and texts only. 3 A packet that is not whole
 * and well-formed changes nothing; a stranger's changes nothing but a handshake.
 *
 * Thread: one at a time. No function of the world is called outside a call of the brain's, and none
 * of them calls the brain.
 */
#ifndef SHOAL_CLUSTER_BRAIN_BRAIN_H
#define SHOAL_CLUSTER_BRAIN_BRAIN_H

#include "base/bytes.h"
#include "base/text.h"
#include "cluster/brain/map.h"
#include "proto/reply.h"

struct brain;
struct brain_link; /* one connection of the bus, of either direction; the brain's memory */

/* The settings that it follows; copied, and may be changed at any time. Texts may be NULL. */
struct brain_settings {
    int64_t node_timeout_ms;
    int64_t ping_interval_ms; /* 0: node_timeout_ms / 2 */
    int64_t manual_failover_timeout_ms;
    int64_t blacklist_ttl_s;
    int64_t validity_factor;
    int64_t migration_barrier;
    int64_t gossip_percent;
    int64_t repl_ping_period_s;
    uint64_t link_sendbuf_limit; /* 0: none */
    bool replica_no_failover, allow_replica_migration, require_full_coverage;
    /* What is announced. port and tls_port: where it listens (0: not), or what is announced
     * instead.
     */
    const char *announce_ip, *hostname, *human_name, *availability_zone, *client_ipv4, *client_ipv6;
    uint16_t port, tls_port, bus_port, client_port, client_tls_port;
    int64_t repl_timeout_s;
    int64_t failover_bytes;  /* slot-migration-max-failover-repl-bytes */
    int64_t migrations_kept; /* CLUSTER GETSLOTMIGRATIONS: of those that are over */
    bool tls_cluster;        /* the bus, and what peers are told first, is TLS */
};

/* What has broken imports of slots so far, counted: whose it was is not known. */
struct brain_breaks {
    uint64_t errors; /* commands that a source has sent and that were answered with one */
    uint64_t full;   /* of them: for want of memory */
    uint64_t flushes;
};

/* Who asks, of the connections of this node's clients. */
struct brain_asker {
    uint64_t client;
    unsigned worker; /* where it lives */
};

/* A way for slots to leave by. */
struct brain_export {
    const char *name; /* 40 letters, and its end */
    const char *ip;
    uint16_t port; /* within TLS, if the bus is */
    const uint8_t *slots;
    const struct bytes *words; /* what is said first */
    unsigned count;
};

enum brain_export_news {
    BRAIN_EXPORT_SENDS_AUTH, /* it is connected, and a password comes first */
    BRAIN_EXPORT_ASKED,      /* the words were sent */
    BRAIN_EXPORT_ACCEPTED,   /* and answered with OK; */
    BRAIN_EXPORT_REFUSED,    /* or with this error, */
    BRAIN_EXPORT_NO_AUTH,    /* or the password was */
    BRAIN_EXPORT_TOLD,       /* CLUSTER SYNCSLOTS text */
    BRAIN_EXPORT_WALKED,     /* all keys as they were have been sent */
    BRAIN_EXPORT_LITTLE,
    BRAIN_EXPORT_DRAINED,
    BRAIN_EXPORT_UNREACHED, /* there is no connection: this is why */
    BRAIN_EXPORT_LOST,      /* there was one */
};

/* What changes all the time and is not the brain's to know; given with each call that needs it. */
struct brain_now {
    int64_t mono_ms; /* > 0 */
    int64_t wall_ms;
    uint64_t offset;          /* of the replication stream: sent, or applied as a replica */
    int64_t primary_age_ms;   /* as a replica: since its primary was heard of last; -1: is heard */
    bool has_keys, is_loaded; /* is_loaded: nothing is read from the disk any more */
    struct brain_breaks breaks;
};

/* What the brain wants of the world. `arg` is its owner's. */
struct brain_world {
    /* A connection of its own to a node's bus port; `host` is an address or a name. One of
     * brain_link_connected and brain_link_lost follows. */
    void (*connect)(void *arg, struct brain_link *link, const char *host, uint16_t bus_port);
    /* A whole packet; copied before this returns. */
    void (*send)(void *arg, struct brain_link *link, const void *packet, size_t bytes);
    /* The link is gone for the brain: nothing about it may be told any more. */
    void (*close)(void *arg, struct brain_link *link);
    /* brain_file's text as of now shall be on the disk, synced; brain_persisted(version) follows. A
     * later version holds all earlier ones. */
    void (*persist)(void *arg, uint64_t version);
    /* brain_map gives another than before. */
    void (*changed)(void *arg);
    /* Replicate from there; ip NULL: be a primary (what has come is applied first). One of the
     * ports may be 0. `foreign`: it is of another shard, so what there is is not its data. */
    void (*follow)(void *arg, const char *ip, uint16_t port, uint16_t tls_port, bool foreign);
    /* These slots (bits as in map.h) are another's now: their keys go. */
    void (*drop_slots)(void *arg, const uint8_t slots[MAP_SLOTS / 8]);
    /* All writes of clients, expiry and eviction stand still until then (mono); 0: they go on. When
     * every shard does, brain_paused follows with the offset where they do. */
    void (*pause)(void *arg, int64_t until_mono_ms);
    /* CLUSTER RESET of a replica, or being given to another shard: all keys go. */
    void (*flush)(void *arg);
    /* To the source of slots that come here: CLUSTER SYNCSLOTS `word`; NULL: its connection ends,
     * and when nothing of it is on its way any more brain_import_gone follows. */
    void (*say_source)(void *arg, const struct brain_asker *source, const char *word);
    /* brain_import_held follows when all replicas that read the stream have what came from this
     * source so far. */
    void (*hold_import)(void *arg, const struct brain_asker *source);
    /* A command for this node's replicas, behind all that was written before. */
    void (*tell_replicas)(void *arg, const struct bytes *words, unsigned count);
    /* All keys of these slots go, those that ran out, too; then brain_import_dropped follows. */
    void (*drop_import)(void *arg, const char *name, const uint8_t slots[MAP_SLOTS / 8]);
    /* Slots that leave from here at once: a connection to a port for clients of who gets them, on
     * which these words are said first. Until export_close brain_export_news tells of it; nothing
     * is told of one that is closed. */
    void (*export_open)(void *arg, const struct brain_export *export);
    /* CLUSTER SYNCSLOTS `word`, behind all that was said or sent before. */
    void (*export_say)(void *arg, const char *name, const char *word);
    /* All keys of its slots are sent, and behind them what changes: BRAIN_EXPORT_WALKED follows. */
    void (*export_walk)(void *arg, const char *name);
    /* BRAIN_EXPORT_LITTLE follows when no more bytes than these wait to be sent; -1: at once. */
    void (*export_wait)(void *arg, const char *name, int64_t bytes);
    /* Every shard has a map that seals its slots, and all that was written before is sent:
     * BRAIN_EXPORT_DRAINED follows. Nothing that changes is sent behind that. */
    void (*export_drain)(void *arg, const char *name, const uint8_t slots[MAP_SLOTS / 8]);
    void (*export_close)(void *arg, const char *name);
    /* A message to subscribers here, from another node. */
    void (*publish)(void *arg, struct bytes channel, struct bytes message, bool sharded);
    void (*random)(void *arg, void *ret, size_t bytes);
    /* level as server/observe's: 0 debug .. 3 warning */
    void (*log)(void *arg, int level, const char *text);
};

/* From the text of a nodes.conf (empty: a new node with an id of its own). NULL with the reason in
 * err when the text is not one. */
struct brain *brain_new(const struct brain_settings *settings, const struct brain_world *world,
                        void *arg, struct bytes file, const struct brain_now *now,
                        struct text *err);
void brain_free(struct brain *brain); /* links are forgotten, not closed */
void brain_configure(struct brain *brain, const struct brain_settings *settings,
                     const struct brain_now *now);

/* Ten times a second. */
void brain_tick(struct brain *brain, const struct brain_now *now);

/* ---- Links ---- */

/* Somebody connected to the bus port. `wire` is the world's name of the connection
 * (brain_link_wire).
 */
struct brain_link *brain_link_accepted(struct brain *brain, void *wire, const char *peer_ip,
                                       const char *local_ip, const struct brain_now *now);
void brain_link_connected(struct brain *brain, struct brain_link *link, const char *peer_ip,
                          const char *local_ip, const struct brain_now *now);
/* It ended, or could not be made; the link is freed. */
void brain_link_lost(struct brain *brain, struct brain_link *link, const struct brain_now *now);
void brain_link_set_wire(struct brain_link *link, void *wire);
void *brain_link_wire(const struct brain_link *link);
/* How many bytes the packet that starts here has, by its first 16; 0: it is none, or more than one
 * from there may be: close the link. */
size_t brain_packet_bytes(const struct brain_link *link, const void *head);
/* A whole packet. The link may be closed in the course of it. */
void brain_packet(struct brain *brain, struct brain_link *link, const void *packet, size_t bytes,
                  const struct brain_now *now);
/* How many bytes wait in a link, for CLUSTER LINKS; over link_sendbuf_limit it is closed. */
void brain_link_queued(struct brain *brain, struct brain_link *link, size_t bytes,
                       const struct brain_now *now);

/* ---- Disk ---- */

/* The text of nodes.conf. */
void brain_file(const struct brain *brain, struct text *ret);
/* Version n, and all before, is on the disk. */
void brain_persisted(struct brain *brain, uint64_t version, const struct brain_now *now);
/* The newest version; what it answered is durable when brain_persisted was told of it. */
uint64_t brain_version(const struct brain *brain);

/* ---- Commands ---- */

/* What who asks has found out: */
struct brain_asks {
    uint64_t keys;      /* of this node */
    uint64_t slot_keys; /* of the slot that SETSLOT names, or those that SYNCSLOTS does; else 0 */
    const char *my_ip;  /* by which the client reached this node: for MEET; or NULL */
    bool is_tls;        /* the client's connection is: it is told TLS ports, */
    bool is_ipv6;       /* and that kind of address */
    bool from_primary;  /* it came in the stream of this replica's primary, not from a client */
    bool told;          /* SETSLOT: replicas have it already */
    struct brain_asker asker;
};

/* Whether the brain answers this subcommand (words[0] is it, without CLUSTER): ADDSLOTS,
 * ADDSLOTSRANGE, BUMPEPOCH, CANCELSLOTMIGRATIONS, COUNT-FAILURE-REPORTS, DELSLOTS, DELSLOTSRANGE,
 * FAILOVER, FLUSHSLOTS, FORGET, GETSLOTMIGRATIONS, INFO, LINKS, MEET, MIGRATESLOTS, NODES,
 * REPLICAS, REPLICATE, RESET, SAVECONFIG, SET-CONFIG-EPOCH, SETSLOT, SLAVES, SYNCSLOTS. The others
 * are answered by shards from the map. */
bool brain_answers(struct bytes word);
/* Runs it and writes the reply, which may leave when brain_version is on the disk and every shard
 * has the newest map. */
void brain_command(struct brain *brain, const struct bytes *words, unsigned count,
                   const struct brain_asks *asks, struct reply *reply, const struct brain_now *now);

/* Whether it is a SETSLOT that would be done, and of which replicas are to know first; for so long
 * they are waited for, 0: for ever. */
bool brain_setslot_waits(struct brain *brain, const struct bytes *words, unsigned count,
                         const struct brain_asks *asks, int64_t *ret_timeout_ms);

/* ---- What follows ---- */

/* A new map, the caller's. */
struct map *brain_map(const struct brain *brain);
/* Every shard has the map that brain_map gives now. */
void brain_map_taken(struct brain *brain, const struct brain_now *now);
/* One more replica reads the stream: all are told of the slots on their way, which its copy of the
 * keys does not say. */
void brain_followed(struct brain *brain, const struct brain_now *now);
/* The world has paused (brain_world.pause): nothing is written from this offset on. */
void brain_paused(struct brain *brain, uint64_t offset, const struct brain_now *now);
/* Slots that come here at once (SYNCSLOTS). The connection of a source has ended, and nothing of it
 * is on its way any more; `silent`: it was for repl-timeout. */
void brain_import_gone(struct brain *brain, uint64_t client, bool silent,
                       const struct brain_now *now);
/* brain_world.hold_import: done. */
void brain_import_held(struct brain *brain, uint64_t client, const struct brain_now *now);
/* brain_world.drop_import: done. */
void brain_import_dropped(struct brain *brain, const char *name, const struct brain_now *now);
/* Slots that leave from here. `left`: bytes that wait to be sent. */
void brain_export_tell(struct brain *brain, const char *name, enum brain_export_news news,
                       struct bytes text, const struct brain_now *now);
void brain_export_left(struct brain *brain, const char *name, uint64_t left);
/* All keys of this replica are new: what it knew of its primary's imports, and of slots on their
 * way, is not. `opens` is what the copy says of these, as Valkey does: "5>id,7<id,". */
void brain_synced(struct brain *brain, struct bytes opens, const struct brain_now *now);
/* What it counts begins anew. */
void brain_reset_stats(struct brain *brain);
/* A message of a client of this node, for subscribers of others. */
void brain_publish(struct brain *brain, struct bytes channel, struct bytes message, bool sharded,
                   const struct brain_now *now);

#endif
