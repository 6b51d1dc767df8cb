/* SPDX-License-Identifier: BSD-3-Clause */
/* user_private: what a user is, for the two sources that make one: user.c has its connection and
 * its time, user_ops.c what it asks and what must come back.
 *
 * Thread: the world's.
 */
#ifndef SHOAL_TEST_SIM_USER_PRIVATE_H
#define SHOAL_TEST_SIM_USER_PRIVATE_H

#include "test/checker/checker.h"
#include "test/sim/line.h"
#include "test/sim/user.h"
#include "test/sim/wire.h"

#define PENDING_MAX  2048
#define FLOOD_MAX    1500
#define COUNTERS     6 /* of a type each: user_ops.c */
#define LISTS        5
#define GROUPS       3
#define GROUP_MAX    6
#define CAS_KEYS     3
#define MORTALS_KEPT 64
#define TRAIL_KEYS   4
#define TRAIL_MAX    16 /* that are sent together */
#define TOKEN_BYTES  9  /* of what is appended to a list */
#define QUEUES       9  /* user_queues.c */
#define STREAMS      2
#define TAKEN_KEPT   32
#define FOLLOWED_MAX 4096 /* entries of a stream */
#define CHANNELS     3
#define TOPICS       (CHANNELS + 2) /* user_topics.c */
#define TOLD_LAST    64
#define USERS_MAX    16 /* bits of struct told */
#define SHARED_MAX   8

enum kind {
    KIND_SET,
    KIND_GET,
    KIND_DELETE,
    KIND_INCREMENT,
    KIND_APPEND,
    KIND_LIST,
    KIND_SHARED_SET,
    KIND_SHARED_GET,
    KIND_ECHO,
    KIND_SELECT,
    KIND_COUNT_ALL,
    KIND_WAIT,
    KIND_NAME,
    KIND_HELLO,
    KIND_COUNTER,
    KIND_TRAIL,
    /* Keys on several shards. */
    KIND_MSET,
    KIND_MGET,
    KIND_RENAME,
    KIND_COPY,
    KIND_GROUP_SET,
    KIND_GROUP_GET,
    KIND_GROUP_DELETE,
    KIND_GROUP_EXISTS,
    KIND_GROUP_NEW,
    KIND_GROUP_COPY,
    KIND_GROUP_LCS,
    /* Transactions. */
    KIND_PAIR_ADD,
    KIND_PAIR_READ,
    KIND_CAS,
    KIND_CAS_READ,
    KIND_CAS_WRITE,
    KIND_CAS_CHECK,
    KIND_LISTS,
    KIND_GROUP_MULTI,
    KIND_QUEUED,
    KIND_EXEC_ADD,
    KIND_EXEC_READ,
    KIND_EXEC_CAS,
    KIND_EXEC_GROUP,
    KIND_WHOLE,
    KIND_EXEC_WHOLE,
    KIND_EXEC_LISTS,
    /* Several commands in a view, while workers are parked. */
    KIND_VIEW_ADD,
    KIND_VIEW_READ,
    /* Keys that run out together. */
    KIND_MORTAL_SET,
    KIND_MORTAL_GET,
    KIND_MORTAL_LOOK,
    KIND_MORTAL_MULTI,
    KIND_EXEC_MORTAL,
    /* Pauses, and what must not change while one stands. */
    KIND_STAND,
    KIND_STAND_MULTI,
    KIND_EXEC_STAND,
    KIND_STAND_READ,
    /* Elements that are taken by whom they find, or who waits for them. */
    KIND_ID,
    KIND_QUEUE_PUSH,
    KIND_QUEUE_TAKE,
    KIND_QUEUE_WAIT,
    KIND_QUEUE_MOVE,
    KIND_QUEUE_MULTI,
    KIND_EXEC_QUEUE,
    KIND_QUEUE_READ,
    KIND_STREAM_ADD,
    KIND_STREAM_GROUP,
    KIND_STREAM_TAKE,
    KIND_STREAM_ACK,
    KIND_STREAM_CLAIM,
    KIND_STREAM_FOLLOW,
    KIND_STREAM_READ,
    KIND_STREAM_PENDING,
    /* Messages. */
    KIND_SUBSCRIBE,
    KIND_UNSUBSCRIBE,
    KIND_PUBLISH,
    /* Sets, what was seen, and a map. */
    KIND_BAG_ADD,
    KIND_BAG_POP,
    KIND_BAG_MOVE,
    KIND_BAG_COMMON,
    KIND_BAG_READ,
    KIND_SEEN_ADD,
    KIND_SEEN_MERGE,
    KIND_SEEN_COUNT,
    KIND_MAP_ADD,
    KIND_MAP_STORE,
    KIND_MAP_READ,
    /* Scripts. */
    KIND_LIBRARY,
    KIND_SCRIPT_COUNT,
    KIND_SCRIPT_ADD,
    KIND_SCRIPT_READ,
    KIND_SCRIPT_GROUP,
    KIND_SCRIPT_LISTS,
    KIND_SCRIPT_CAS,
    KIND_SCRIPT_SHARED,
    KIND_SCRIPT_PUBLISH,
    KIND_SCRIPT_MULTI,
    KIND_EXEC_SCRIPT,
    /* What they keep of what they have read. */
    KIND_TRACK,
    /* Those who disturb. */
    KIND_MOVE,
    KIND_FLUSH,
    KIND_SWAP,
    KIND_PAUSE,
    KIND_CONFIG,
    KIND_KILL,
    KIND_UNBLOCK,
    KINDS,
};

struct request {
    enum kind kind;
    unsigned key, other;
    uint64_t value;
    uint64_t at_ns;  /* when it was issued */
    uint64_t before; /* what was read, for a write that depends on it */
    uint64_t floor;  /* what was known then: acknowledged increments, length of a list */
    /* Of those that may wait for an element. */
    unsigned queues;       /* bits of the queues, or streams, it waits for */
    uint64_t timeout_ns;   /* 0: it does not wait */
    uint64_t stood_ns;     /* it stood in line then, or 0 */
    uint64_t overtaken_ns; /* by then one who came later had got something of these, or 0 */
    /* Of scripts. */
    enum kind inner;      /* what one in MULTI does */
    uint64_t floor_other; /* as floor, of the second key */
    bool dirty;           /* it may have written before it needs more */
};

/* A key that one user alone writes. Values are numbers; what is stored is made from them. 0: none.
 */
struct own_key {
    uint64_t value; /* of the last write that was answered */
    uint64_t *ghosts;
    unsigned ghosts_count;
};

struct counter {
    uint64_t asked, answered;
};

struct appended {
    struct text longest; /* the most that anybody has seen of it */
    uint64_t answered;   /* its length, as far as any reply told */
};

/* A value of a group of keys that run out together. */
struct mortal {
    uint64_t value;
    uint64_t known_ns; /* it was there then, or 0 */
    uint64_t gone_ns;  /* and then it was not any more, or 0 */
};

/* An element of a queue or entry of a stream, by its number. */
struct element {
    uint64_t began_ns, added_ns; /* somebody asked for it; and was told that it is there, or 0 */
    uint64_t taken_ns;           /* somebody was told that it is his, or 0 */
    uint64_t id;                 /* of an entry, as far as it is known */
    uint64_t acked_ns;           /* XACK was answered */
    uint8_t queue;               /* where it was put, or QUEUES + the stream */
    bool ack_asked, left, pending;
};

/* A member of one of the sets, by its number. */
struct member {
    uint64_t began_ns, added_ns; /* somebody asked for it; and was told that it is new, or 0 */
    uint64_t taken_ns;           /* somebody was told that he has popped it, or 0 */
    uint64_t missed_ns;          /* by then a read of all sets had not found it, or 0 */
    uint64_t read;               /* the last one that has */
    bool refused;                /* nobody may see it */
};

/* What somebody got, or, with element 0, that he got nothing. */
struct taken {
    uint64_t element, at_ns, answered_ns;
};

struct queue {
    struct taken taken[TAKEN_KEPT]; /* the latest */
    unsigned taken_next;
};

struct stream_seen {
    uint64_t order[FOLLOWED_MAX]; /* its entries, as all have seen them */
    size_t known;
    uint64_t added;      /* were acknowledged */
    uint64_t delivered;  /* the greatest id that the group has had */
    uint64_t grouped_ns; /* the group was there then, or 0 */
    bool made;           /* somebody was told that he has made it */
};

/* A message that was published, by its number. */
struct told {
    uint64_t process, prior; /* who has sent it, and before it to the same channel */
    uint64_t began_ns, answered_ns;
    unsigned channel, count, deliveries;
    uint16_t had[TOPICS]; /* bits of the users who have got it, by topic */
};

struct told_last {
    uint64_t process, number;
};

struct subscription {
    bool on;
    unsigned asked; /* that are not answered */
    uint64_t asked_ns, on_ns, off_ns;
    struct told_last last[CHANNELS][TOLD_LAST]; /* of each connection that has published */
    /* Of counters: events, changes that were answered before it was asked for, and asked for before
     * it was answered. */
    uint64_t events[COUNTERS], answered[COUNTERS], asked_before[COUNTERS];
    bool leaving;           /* it was asked to end */
    uint64_t due[COUNTERS]; /* changes whose events were to be there by then */
};

/* What a client keeps of a key, as long as it is not told otherwise. */
struct cached {
    bool held;
    uint64_t read_ns; /* when it was told */
    uint64_t due_ns;  /* somebody was answered a later write then; or 0 */
};

struct user {
    struct users *users;
    unsigned index;
    struct line *line;
    uint64_t step_ns; /* when it is stepped next; UINT64_MAX: when something happens */
    uint64_t think_until_ns;
    unsigned sent; /* requests of its share */
    bool struck;   /* half closed: nothing more will be written */
    bool slow, floods;
    bool reading_last, sweeping, done;
    enum { CAS_NOT, CAS_READING, CAS_READ } cas;
    unsigned cas_key;
    uint64_t cas_count, cas_token;     /* as read: how often it was changed, and by which write */
    uint64_t process;                  /* of the history: its connection */
    uint64_t trail;                    /* the number that it has written to its trail last */
    struct key trail_keys[TRAIL_KEYS]; /* of this connection */
    char trail_names[TRAIL_KEYS][32];
    uint64_t stand_until_ns; /* nothing changes until then: it has paused all writes */
    uint64_t stand_number;   /* of its last pause */
    uint64_t stand_since_ns; /* that was answered then, or 0 */
    bool stand_reads;        /* a look is away */
    struct text stood;       /* what the first look showed; empty: there was none */
    unsigned last_next;      /* of the last reads */
    struct text out, in;
    size_t out_sent;
    struct request pending[PENDING_MAX];
    unsigned pending_head, pending_count;
    struct own_key *own;
    uint64_t client_id; /* of its connection, or 0 */
    unsigned waits;     /* requests under way that may wait for an element */
    uint64_t got[16];   /* entries that it got last, for XACK */
    unsigned got_next;
    size_t followed[STREAMS]; /* entries that it has read one after the other */
    bool resp3;               /* as it was told */
    struct subscription subs[TOPICS];
    uint64_t published[CHANNELS]; /* the last of this connection */
    bool moves_lost;              /* a RENAME or COPY may still move what is written now */
    uint64_t scripts_known[2];    /* versions that this connection has sent whole, of each text */
    bool library_sent;            /* on this connection */
    bool track_asked, tracks, noloop; /* and as it was told */
    struct cached cache[SHARED_MAX];
};

struct users {
    struct world *world;
    struct sim *sim;
    struct users_options options;
    struct rng rng;
    struct user *items;
    struct counter counters[COUNTERS];
    struct counter pair;          /* transactions that add one to both of two keys */
    struct counter cas[CAS_KEYS]; /* that change the key they watched */
    struct appended lists[LISTS];
    struct mortal mortals[GROUPS][MORTALS_KEPT]; /* by value, the latest of each place */
    struct history history;
    uint64_t processes;
    uint64_t values;   /* numbers handed out: no value is written twice */
    uint64_t *refused; /* a bit for each value of which a write was refused: nobody may see it */
    uint64_t refused_words;
    struct queue queues[QUEUES + STREAMS];
    struct stream_seen streams[STREAMS];
    struct element *elements; /* by number */
    uint64_t elements_size;
    uint64_t takes_lost; /* elements that those may have who went before they were told */
    bool unblocks_early; /* CLIENT UNBLOCK was sent */
    struct told *told;   /* by number */
    uint64_t told_size, told_last;
    unsigned subs_lost; /* subscriptions of those who went */
    uint64_t answered_before[2][COUNTERS], answered_since_ns;
    struct member *members; /* by number */
    uint64_t members_size, members_last;
    uint64_t bag_reads;
    uint64_t bags_left;     /* of the last read: members that should be there, and are not */
    uint64_t bag_pops_lost; /* members that those may have who went before they were told */
    struct counter seen;
    uint64_t seen_most;      /* the most that anybody was told */
    uint64_t script_version; /* of the texts of scripts: each is another script */
    bool library_known;      /* somebody was told that the functions are there */
    bool dirty_away;         /* one of those that may be dirty, of those at most one */
    struct users_counts counts;
    bool finishing;
    bool refuted; /* the history of all is none that a server may give */
    bool flushed; /* somebody has asked for FLUSHALL: anything may be gone */
    struct arena arena;
};

struct op_row {
    const char *name;
    unsigned weight;
    void (*send)(struct user *user, struct request *request);
    void (*reply)(struct user *user, const struct request *request, const struct wire_value *value);
    /* Adds it to the history; or NULL. */
    void (*record)(struct user *user, const struct request *request,
                   const struct wire_value *value);
};

extern const struct op_row user_ops[KINDS];

static inline struct request *pending_at(struct user *user, unsigned i) {
    return &user->pending[(user->pending_head + i) % PENDING_MAX];
}

/* Sends one, with all that belongs to it; its reply is expected from now on. */
void user_issue(struct user *user, enum kind kind, unsigned key);
/* By the weights of this run. */
enum kind user_any_kind(struct users *users);
/* A connection has begun: the keys that it writes one after the other, numbers 1, 2, 3 and so on,
 * all round. */
void user_begin_trail(struct user *user);
/* A write whose reply never came: the key may have this value from now on. */
void own_ghost(struct own_key *own, uint64_t value);
/* A shard has refused it: it had no effect. False if the reply says something else. */
bool user_refused(struct user *user, const struct request *request, const struct wire_value *value);
bool value_is_refused(const struct users *users, uint64_t value);
/* It is over: `value` is not what it must be. */
void user_wants(const struct user *user, const struct request *request,
                const struct wire_value *value, bool ok, const char *why);

/* ---- Queues and streams (user_queues.c) ---- */

void queue_send(struct user *user, struct request *request);
void queue_reply(struct user *user, const struct request *request, const struct wire_value *value);
void stream_send(struct user *user, struct request *request);
void stream_reply(struct user *user, const struct request *request, const struct wire_value *value);
/* Its reply will never come. */
void queue_lost(struct user *user, const struct request *request);
/* After a turn of a worker: who stands in a line now. */
void queues_look(struct users *users);
/* Everything that is left was read, and nobody else is there: fails if something is missing. */
void queues_account(struct users *users);

/* ---- Messages (user_topics.c) ---- */

void topic_send(struct user *user, struct request *request);
/* One message, as a command. */
void topic_publish(struct user *user, struct request *request);
void topic_reply(struct user *user, const struct request *request, const struct wire_value *value);
/* False: it is no message, but a reply. */
bool topic_message(struct user *user, const struct wire_value *value);
/* Its connection is gone. */
void topics_lost(struct user *user);
/* It is done, and goes: fails if something that it should have got is missing. */
void topics_leave(struct user *user);
void topics_look(struct users *users);
void topics_account(struct users *users);

/* ---- Sets, what was seen, and a map (user_bags.c) ---- */

void bag_send(struct user *user, struct request *request);
void bag_reply(struct user *user, const struct request *request, const struct wire_value *value);
/* Its reply will never come. */
void bag_lost(struct user *user, const struct request *request);
/* As queues_account. */
void bags_account(struct users *users);

/* ---- Scripts (user_scripts.c) ---- */

void script_send(struct user *user, struct request *request);
void script_reply(struct user *user, const struct request *request, const struct wire_value *value);
void script_record(struct user *user, const struct request *request,
                   const struct wire_value *value);
/* The commands that a script of this kind calls, as requests; their values are drawn. */
void user_write_steps(struct user *user, struct request *request);

/* ---- Whole databases (user_whole.c) ---- */

void whole_send(struct user *user, struct request *request);
void whole_reply(struct user *user, const struct request *request, const struct wire_value *value);

/* ---- Client-side caches (user_caches.c) ---- */

void cache_send(struct user *user, struct request *request);
void cache_reply(struct user *user, const struct request *request, const struct wire_value *value);
/* False: it is no invalidation. */
bool cache_message(struct user *user, const struct wire_value *value);
/* It was told what a shared key is; a write of one, by whomever, was answered. */
void cache_read(struct user *user, unsigned key);
void cache_written(struct user *user, const struct request *request, unsigned key);
/* Any reply: fails if it keeps what it should have been told of. */
void cache_look(const struct user *user, const struct request *request);
/* Its connection is gone. */
void cache_lost(struct user *user);

/* ---- Of user_ops.c ---- */

/* Nobody may see this value: its write was refused. */
void user_refuse_value(struct users *users, uint64_t value);

/* An operation of the history, and a key there; the steps come after it. */
void user_record(struct user *user, const struct request *request, const char *label,
                 enum op_outcome outcome);
uint32_t user_key_named(struct users *users, const char *format, unsigned a, unsigned b);
/* "5:77" is what the 77th value has made the fifth. */
uint64_t user_token_of(const struct wire_value *value);
/* The number in a reply of any kind; 0 for none. */
uint64_t user_number_of(const struct wire_value *value);

/* The number that a text begins with, 0 for none. */
uint64_t value_number(struct bytes text);
bool value_is_ok(const struct wire_value *value);

#endif
