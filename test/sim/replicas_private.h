/* SPDX-License-Identifier: BSD-3-Clause */
/* replicas_private: what replicas.c and replicas_user.c share: a run of it, and its users.
 *
 * Thread: the world's.
 */
#ifndef SHOAL_TEST_SIM_REPLICAS_PRIVATE_H
#define SHOAL_TEST_SIM_REPLICAS_PRIVATE_H

#include "test/sim/chronicle.h"
#include "test/sim/world.h"

#define MS           UINT64_C(1000000)
#define SECOND       (1000 * MS)
#define SERVERS_MAX  4
#define USERS_MAX    6
#define ITEMS_MAX    6
#define SETTINGS_MAX 16

enum replicas_reached {
    CAME_WAITED,
    CAME_WAITED_IN_VAIN,
    CAME_READ_THERE,
    CAME_READ_PROMISED,
    CAME_CUTS,
    CAME_BROKEN_LINKS,
    CAME_KILLED_REPLICAS,
    CAME_STOPPED_REPLICAS,
    CAME_SAVED,
    CAME_MOVED,
    CAME_KILLED_PRIMARIES,
    CAME_STOPPED_PRIMARIES,
    CAME_PROMOTED,
    CAME_HANDED_OVER,
    CAME_NOT_HANDED_OVER,
    CAME_FULL,
    CAME_PARTIAL,
    CAME_AFTER_START,
    CAME_PROMISED_AT_TAKEOVER,
    CAME_LOST,
    CAME_KNOWN_AT_END,
    CAME_REPLICAS_COUNT,
};

enum item_kind { ITEM_WRITE, ITEM_NOISE, ITEM_READ, ITEM_WAIT, ITEM_OTHER };

/* What was asked, and is answered by so many replies. */
struct item {
    enum item_kind kind;
    uint64_t number;
    unsigned replies;
    uint64_t asked_ns;
    uint64_t must_ns; /* of a read: what all have, as it was asked */
    unsigned listed;  /* of a WAIT: replicas that INFO has shown before it; */
    bool enough;      /* it has said that all have it */
};

struct replicas_run;

struct user {
    struct replicas_run *run;
    unsigned index, server;
    unsigned epoch; /* in which it was connected */
    bool reads;     /* from replicas */
    struct sim_peer *peer;
    struct text in, out;
    size_t out_sent;
    struct item items[ITEMS_MAX];
    unsigned count;
    uint64_t rest_until_ns;
};

struct member {
    bool joined;              /* it has, or had in this epoch, the stream of the primary at hand */
    bool level;               /* since then it was as far as the primary */
    uint64_t has_ns;          /* it has all that was known then */
    unsigned follows;         /* whom */
    bool starts;              /* it has not joined since it was started */
    uint64_t fulls, partials; /* as they were counted last */
};

struct replicas_run {
    struct rng rng;
    struct world *world;
    struct sim *sim;
    struct arena arena;
    struct chronicle *chronicle;
    struct bytes settings[2 * SETTINGS_MAX];
    char texts[SETTINGS_MAX][32];
    size_t settings_count;
    bool log;
    bool acks; /* of two servers: replicas-ack, so the other has all that anybody knows of */
    struct sim_disk_options disk;
    struct sim_faults faults;
    unsigned servers, primary, epoch;
    struct member nodes[SERVERS_MAX];
    struct user users[USERS_MAX];
    unsigned users_count;
    bool working;     /* users ask for something new */
    bool halted;      /* they have no connections: it is not settled yet what is true */
    uint64_t rest_ns; /* of writers, at most */
    uint64_t looked_ns, answered;
    uint64_t reached[CAME_REPLICAS_COUNT];
    struct text why;
};

static inline uint64_t draw(struct replicas_run *run, uint64_t first, uint64_t last) {
    return first + rng_below(&run->rng, last - first + 1);
}

static inline bool one_in(struct replicas_run *run, unsigned n) {
    return rng_below(&run->rng, n) == 0;
}

/* What is wrong is in run->why. */
void replicas_wrong(struct replicas_run *run) __attribute__((noreturn));
/* It runs, and has loaded what it had. */
bool replicas_is_up(const struct replicas_run *run, unsigned server);

/* What was known by then it must have: WAIT has said so, or replicas-ack sees to it. */
uint64_t replicas_must(const struct replicas_run *run, unsigned server);

void user_init(struct user *user, struct replicas_run *run, unsigned index);
/* It reads what has come, and asks for more. */
void user_goes_on(struct user *user);
/* What has come is put behind `in`. False: the connection is over. */
bool peer_receive(struct sim_peer *peer, struct text *in);

#endif
