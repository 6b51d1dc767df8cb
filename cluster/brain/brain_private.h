/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of a brain: what its files share.
 *
 * State, and what follows from a change of it: whoever changes something says so by a mark
 * (brain_touch_file, brain_touch_map, brain_announce), and the end of the call into the brain
 * (brain_settle) draws the consequences: one wish to persist, one new map, one round of packets.
 *
 * What packets say of this node is not what it is, but `shown`: what it was when the newest text
 * that is on the disk was made. So no packet of any kind can carry an epoch, a claim or a role that
 * a crash would take back, and pings go on while a disk is slow.
 *
 * Thread: one at a time. Times are of the monotonic clock in milliseconds; 0 is never.
 */
#ifndef SHOAL_CLUSTER_BRAIN_BRAIN_PRIVATE_H
#define SHOAL_CLUSTER_BRAIN_BRAIN_PRIVATE_H

#include "base/links.h"
#include "base/list.h"
#include "cluster/brain/brain.h"
#include "cluster/bus/wire.h"

#define ID 40

enum brain_log_level { BRAIN_DEBUG, BRAIN_VERBOSE, BRAIN_NOTICE, BRAIN_WARNING };

struct brain_node;

struct brain_report { /* `from` says that the node which has it fails */
    struct brain_node *from;
    int64_t at;
};

struct brain_node {
    struct link by_id;
    uint16_t index; /* in brain->nodes; never another while the node lives */
    uint16_t slots_count;
    char id[ID + 1], shard_id[ID + 1];
    char ip[WIRE_IP_BYTES + 1]; /* "": not known */
    uint16_t port, tls_port, bus_port, client_port, client_tls_port;
    uint16_t last_bus_port; /* while bus_port is not known */
    uint32_t flags;         /* enum map_flag */
    uint64_t config_epoch;
    uint64_t offset;
    char *hostname, *human_name, *zone, *client_ipv4, *client_ipv6; /* NULL: none */
    struct brain_node *primary;                                     /* of a replica; or NULL */
    struct brain_link *out, *in;
    struct brain_report *reports;
    uint32_t reports_count;
    int64_t answered; /* a PING, by itself: pong may be what others have seen */
    int64_t born, ping_sent, pong, heard, failed, orphaned, tried, by_name, lost_in, met;
    unsigned heartbeats; /* that came on its own link; no more than matter are counted */
    uint64_t voted;      /* the epoch of its last vote for this node */
};

struct brain_link {
    struct list_node in_list;
    void *wire;
    struct brain_node *node;
    int64_t made;
    int64_t made_wall;
    size_t queued;
    char peer_ip[WIRE_IP_BYTES + 1], local_ip[WIRE_IP_BYTES + 1];
    char named[ID]; /* what the last packet with a full header called its sender */
    bool says_more; /* there was one before that */
    bool inbound, connected, knows_extensions;
    bool by_name;     /* of ours: it went to the node's name, which need not lead to it */
    bool takes_light; /* of ours: the other end knows whose it is, by a full packet on it */
};

struct brain_open { /* a slot on its way */
    uint16_t slot;
    struct brain_node *node;
};

struct brain_opens {
    struct brain_open *list; /* sorted by slot */
    uint16_t count;
};

struct brain_forgotten {
    char id[ID];
    int64_t until;
};

/* What packets say. */
struct brain_shown {
    uint64_t version; /* of the text that has it */
    uint64_t current_epoch, config_epoch;
    char id[ID + 1], shard_id[ID + 1], primary[ID + 1]; /* primary "": none */
    bool is_replica;
    uint8_t slots[WIRE_SLOTS_BYTES];
};

enum brain_held_kind { HELD_VOTE, HELD_REQUEST, HELD_ANNOUNCE };

struct brain_held { /* leaves when `shown` is of this version or a later one */
    enum brain_held_kind kind;
    uint64_t version, epoch;
    char id[ID]; /* of a vote: whose */
};

struct brain_election {
    int64_t at;     /* when to ask for votes; 0: there is none */
    uint64_t epoch; /* of the request */
    unsigned votes, rank, failed_rank;
    bool asked, forced; /* forced: voters need not have seen the primary fail */
    bool over;          /* it was in vain */
};

struct brain_manual {
    int64_t until; /* 0: there is none */
    /* As the primary: */
    struct brain_node *replica;
    bool paused; /* `paused_offset` is where */
    uint64_t paused_offset;
    /* As the replica: */
    bool has_offset, can_start;
    uint64_t offset;
};

struct brain_stats {
    uint64_t sent[WIRE_TYPES], received[WIRE_TYPES];
    uint64_t bytes_sent, bytes_received, pubsub_bytes_sent, pubsub_bytes_received;
    uint64_t module_bytes_sent, module_bytes_received;
    uint64_t links_over_limit;
};

/* Faults that a simulation must find; only builds with tests have them. */
enum brain_plant { PLANT_EARLY_VOTE = 1, PLANT_SMALL_EPOCH = 2, PLANT_NO_RANK = 4 };
#ifdef SHOAL_FAULTS
#define BRAIN_PLANTED(brain, plant) (((brain)->plants & (plant)) != 0)
#else
#define BRAIN_PLANTED(brain, plant) false
#endif

/* What tests have switched (brain_debug.c). */
struct brain_debug {
    int64_t dropped; /* this type, if `drops`; */
    bool drops, drop_closes;
    bool no_sample; /* the ping to somebody once a second */
    bool no_links;  /* links that are lost are not made again */
    bool no_pause;  /* of atomic migrations: a source asks for no pause, */
    bool no_claim;  /* a target does not claim what it is granted */
};

struct brain {
    unsigned plants;                /* enum brain_plant */
    struct brain_settings settings; /* its texts are the brain's */
    struct brain_world world;
    void *arg;
    struct brain_now now;
    int64_t started;

    struct brain_node **nodes; /* by index; NULL: free */
    unsigned nodes_cap, nodes_count;
    unsigned handshakes_count;
    struct links by_id;
    struct brain_node *self;
    uint16_t owner[MAP_SLOTS];           /* index, or MAP_NONE */
    uint8_t abandoned[WIRE_SLOTS_BYTES]; /* the owner does not claim it any more */
    unsigned assigned_count;
    struct brain_opens migrating, importing;
    struct brain_forgotten *forgotten;
    unsigned forgotten_count;
    struct list links;
    struct list imports;       /* brain_import.c; the newest first, and so of */
    struct list exports;       /* brain_export.c */
    uint64_t migrations_count; /* that began */
    bool is_swept;             /* brain_sweep was through */
    bool own_ip_shown;         /* somebody has reached this node since it began */

    uint64_t current_epoch, vote_epoch; /* vote_epoch: the last in which a vote was given */
    enum map_state state;
    enum map_why why;
    int64_t minority; /* when it was seen last */
    struct brain_election election;
    struct brain_manual manual;
    int64_t migration_tried;

    uint64_t version, persisted, map_version;
    struct brain_shown shown, next; /* next: of a version that is not on the disk yet */
    bool has_next, file_touched, map_touched;
    struct brain_held *held;
    unsigned held_count;

    struct text packet; /* where they are written */
    struct brain_stats stats;
    struct brain_debug debug;
    uint64_t ticks;
    /* What the world was told last to follow; "": to be a primary. */
    bool foreign; /* the primary that this node has begun to follow was of another shard */
    char told_ip[WIRE_IP_BYTES + 1];
    uint16_t told_port, told_tls_port;
    int64_t pinged_voters;
};

static inline bool brain_is_primary(const struct brain_node *node) {
    return node->flags & MAP_PRIMARY;
}

static inline bool brain_is_voter(const struct brain_node *node) {
    return (node->flags & MAP_PRIMARY) && node->slots_count > 0;
}

/* Whose slots a node has a share in: itself, or its primary; NULL. */
static inline struct brain_node *brain_primary_of(struct brain_node *node) {
    return node->flags & MAP_PRIMARY ? node : node->primary;
}

static inline bool brain_bit(const uint8_t *bits, unsigned slot) {
    return bits[slot / 8] >> (slot % 8) & 1;
}

static inline void brain_set_bit(uint8_t *bits, unsigned slot) {
    bits[slot / 8] |= (uint8_t)(1 << slot % 8);
}

static inline void brain_clear_bit(uint8_t *bits, unsigned slot) {
    bits[slot / 8] &= (uint8_t) ~(1 << slot % 8);
}

static inline struct brain_node *brain_owner(const struct brain *brain, unsigned slot) {
    return brain->owner[slot] == MAP_NONE ? NULL : brain->nodes[brain->owner[slot]];
}

/* Every node of a brain; `node` may be removed in its turn. */
#define BRAIN_EACH(brain, node)                                                                    \
    for (unsigned node##_i = 0; node##_i < (brain)->nodes_cap; node##_i++)                         \
        for (struct brain_node *node = (brain)->nodes[node##_i]; node != NULL; node = NULL)

/* The text of nodes.conf, or what shards see, is another. */
static inline void brain_touch_file(struct brain *brain) {
    brain->file_touched = brain->map_touched = true;
}

static inline void brain_touch_map(struct brain *brain) {
    brain->map_touched = true;
}

static inline bool brain_is_id(const char *id) {
    for (unsigned i = 0; i < ID; i++) {
        if (!((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

/* ---- brain_node.c: the table of nodes ---- */

/* id NULL: one is drawn. Its shard id is drawn, too. */
struct brain_node *brain_node_add(struct brain *brain, const char *id, uint32_t flags);
/* With all that points at it; its links are closed. */
void brain_node_remove(struct brain *brain, struct brain_node *node);
void brain_node_free(struct brain_node *node);
struct brain_node *brain_node_find(const struct brain *brain, const char *id);
/* As a command names it; NULL: it is none, or not known by that name yet. */
struct brain_node *brain_node_named(const struct brain *brain, struct bytes id);
void brain_node_rename(struct brain *brain, struct brain_node *node, const char *id);
/* Whether a line of nodes.conf can hold it, for Valkey to read as well. */
bool brain_text_fits(struct bytes text);
/* NULL and "" are the same, and so is what does not fit. True: it is another than before. */
bool brain_node_set_text(char **text, struct bytes value);
void brain_draw_id(struct brain *brain, char id[ID + 1]);
/* node NULL: nobody's. */
void brain_slot_give(struct brain *brain, unsigned slot, struct brain_node *node);
void brain_slots_of(const struct brain *brain, const struct brain_node *node,
                    uint8_t bits[WIRE_SLOTS_BYTES]);
unsigned brain_count_replicas(const struct brain *brain, const struct brain_node *primary,
                              bool working);
void brain_open_set(struct brain_opens *opens, unsigned slot,
                    struct brain_node *node); /* NULL: no */
struct brain_node *brain_open_find(const struct brain_opens *opens, unsigned slot);
/* Slots on their way to or from `from` are so for `to`, who has taken its place in their shard. */
void brain_opens_follow(struct brain *brain, const struct brain_node *from, struct brain_node *to);
void brain_link_close(struct brain *brain, struct brain_link *link);
void brain_link_free(struct brain *brain, struct brain_link *link);
bool brain_is_forgotten(const struct brain *brain, const char *id);
void brain_forget(struct brain *brain, const char *id, int64_t ttl_ms);
void brain_remember(struct brain *brain, const char *id);
/* The largest epoch that is known. */
uint64_t brain_epoch_max(const struct brain *brain);
unsigned brain_voters(const struct brain *brain);
void brain_note(const struct brain *brain, enum brain_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- brain_file.c ---- */

/* Runs of slots of one owner, by owner: made once for a list of many nodes. */
struct brain_runs {
    struct brain_run {
        uint16_t first, last, next; /* next: of the same owner, or MAP_NONE */
    } * list;
    uint16_t *heads; /* by index of the owner */
};
void brain_runs_init(struct brain_runs *runs, const struct brain *brain);
void brain_runs_fini(struct brain_runs *runs);
/* One node as CLUSTER NODES shows it to that client, or (`to` is NULL) as nodes.conf has it;
 * without a line's end. */
void brain_describe(const struct brain *brain, const struct brain_runs *runs,
                    const struct brain_node *node, const struct brain_asks *to, struct text *ret);
/* False: with the reason in err. */
bool brain_load(struct brain *brain, struct bytes file, struct text *err);

/* ---- brain_send.c ---- */

void brain_send_ping(struct brain *brain, struct brain_link *link, enum wire_type type);
void brain_send_pongs(struct brain *brain, bool shard_only);
/* To all primaries with slots that are not waited for. */
void brain_send_fail(struct brain *brain, const struct brain_node *failed);
void brain_send_update(struct brain *brain, struct brain_link *link, const struct brain_node *of);
void brain_send_bare(struct brain *brain, struct brain_link *link, enum wire_type type,
                     uint8_t mflags);
void brain_send_ping_voters(struct brain *brain);
/* What packets would say of this node as it is. */
void brain_show(const struct brain *brain, struct brain_shown *ret);
/* A PONG to everybody when what is true now may be said. */
void brain_announce(struct brain *brain);
void brain_hold(struct brain *brain, enum brain_held_kind kind, const char *id, uint64_t epoch);
void brain_begin(struct brain *brain, const struct brain_now *now);
void brain_settle(struct brain *brain);

/* ---- brain_slots.c: roles and claims ---- */

void brain_become_primary(struct brain *brain, struct brain_node *node);
void brain_set_primary(struct brain *brain, struct brain_node *node, struct brain_node *primary);
bool brain_same_shard(const struct brain_node *a, const struct brain_node *b);
/* Whether these are exactly the slots that it has. */
bool brain_has_slots(const struct brain *brain, const struct brain_node *node,
                     const uint8_t *slots);
/* The world follows whom this node follows. */
void brain_tell_role(struct brain *brain);
/* This node replicates that primary. */
void brain_follow(struct brain *brain, struct brain_node *primary);
/* `sender` claims these slots with this epoch. */
void brain_take_claim(struct brain *brain, struct brain_node *sender, uint64_t epoch,
                      const uint8_t *slots);
/* An epoch of its own without asking anybody; false: it has the largest already. */
bool brain_bump_epoch(struct brain *brain);
void brain_update_state(struct brain *brain);
void brain_end_manual(struct brain *brain);

/* ---- brain_fail.c ---- */

void brain_report_add(struct brain *brain, struct brain_node *node, struct brain_node *from);
void brain_report_remove(struct brain_node *node, const struct brain_node *from);
unsigned brain_reports(struct brain *brain, struct brain_node *node);
void brain_fail_if_agreed(struct brain *brain, struct brain_node *node);
void brain_fail_ends(struct brain *brain, struct brain_node *node);
void brain_mark_failed(struct brain *brain, struct brain_node *node);

/* ---- brain_gossip.c ---- */

void brain_gossip(struct brain *brain, struct brain_node *sender, const struct wire_packet *packet);
void brain_extensions(struct brain *brain, struct brain_node *sender,
                      const struct wire_packet *packet);
/* NULL when it is under way already, or there are too many. */
struct brain_node *brain_start_handshake(struct brain *brain, const char *ip, uint16_t port,
                                         uint16_t tls_port, uint16_t bus_port, bool meet);

/* ---- brain_election.c ---- */

void brain_vote(struct brain *brain, struct brain_node *asks, const struct wire_packet *packet);
void brain_take_over(struct brain *brain);
void brain_elect(struct brain *brain); /* as a replica, with each tick */
void brain_vote_came(struct brain *brain, struct brain_node *from,
                     const struct wire_packet *packet);
void brain_manual_starts(struct brain *brain, struct brain_node *replica); /* MFSTART */
void brain_manual_tick(struct brain *brain);
/* CLUSTER FAILOVER of this replica. */
void brain_manual_ask(struct brain *brain, bool force);

/* ---- brain_ranges.c: of slots that move at once ---- */

struct brain_range {
    uint16_t first, last;
};
struct brain_ranges {
    struct brain_range *list;
    unsigned count;
};
void brain_ranges_text(const struct brain_ranges *ranges, struct text *ret);
bool brain_ranges_have(const struct brain_ranges *ranges, unsigned slot);
/* Sets the bits of those that are in it. */
void brain_ranges_bits(const struct brain_ranges *ranges, uint8_t bits[WIRE_SLOTS_BYTES]);

/* A command that names some, word by word. What reads it answers what is wrong. */
struct brain_request {
    struct brain *brain;
    const struct bytes *words;
    unsigned count, at;
    bool from_primary;
    struct reply *reply;
    struct brain_node *source, *owner; /* owner: of all ranges so far */
    const char *name;
    struct brain_ranges slots;
};
bool brain_refuse(struct brain_request *request, const char *error); /* false */
/* The role, and that no slot is open. */
bool brain_may_migrate(const struct brain *brain, struct reply *reply);
/* Pairs, as far as there are numbers; request->slots is the caller's, even if there is an error. */
bool brain_read_ranges(struct brain_request *request);

/* What CLUSTER GETSLOTMIGRATIONS shows of one. */
struct brain_migration_view {
    const char *name, *operation, *state;
    const char *source, *target; /* source NULL: both are its primary's to know */
    const char *message;         /* NULL: none */
    const struct brain_ranges *slots;
    int64_t created_s, updated_s, acked_s;
    uint64_t left;   /* bytes that are still to be sent */
    uint64_t number; /* they began in this order */
    bool over;
};

/* ---- brain_export.c ---- */

void brain_migrateslots(struct brain *brain, const struct bytes *words, unsigned count,
                        struct reply *reply);
void brain_cancel_exports(struct brain *brain, struct reply *reply);
/* The newest is the first; false: there are not so many. */
bool brain_export_view(const struct brain *brain, unsigned at, struct brain_migration_view *ret);
/* Some slot is leaving. */
bool brain_exports_any(const struct brain *brain);
/* Sets the bits of slots that writes wait for, and of those that refuse them; true: there are some.
 */
bool brain_held_slots(const struct brain *brain, uint8_t held[WIRE_SLOTS_BYTES],
                      uint8_t sealed[WIRE_SLOTS_BYTES]);
void brain_exports_tick(struct brain *brain);
/* Owners of slots may be others. */
void brain_exports_look(struct brain *brain);
/* `shown` is another: what was granted by then is said. */
void brain_exports_shown(struct brain *brain);
/* Grants, as variables of nodes.conf; one of them is read, false: it is none; all is read. */
void brain_exports_file(const struct brain *brain, struct text *ret);
bool brain_exports_load(struct brain *brain, struct bytes text);
void brain_exports_loaded(struct brain *brain);
void brain_exports_free(struct brain *brain);

/* ---- brain_import.c ---- */

void brain_syncslots(struct brain *brain, const struct bytes *words, unsigned count,
                     const struct brain_asks *asks, struct reply *reply);
bool brain_import_view(const struct brain *brain, unsigned at, struct brain_migration_view *ret);
bool brain_imports_any(const struct brain *brain);
/* Sets the bits of slots that come here; true: there are some. */
bool brain_hidden_slots(const struct brain *brain, uint8_t ret[WIRE_SLOTS_BYTES]);
void brain_imports_tick(struct brain *brain);
void brain_imports_free(struct brain *brain);
/* With each tick; once, when all is loaded: a primary keeps keys of its own slots and of those that
 * SETSLOT has opened here; others are left of what came before the restart. Not when a replica
 * takes over: it need not know which slots its primary had opened. */
void brain_sweep(struct brain *brain);

/* A node in lines of the log, as in Valkey's: "ID (its name)", the name its address if it has none.
 * Lives to the end of the expression. */
struct brain_title {
    char text[ID + WIRE_IP_BYTES + 300];
};
struct brain_title brain_title(const struct brain_node *node);

/* ---- brain_debug.c ---- */

/* DEBUG, with its words. */
void brain_debug(struct brain *brain, const struct bytes *words, unsigned count,
                 struct reply *reply);
/* The packet has not come; the link may be gone with it. */
bool brain_debug_drops(struct brain *brain, struct brain_link *link, unsigned type);

/* ---- brain_setslot.c ---- */

/* brain_synced */
void brain_opens_told(struct brain *brain, struct bytes opens);
void brain_setslot(struct brain *brain, const struct bytes *words, unsigned count,
                   const struct brain_asks *asks, struct reply *reply);

#endif
