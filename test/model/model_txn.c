/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol of operations on several shards, with the real locks (shard/locks.c) and everything
 * around them reduced to what may happen in which order.
 *
 * A world has shards with keys, and clients that run operations one after the other. Each draw of a
 * number and each delivery of a message is a step of its own, and messages of one client to one
 * shard arrive in order; nothing else is promised. A small world is walked through every
 * interleaving: states that are alike in all that can matter are visited once, and since locks
 * cannot be copied a state is reached again by its path. Large ones run at random.
 *
 * In every state but the last some step is possible; who holds fences is never refused. At the end,
 * nothing is locked, and there is a serial order of all operations that respects real time and
 * explains each value that was read: an operation that changes a key reads it first and leaves its
 * own name there.
 *
 * One file, because steps, judge and the broken protocols all work on the one state of a world.
 *
 * Some keys die, all at one moment: a step that can come at any time, which each shard's thread
 * notices when it next looks at its clock. To the judge that is an operation that changes the key:
 * nobody may see it dead and then alive. And no operation may see some dead and others alive.
 *
 * Some clients wait for an element of a key. Who adds one has them served before anybody else sees
 * it: the key is closed for the first of them (server/txn/blocked.c), who fetches it as a
 * transaction. Nobody who came later may take it before, and all must go on.
 *
 * Some operations learn only when they have changed a key that they need all: their shard is sealed
 * till they have. Nobody sees that key meanwhile, all go on, and of two of them at most one gives
 * up.
 *
 * The same walk must find a fault in each of several broken protocols.
 */
#include "base/hash.h"
#include "base/random.h"
#include "shard/locks.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX  4
#define CLIENTS_MAX 6
#define KEYS_MAX    8
#define OPS_MAX     64
#define STEPS_MAX   4000
#define CHANNEL_MAX 4
#define PATIENCE    3 /* refusals until fences are asked for */

/* Ways to break the protocol. */
enum fault {
    SOUND,
    ARRIVAL_ORDER,       /* nobody is refused: lines are in order of arrival */
    RUNS_WHEN_GRANTED,   /* on each shard by itself, before the others granted */
    BLIND_SINGLES,       /* operations on one shard do not ask locks_block */
    FENCES_IN_DISORDER,  /* odd clients begin with the last shard */
    FENCES_AFTER_NUMBER, /* the number is drawn before the fences stand */
    NEVER_FENCES,        /* try again for ever */
    READS_WITHOUT_HOLD,  /* reads in one hop give their locks back at once */
    MANY_BEHIND_HOME,    /* "<" with more than one other shard */
    BURIES_HELD,         /* who finds a key dead deletes it, whatever transactions have seen */
    KEEPS_TIME,          /* a transaction keeps its time where keys have been seen dead since */
    FORGETS_THE_WAIT,    /* nor does it ask what time it is when the last shard grants */
    STALE_CLOCKS,        /* a thread that is asked about a later time does not look at its clock */
    NEVER_CLOSES,        /* who waits fetches what is there, and nothing keeps others from it */
    SHUTS_OWN_OUT,       /* also him for whom it is closed */
    KEEPS_EARLIER,       /* those shut out with lower numbers are not refused */
    AWAITED_BEHIND_HOME, /* "<" though a key on the other shard is closed for it */
    KEEPS_GRANTED,       /* who was granted a key goes on though it was closed meanwhile */
    SERVES_LATE,         /* those whom locks have kept from it, at the end of the turn only */
    SEES_SEALED,         /* a seal keeps nobody out */
    SEAL_KEEPS_EARLIER,  /* those kept out with lower numbers are not refused */
    SEALER_BEHIND_HOME,  /* "<" though its shard is the other one */
};

/* The operations of each client, by blanks: a letter is a key, a capital one that is changed; "*"
 * reads and "!" changes all keys. Key n lies on shard n % shards. An operation whose keys lie on
 * one shard needs no transaction. ">" in front: reads in a first hop and changes in a second. "?"
 * in front: reads in the hop that schedules. "<" in front: if there are two shards, one of them its
 * client's own, asks that one first, and once it has granted, the other runs and releases in the
 * hop that schedules; when it was refused, it asks both. "^" in front: waits till there is
 * something in the first key it names, and "+" in front: puts something there that is enough for
 * all. "@" in front: changes the key it names, alone, and then needs all others ("/": fences only
 * if it is refused, as others do). Client n is at home on shard n % shards. The last may be no
 * client: "%" and the keys that die, which nobody changes. */
struct scenario {
    unsigned shards;
    unsigned keys;
    unsigned patience;
    enum fault fault;
    const char *clients[CLIENTS_MAX];
};

enum use { NOT_USED, READ, CHANGED };

struct op {
    unsigned client;
    enum lock_scope scope;
    bool two_hops;
    bool one_hop;
    bool home_first;
    bool waits, fills;
    bool seals, seldom_fences;
    unsigned waited; /* the key that it waits for, or changes first */
    unsigned shards; /* a set */
    uint8_t uses[KEYS_MAX];
    /* Its history. */
    bool begun, ended;
    uint64_t before;         /* the operations that had ended when it began */
    uint8_t reads[KEYS_MAX]; /* who wrote what it read: an operation's index plus 1, or 0 */
};

/* A request, and whose it is. */
struct ask {
    struct lock_request request;
    struct lock memory[KEYS_MAX + 1];
    uint8_t client, shard;
};

enum message { SCHEDULE, FENCE, RUN, AGAIN, RELEASE, CALLED, UNSEAL };

/* What lies between one client and one shard. */
struct link {
    struct ask asks[2]; /* in turn: the next is sent behind the release of the last */
    struct ask fence;
    uint8_t sent[CHANNEL_MAX]; /* message * 2 + which of the asks, oldest first */
    uint8_t sent_count;
    uint8_t turn; /* which of the asks is the newer */
    bool answered, granted;
    uint8_t time; /* that the request sees: 0, or 1, when mortal keys are dead */
    bool late;    /* keys have been seen dead there, and the request is of the time before */
    bool holds;   /* the shard: it has its locks here, since time `held` */
    uint8_t held;
};

enum phase {
    BEGINS,
    STANDS, /* it waits for an element */
    LOOKED, /* whether a shard is sealed: which may change before it has run */
    SCHEDULED,
    LOOKS_AGAIN,
    TRIES_AGAIN,
    FENCING,
    FENCED,
    RUNNING,
    IN_LINE,
    DONE,
};

struct client {
    uint8_t first, last; /* of its operations; the current is the first */
    enum phase phase;
    uint8_t refusals;
    uint8_t unanswered;
    uint8_t asked; /* the shards that have been asked for this number, a set */
    uint8_t hop;
    uint8_t time;
    bool settled; /* that is the last word */
    bool fences;  /* stand, on all its shards */
    bool refused;
    uint64_t number;
    uint64_t seal;               /* of the shard where it began; or 0 */
    bool saw_seals;              /* as it began */
    bool tries;                  /* to fetch what it waits for, till that shard knows that it has */
    unsigned waited;             /* the key */
    struct lock_closing closing; /* the shard's: of that key */
    unsigned end, gap; /* its last, and the longest time between two, in ends of anybody */
    struct link links[SHARDS_MAX];
};

/* What happened, so that a test can tell that everything did. */
enum {
    REFUSALS,
    FENCES,
    WAITS,
    PASSES,
    TALLIES,
    TRIES = TALLIES,
    SHUT_OUT,
    GIVES_WAY,
    TALLIES_ALL,
    SEALS = TALLIES_ALL,
    GIVES_UP,
    TALLIES_SEALED
};

/* Steps behind those of clients and messages: time passes, a thread looks at its clock, a key is
 * deleted because it is dead. */
#define STEP_TICK  (CLIENTS_MAX * (SHARDS_MAX + 1))
#define STEP_CLOCK (STEP_TICK + 1)
#define STEP_WHEEL (STEP_CLOCK + SHARDS_MAX)
#define STEPS      (STEP_WHEEL + KEYS_MAX)

struct tally {
    unsigned of[TALLIES_SEALED]; /* the last ones only where somebody waits, or seals */
};

struct world {
    const struct scenario *scenario;
    unsigned clients_count, ops_count;
    struct op ops[OPS_MAX];
    struct client clients[CLIENTS_MAX];
    struct locks locks[SHARDS_MAX];
    uint64_t arrivals[SHARDS_MAX];
    uint64_t numbers;
    uint8_t values[KEYS_MAX];
    bool filled[KEYS_MAX]; /* it has something for all who wait for it */
    struct {
        uint8_t clients[CLIENTS_MAX], count; /* that wait, in the order they came */
    } lines[KEYS_MAX];
    bool mortals;               /* there are some */
    bool ticked;                /* mortal keys are dead */
    uint8_t clocks[SHARDS_MAX]; /* what each thread knows of that */
    bool seen_dead[SHARDS_MAX]; /* by somebody, on this shard */
    bool deleted[KEYS_MAX];
    unsigned deaths[KEYS_MAX]; /* the operations that they are to the judge, plus 1; or 0 */
    uint64_t ended;
    bool endless;  /* clients begin the same operation again and again */
    unsigned ends; /* of operations */
    const char *fault;
    struct tally tally;
};

static void found(struct world *world, const char *fault) {
    if (world->fault == NULL) {
        world->fault = fault;
    }
}

static bool broken(const struct world *world, enum fault fault) {
    return world->scenario->fault == fault;
}

static struct op *op_of(struct world *world, const struct client *client) {
    return &world->ops[client->first];
}

static bool names(const struct op *op, unsigned shard) {
    return op->shards & 1u << shard;
}

static unsigned first_shard(const struct op *op) {
    return (unsigned)__builtin_ctz(op->shards);
}

static unsigned shard_of(const struct world *world, unsigned key) {
    return key % world->scenario->shards;
}

static bool on_one_shard(const struct op *op) {
    return (op->shards & (op->shards - 1)) == 0;
}

/* The shard that is asked before the other, as a set; empty: all are asked at once. */
static unsigned asked_first(const struct world *world, const struct client *client) {
    const struct op *op = &world->ops[client->first];
    unsigned home = op->shards & 1u << op->client % world->scenario->shards;
    unsigned others = op->shards & ~home;
    bool one_other = (others & (others - 1)) == 0 || broken(world, MANY_BEHIND_HOME);
    bool awaited = op->waits && !(home & 1u << op->waited % world->scenario->shards) &&
                   !broken(world, AWAITED_BEHIND_HOME);
    awaited |= client->seal > 0 && !(home & 1u << shard_of(world, op->waited)) &&
               !broken(world, SEALER_BEHIND_HOME);
    return op->home_first && one_other && !awaited && client->refusals == 0 && !client->fences
               ? home
               : 0;
}

/* The other is the last to grant: it need not wait for anybody. */
static bool runs_when_asked(const struct world *world, const struct client *client,
                            unsigned shard) {
    unsigned first = asked_first(world, client);
    return first != 0 && !(first & 1u << shard) && !world->ops[client->first].two_hops;
}

/* ---- Making and ending a world ---- */

static void parse_op(struct world *world, unsigned client, const char *text, size_t length) {
    struct op *op = &world->ops[world->ops_count++];
    op->client = client;
    op->waited = KEYS_MAX;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        op->two_hops |= c == '>';
        op->one_hop |= c == '?';
        op->home_first |= c == '<';
        op->waits |= c == '^';
        op->fills |= c == '+';
        op->seals |= c == '@';
        op->seldom_fences |= c == '/';
        if (c == '*' || c == '!') {
            op->scope = c == '*' ? LOCK_ALL_SHARED : LOCK_ALL_EXCLUSIVE;
            op->shards = (1u << world->scenario->shards) - 1;
            memset(op->uses, c == '*' ? READ : CHANGED, world->scenario->keys);
        } else if (isalpha((unsigned char)c)) {
            unsigned key = (unsigned)tolower((unsigned char)c) - 'a';
            op->uses[key] = isupper((unsigned char)c) || op->uses[key] == CHANGED ? CHANGED : READ;
            op->waited = op->waited == KEYS_MAX ? key : op->waited;
            op->shards |= 1u << key % world->scenario->shards;
        }
    }
    if (op->seals) {
        op->scope = LOCK_ALL_EXCLUSIVE;
        op->shards = (1u << world->scenario->shards) - 1;
        memset(op->uses, CHANGED, world->scenario->keys);
    }
}

static void parse_mortals(struct world *world, const char *text) {
    world->mortals = true;
    for (const char *c = text + 1; *c; c++) {
        unsigned key = (unsigned)(*c - 'a');
        world->deaths[key] = world->ops_count + 1;
        parse_op(world, CLIENTS_MAX, c, 1);
        world->ops[world->ops_count - 1].uses[key] = CHANGED;
    }
}

static bool is_mortal(const struct world *world, unsigned key) {
    return world->deaths[key] != 0;
}

static void world_init(struct world *world, const struct scenario *scenario) {
    memset(world, 0, sizeof *world);
    world->scenario = scenario;
    for (unsigned c = 0; c < CLIENTS_MAX && scenario->clients[c] != NULL; c++) {
        if (scenario->clients[c][0] == '%') {
            parse_mortals(world, scenario->clients[c]);
            break;
        }
        struct client *client = &world->clients[world->clients_count++];
        client->first = (uint8_t)world->ops_count;
        for (const char *text = scenario->clients[c]; *text;) {
            size_t length = strcspn(text, " ");
            parse_op(world, c, text, length);
            text += length + (text[length] == ' ');
        }
        client->last = (uint8_t)world->ops_count;
        lock_closing_init(&client->closing);
        for (unsigned s = 0; s < scenario->shards; s++) {
            struct link *link = &client->links[s];
            link->asks[0].client = link->asks[1].client = link->fence.client = (uint8_t)c;
            link->asks[0].shard = link->asks[1].shard = link->fence.shard = (uint8_t)s;
            pqueue_node_init(&link->asks[0].memory[0].by_number);
            pqueue_node_init(&link->asks[1].memory[0].by_number);
            link->asks[0].request.locks = link->asks[0].memory;
            link->asks[1].request.locks = link->asks[1].memory;
        }
    }
    for (unsigned s = 0; s < scenario->shards; s++) {
        locks_init(&world->locks[s]);
    }
}

static bool stands(const struct ask *ask) {
    return pqueue_node_queued(&ask->memory[ask->request.count].by_number);
}

/* How many came to the shard before it and are still there. */
static unsigned place(const struct world *world, const struct ask *ask) {
    unsigned before = 0;
    for (unsigned c = 0; c < world->clients_count * 2; c++) {
        const struct ask *other = &world->clients[c / 2].links[ask->shard].asks[c % 2];
        before += stands(other) &&
                  other->memory[other->request.count].place < ask->memory[ask->request.count].place;
    }
    return before;
}

/* Wherever it is. Who came first has all he wants, so they leave in that order. */
static void world_fini(struct world *world) {
    for (unsigned c = 0; c < world->clients_count; c++) {
        struct client *client = &world->clients[c];
        list_init(&client->closing.waiting);
        locks_open(&world->locks[client->waited % world->scenario->shards], &client->closing);
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        struct locks *locks = &world->locks[s];
        locks->requests -= locks->seal > 0;
        locks->seal = 0;
        list_init(&locks->sealed_out);
        while (locks->requests > 0) {
            for (unsigned c = 0; c < world->clients_count * 2; c++) {
                struct ask *ask = &world->clients[c / 2].links[s].asks[c % 2];
                if (stands(ask) && place(world, ask) == 0) {
                    locks_release(locks, &ask->request);
                }
            }
        }
        locks->fence = NULL;
        list_init(&locks->deferred);
        list_init(&locks->settled);
        locks_fini(locks);
    }
}

/* ---- What a shard does ---- */

static void answer(struct world *world, struct ask *ask, enum lock_answer answer);

static void settled(void *context, struct lock_request *request) {
    answer(context, LIST_ENTRY(request, struct ask, request), request->answer);
}

/* -- Who waits for elements. */

static bool is_locked(const struct world *world, unsigned key, const struct lock_request *holds) {
    const struct locks *locks = &world->locks[key % world->scenario->shards];
    bool own = holds != NULL && locks_own(holds, key);
    return own ? locks_is_closed(locks, key) : locks->requests > 0 && locks_block(locks, key, true);
}

/* `holds` has not been used yet, or is about to be given back. */
static void serve(struct world *world, unsigned shard, const struct lock_request *holds) {
    for (unsigned key = shard; key < world->scenario->keys; key += world->scenario->shards) {
        if (!world->filled[key] || world->lines[key].count == 0) {
            continue;
        }
        struct client *client = &world->clients[world->lines[key].clients[0]];
        if (!client->tries && !is_locked(world, key, holds)) {
            client->tries = true;
            client->phase = TRIES_AGAIN;
            world->tally.of[TRIES]++;
            if (!broken(world, NEVER_CLOSES)) {
                locks_close(&world->locks[shard], &client->closing, key);
            }
        }
    }
}

static bool serves_at_once(const struct world *world) {
    return !broken(world, SERVES_LATE);
}

static void give_back(struct world *world, unsigned shard, struct lock_request *request) {
    locks_release(&world->locks[shard], request);
    if (serves_at_once(world)) {
        serve(world, shard, NULL);
    }
}

/* They are served before it does anything. False: it has to wait for them. */
static bool goes_on(struct world *world, unsigned shard, struct lock_request *request) {
    if (!serves_at_once(world)) {
        return true;
    }
    bool granted = request->answer == LOCK_GRANTED;
    serve(world, shard, granted ? request : NULL);
    bool gives =
        granted && !broken(world, KEEPS_GRANTED) && locks_give_way(&world->locks[shard], request);
    world->tally.of[GIVES_WAY] += gives;
    return !gives;
}

/* The end of a turn. */
static void settle_all(struct world *world, unsigned shard) {
    struct lock_request *request;
    do {
        while ((request = locks_next_settled(&world->locks[shard])) != NULL) {
            if (goes_on(world, shard, request)) {
                request->settled(world, request);
            }
        }
        serve(world, shard, NULL);
    } while (!list_empty(&world->locks[shard].settled));
}

static void stand(struct world *world, struct client *client) {
    unsigned key = op_of(world, client)->waited;
    world->lines[key].clients[world->lines[key].count++] = (uint8_t)(client - world->clients);
    client->waited = key;
    client->phase = STANDS;
    settle_all(world, key % world->scenario->shards);
}

/* It has fetched its element, and stands in line no more. */
static void called_back(struct world *world, struct client *client, unsigned shard) {
    struct locks *locks = &world->locks[shard];
    uint8_t *line = world->lines[client->waited].clients;
    memmove(line, line + 1, --world->lines[client->waited].count);
    client->tries = false;
    locks_open(locks, &client->closing);
    serve(world, shard, NULL);
    locks_let_in(locks, &client->closing);
}

/* Whoever takes an element must not have come later than somebody who waits for it. */
static void judge_turn(struct world *world, const struct op *op, unsigned key) {
    const struct client *client = &world->clients[op->client];
    const struct link *link = &client->links[key % world->scenario->shards];
    if (world->filled[key] && world->lines[key].count > 0 && !op->waits && op->scope == LOCK_KEYS &&
        !link->asks[link->turn].request.passes) {
        found(world, "taken by who came later");
    }
}

/* A transaction of the time before the death has its locks here. */
static bool is_held(const struct world *world, unsigned shard) {
    bool held = false;
    for (unsigned c = 0; c < world->clients_count; c++) {
        const struct link *link = &world->clients[c].links[shard];
        held |= link->holds && link->held == 0;
    }
    return held;
}

static void see_dead(struct world *world, unsigned key) {
    unsigned shard = key % world->scenario->shards;
    world->seen_dead[shard] = true;
    world->deleted[key] |= !is_held(world, shard) || broken(world, BURIES_HELD);
}

static uint8_t look(struct world *world, unsigned key, uint8_t time) {
    if (!is_mortal(world, key)) {
        return world->values[key];
    }
    if (!world->deleted[key] && time == 0) {
        return 0;
    }
    see_dead(world, key);
    return (uint8_t)world->deaths[key];
}

/* At a time that may be later than its thread knows of. */
static void reach_time(struct world *world, unsigned shard, uint8_t time) {
    if (time > world->clocks[shard] && !broken(world, STALE_CLOCKS)) {
        world->clocks[shard] = time;
    }
}

static void run(struct world *world, struct op *op, unsigned shard, uint8_t time, bool reads,
                bool changes) {
    const struct client *client = &world->clients[op->client];
    for (unsigned key = shard; key < world->scenario->keys; key += world->scenario->shards) {
        if (client->seal > 0 && key == op->waited) {
            continue; /* it has, before */
        }
        if (op->uses[key] != NOT_USED && reads) {
            op->reads[key] = look(world, key, time);
        }
        if (op->uses[key] == CHANGED && changes) {
            judge_turn(world, op, key);
            world->filled[key] |= op->fills;
            world->values[key] = (uint8_t)(op - world->ops + 1);
        }
    }
}

static void prepare(struct world *world, struct ask *ask, bool many) {
    const struct client *client = &world->clients[ask->client];
    const struct op *op = op_of(world, client);
    bool begins = op->seals && !many; /* it has not met anything yet */
    struct lock_key keys[KEYS_MAX];
    uint32_t count = 0;
    for (unsigned key = ask->shard; key < world->scenario->keys; key += world->scenario->shards) {
        if (begins ? key == op->waited : op->uses[key] != NOT_USED) {
            keys[count++] = (struct lock_key){.id = key, .exclusive = op->uses[key] == CHANGED};
        }
    }
    if (stands(ask)) {
        found(world, "the model forgot a request that stands in line");
        return;
    }
    lock_request_init(&ask->request, begins ? LOCK_KEYS : op->scope, keys, count, ask->memory);
    ask->request.number = world->clients[ask->client].number;
    ask->request.many = many;
    ask->request.settled = settled;
    bool sealer = client->seal > 0 && shard_of(world, op->waited) == ask->shard;
    ask->request.is_sealer = sealer || broken(world, SEES_SEALED);
    ask->request.seals_another = client->seal > 0 && !sealer;
    if (op->waits && op->waited % world->scenario->shards == ask->shard &&
        !broken(world, NEVER_CLOSES) && !broken(world, SHUTS_OWN_OUT)) {
        ask->request.own = &world->clients[ask->client].closing;
    }
}

static enum lock_answer submit(struct world *world, struct ask *ask) {
    if (broken(world, ARRIVAL_ORDER)) {
        ask->request.number = ++world->arrivals[ask->shard];
    }
    struct lock_closing *own = ask->request.own;
    struct list kept; /* from being refused */
    list_init(&kept);
    if (own != NULL && broken(world, KEEPS_EARLIER)) {
        list_splice_back(&kept, &own->waiting);
    }
    struct locks *locks = &world->locks[ask->shard];
    struct list kept_out; /* the same */
    list_init(&kept_out);
    if (ask->request.is_sealer && broken(world, SEAL_KEEPS_EARLIER)) {
        list_splice_back(&kept_out, &locks->sealed_out);
    }
    enum lock_answer answer = locks_submit(locks, &ask->request);
    list_splice_back(&locks->sealed_out, &kept_out);
    if (own != NULL) {
        list_splice_back(&own->waiting, &kept);
    }
    world->tally.of[WAITS] += answer == LOCK_WAITS;
    world->tally.of[SHUT_OUT] += answer == LOCK_WAITS && !stands(ask);
    return answer;
}

/* ---- Operations on one shard ---- */

static void say(struct world *world, struct client *client, unsigned shard, enum message message);

static void end_op(struct world *world, struct client *client) {
    struct op *op = op_of(world, client);
    if (op->waits) {
        say(world, client, op->waited % world->scenario->shards, CALLED);
    }
    world->ends++;
    client->gap = world->ends - client->end > client->gap ? world->ends - client->end : client->gap;
    client->end = world->ends;
    if (!world->endless) {
        op->ended = true;
        world->ended |= 1ull << client->first;
        client->first++;
    }
    client->refusals = 0;
    client->fences = false;
    client->seal = 0;
    client->saw_seals = false;
    client->phase = client->first < client->last ? BEGINS : DONE;
}

static bool any_sealed(const struct world *world) {
    bool any = false;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        any |= world->locks[s].seal > 0;
    }
    return any;
}

static void fence_next(struct world *world, struct client *client, unsigned done);

/* It changes its first key, and needs all others. While any shard is sealed it begins with all. */
static void begin_dirty(struct world *world, struct client *client, struct lock_request *held) {
    struct op *op = op_of(world, client);
    unsigned key = op->waited, shard = shard_of(world, key);
    if (client->saw_seals || world->locks[shard].seal > 0) {
        if (held != NULL) {
            give_back(world, shard, held);
        }
        client->phase = TRIES_AGAIN;
        return;
    }
    op->reads[key] = world->values[key];
    world->values[key] = (uint8_t)(op - world->ops + 1);
    client->seal = ++world->numbers;
    world->tally.of[SEALS]++;
    locks_seal(&world->locks[shard], client->seal, held);
    client->phase = TRIES_AGAIN;
    if (!op->seldom_fences) {
        client->phase = FENCING;
        client->unanswered = 0;
        fence_next(world, client, 0);
    }
}

static void unseal(struct world *world, struct client *client, unsigned shard) {
    if (client->seal > 0 && shard == shard_of(world, op_of(world, client)->waited)) {
        locks_unseal(&world->locks[shard]);
        serve(world, shard, NULL);
    }
}

/* What it has done stays. */
static void gave_up(struct world *world, struct client *client) {
    struct op *op = op_of(world, client);
    unseal(world, client, shard_of(world, op->waited));
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        op->uses[key] = key == op->waited ? CHANGED : NOT_USED;
    }
    end_op(world, client);
}

static void answer_single(struct world *world, struct ask *ask, enum lock_answer answer) {
    struct client *client = &world->clients[ask->client];
    if (answer == LOCK_REFUSED) {
        found(world, "an operation on one shard was refused");
    } else if (answer == LOCK_GRANTED && op_of(world, client)->seals) {
        begin_dirty(world, client, &ask->request);
    } else if (answer == LOCK_GRANTED) {
        run(world, op_of(world, client), ask->shard, world->clocks[ask->shard], true, true);
        serve(world, ask->shard, &ask->request);
        give_back(world, ask->shard, &ask->request);
        end_op(world, client);
    }
}

static void arrive(struct world *world, struct client *client) {
    struct op *op = op_of(world, client);
    unsigned shard = op->seals ? shard_of(world, op->waited) : first_shard(op);
    struct locks *locks = &world->locks[shard];
    bool blocked = false;
    for (unsigned key = shard; key < world->scenario->keys; key += world->scenario->shards) {
        blocked |= locks->requests > 0 &&
                   (op->seals ? key == op->waited : op->uses[key] != NOT_USED) &&
                   locks_block(locks, key, op->uses[key] == CHANGED);
    }
    if (!blocked || broken(world, BLIND_SINGLES)) {
        world->tally.of[PASSES] += locks->requests > 0;
        if (op->seals) {
            begin_dirty(world, client, NULL);
            settle_all(world, shard);
            return;
        }
        run(world, op, shard, world->clocks[shard], true, true);
        end_op(world, client);
        settle_all(world, shard);
        return;
    }
    struct link *link = &client->links[shard];
    link->turn ^= 1;
    struct ask *ask = &link->asks[link->turn];
    client->phase = IN_LINE;
    prepare(world, ask, false);
    answer_single(world, ask, submit(world, ask));
    settle_all(world, shard);
}

/* ---- The coordinator ---- */

static void say(struct world *world, struct client *client, unsigned shard, enum message message) {
    struct link *link = &client->links[shard];
    if (link->sent_count == CHANNEL_MAX) {
        found(world, "the model's channel is too short");
        return;
    }
    link->sent[link->sent_count++] = (uint8_t)(message * 2 + link->turn);
}

/* To a set of shards. */
static void say_all(struct world *world, struct client *client, unsigned shards,
                    enum message message) {
    client->unanswered = 0;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        if (shards & 1u << s) {
            say(world, client, s, message);
            client->unanswered++;
        }
    }
}

static void fence_next(struct world *world, struct client *client, unsigned done) {
    const struct op *op = op_of(world, client);
    unsigned shards = world->scenario->shards;
    bool down = broken(world, FENCES_IN_DISORDER) && (client - world->clients) % 2 == 1;
    for (unsigned i = 0, seen = 0; i < shards; i++) {
        unsigned s = down ? shards - 1 - i : i;
        if (names(op, s) && seen++ == done) {
            say(world, client, s, FENCE);
            return;
        }
    }
    client->fences = true;
    client->phase = FENCED;
    world->tally.of[FENCES]++;
}

static void ask(struct world *world, struct client *client, unsigned shards) {
    client->asked |= (uint8_t)shards;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        struct link *link = &client->links[s];
        if (shards & 1u << s) {
            link->answered = link->granted = link->late = false;
            link->time = client->time;
            link->turn ^= 1;
            prepare(world, &link->asks[link->turn], true);
            link->asks[link->turn].request.fence = client->fences ? &link->fence.request : NULL;
        }
    }
    say_all(world, client, shards, SCHEDULE);
}

static void schedule(struct world *world, struct client *client) {
    if (!client->fences || !broken(world, FENCES_AFTER_NUMBER)) {
        client->number = ++world->numbers;
    }
    client->refused = false;
    client->phase = SCHEDULED;
    client->time = world->clocks[(unsigned)(client - world->clients) % world->scenario->shards];
    client->settled = false;
    client->asked = 0;
    unsigned first = asked_first(world, client);
    ask(world, client, first != 0 ? first : op_of(world, client)->shards);
}

/* The shards that still hold its locks. */
static unsigned granted_by(const struct world *world, const struct client *client) {
    unsigned shards = 0;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        shards |= client->asked & 1u << s && client->links[s].granted ? 1u << s : 0;
    }
    return shards;
}

static void release_all(struct world *world, struct client *client) {
    unsigned shards = granted_by(world, client);
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        if (shards & 1u << s) {
            client->links[s].granted = false;
            say(world, client, s, RELEASE);
        }
    }
}

/* If a shard is late, all that have granted look again, at the later time. */
static bool look_again(struct world *world, struct client *client) {
    bool late = false, all = client->asked == op_of(world, client)->shards;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        late |= client->asked & 1u << s && client->links[s].late;
    }
    /* Others may have seen keys dead where it had its locks, before it had all. */
    late |= all && !client->settled && client->time == 0 && world->ticked &&
            !broken(world, FORGETS_THE_WAIT) && !broken(world, KEEPS_TIME);
    client->settled |= all;
    if (late) {
        client->phase = LOOKS_AGAIN;
        client->time = 1;
        unsigned shards = granted_by(world, client);
        for (unsigned s = 0; s < world->scenario->shards; s++) {
            client->links[s].late = false;
            client->links[s].time = shards & 1u << s ? client->time : client->links[s].time;
        }
        say_all(world, client, shards, AGAIN);
    }
    return late;
}

/* Of two that have sealed shards the later one. */
static bool gives_up(const struct world *world, const struct client *client) {
    bool gives = false;
    for (unsigned s = 0; s < world->scenario->shards && client->seal > 0; s++) {
        const struct link *link = &client->links[s];
        uint64_t by = link->asks[link->turn].request.sealed_by;
        gives |= client->asked & 1u << s && by > 0 && by < client->seal;
    }
    return gives;
}

static bool any_seals(const struct world *world) {
    bool any = false;
    for (unsigned i = 0; i < world->ops_count; i++) {
        any |= world->ops[i].seals;
    }
    return any;
}

static void all_refused_or_granted(struct world *world, struct client *client) {
    const struct op *op = op_of(world, client);
    if (!client->refused && look_again(world, client)) {
        return;
    }
    if (!client->refused && client->asked != op->shards) {
        client->phase = SCHEDULED;
        ask(world, client, op->shards & ~client->asked);
        return;
    }
    if (!client->refused) {
        if (op->one_hop || broken(world, RUNS_WHEN_GRANTED)) {
            release_all(world, client);
            end_op(world, client);
            return;
        }
        client->phase = RUNNING;
        client->hop = op->two_hops ? 0 : 1;
        say_all(world, client, granted_by(world, client), RUN);
        return;
    }
    world->tally.of[REFUSALS]++;
    client->refusals++;
    if (gives_up(world, client)) {
        world->tally.of[GIVES_UP]++;
        client->phase = RUNNING;
        say(world, client, shard_of(world, op->waited), UNSEAL);
    } else if (client->fences && any_seals(world)) { /* then once more */
        client->fences = false;
        client->refusals = 0;
        client->phase = TRIES_AGAIN;
    } else if (client->fences) {
        found(world, "refused although all fences stood");
    } else if (client->refusals > world->scenario->patience) {
        found(world, "refused too often");
    } else if (client->refusals < world->scenario->patience || broken(world, NEVER_FENCES)) {
        client->phase = TRIES_AGAIN;
    } else {
        client->phase = FENCING;
        client->unanswered = 0;
        if (broken(world, FENCES_AFTER_NUMBER)) {
            client->number = ++world->numbers;
        }
        fence_next(world, client, 0);
    }
}

static void answer_schedule(struct world *world, struct ask *ask, enum lock_answer answer) {
    struct client *client = &world->clients[ask->client];
    struct op *op = op_of(world, client);
    struct link *link = &client->links[ask->shard];
    if (client->phase != SCHEDULED || link->answered) {
        found(world, "answered twice");
        return;
    }
    link->answered = true;
    link->granted = answer == LOCK_GRANTED;
    bool all = broken(world, RUNS_WHEN_GRANTED) || runs_when_asked(world, client, ask->shard);
    if (link->granted) {
        link->holds = true;
        link->held = link->time;
        link->late = world->seen_dead[ask->shard] && link->time == 0 && !broken(world, KEEPS_TIME);
        if (all && link->time == 0 && world->ticked && !broken(world, KEEPS_TIME) &&
            !broken(world, FORGETS_THE_WAIT)) {
            link->late = true; /* it is the last that grants */
        }
        all &= !link->late;
        client->settled |= all;
    }
    if (link->granted && !link->late && (all || op->one_hop)) {
        run(world, op, ask->shard, link->time, true, all);
    }
    if (link->granted && (all || (op->one_hop && broken(world, READS_WITHOUT_HOLD)))) {
        serve(world, ask->shard, &ask->request);
        give_back(world, ask->shard, &ask->request);
        link->granted = link->holds = false;
    }
    client->refused |= answer == LOCK_REFUSED;
    if (client->refused) {
        release_all(world, client);
    }
    if (--client->unanswered == 0) {
        all_refused_or_granted(world, client);
    }
}

static void answer(struct world *world, struct ask *ask, enum lock_answer answer) {
    struct client *client = &world->clients[ask->client];
    if (ask->request.is_fence) {
        fence_next(world, client, ++client->unanswered);
    } else if (ask->request.many) {
        answer_schedule(world, ask, answer);
    } else {
        answer_single(world, ask, answer);
    }
}

static void run_step(struct world *world, struct client *client, unsigned shard,
                     struct lock_request *request) {
    struct op *op = op_of(world, client);
    run(world, op, shard, client->links[shard].time, !op->two_hops || client->hop == 0,
        client->hop == 1);
    if (client->hop == 1) {
        serve(world, shard, request);
        give_back(world, shard, request);
        unseal(world, client, shard);
        client->links[shard].holds = false;
    }
    if (--client->unanswered > 0) {
        return;
    }
    if (client->hop == 0) {
        client->hop = 1;
        say_all(world, client, op->shards, RUN);
        return;
    }
    end_op(world, client);
}

static void deliver(struct world *world, struct client *client, unsigned shard) {
    struct link *link = &client->links[shard];
    enum message message = link->sent[0] / 2;
    struct ask *ask = &link->asks[link->sent[0] % 2];
    memmove(link->sent, link->sent + 1, --link->sent_count);
    if (message == SCHEDULE || message == RUN || message == AGAIN) {
        reach_time(world, shard, link->time);
    }
    switch (message) {
    case SCHEDULE: {
        enum lock_answer now = submit(world, ask);
        if (now != LOCK_WAITS) {
            answer(world, ask, now);
        }
        break;
    }
    case FENCE:
        memset(&link->fence.request, 0, sizeof link->fence.request);
        link->fence.request.settled = settled;
        if (locks_fence(&world->locks[shard], &link->fence.request) == LOCK_GRANTED) {
            answer(world, &link->fence, LOCK_GRANTED);
        }
        break;
    case RUN:
        run_step(world, client, shard, &ask->request);
        break;
    case AGAIN:
        if (op_of(world, client)->one_hop) {
            run(world, op_of(world, client), shard, link->time, true, false);
        }
        if (--client->unanswered == 0) {
            all_refused_or_granted(world, client);
        }
        break;
    case RELEASE:
        give_back(world, shard, &ask->request);
        link->holds = false;
        break;
    case CALLED:
        called_back(world, client, shard);
        break;
    case UNSEAL:
        gave_up(world, client);
        break;
    }
    settle_all(world, shard);
}

static void act(struct world *world, struct client *client) {
    struct op *op = op_of(world, client);
    if (client->phase == BEGINS) {
        op->begun = true;
        op->before = world->ended;
        if (op->waits) {
            stand(world, client);
            return;
        }
    }
    if (op->seals && client->phase == BEGINS) {
        client->saw_seals = any_sealed(world);
        client->phase = LOOKED;
    } else if (on_one_shard(op) || client->phase == LOOKED) {
        arrive(world, client);
    } else {
        schedule(world, client);
    }
}

/* ---- Steps ---- */

static bool may_act(const struct world *world, const struct client *client) {
    if (client->phase == BEGINS) {
        const struct op *op = &world->ops[client->first];
        /* What it said to the shard before, arrives before. Who waits stands in line once he has
         * had the locks. */
        if (op->waits) {
            unsigned shard = op->waited % world->scenario->shards;
            return client->links[shard].sent_count == 0 && !client->tries &&
                   !is_locked(world, op->waited, NULL);
        }
        return !on_one_shard(op) || client->links[first_shard(op)].sent_count == 0;
    }
    if (client->phase == LOOKED) {
        return client->links[shard_of(world, world->ops[client->first].waited)].sent_count == 0;
    }
    return client->phase == TRIES_AGAIN || client->phase == FENCED;
}

/* A step is a client's, or the delivery of a message: client + CLIENTS_MAX * (shard + 1). */
static unsigned steps_of(const struct world *world, uint8_t *steps) {
    unsigned count = 0;
    for (unsigned c = 0; c < world->clients_count; c++) {
        const struct client *client = &world->clients[c];
        if (may_act(world, client)) {
            steps[count++] = (uint8_t)c;
        }
        for (unsigned s = 0; s < world->scenario->shards; s++) {
            if (client->links[s].sent_count > 0) {
                steps[count++] = (uint8_t)(c + CLIENTS_MAX * (s + 1));
            }
        }
    }
    if (!world->mortals) {
        return count;
    }
    if (!world->ticked) {
        steps[count++] = STEP_TICK;
    }
    for (unsigned s = 0; s < world->scenario->shards && world->ticked; s++) {
        if (world->clocks[s] == 0) {
            steps[count++] = (uint8_t)(STEP_CLOCK + s);
        }
    }
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        unsigned shard = key % world->scenario->shards;
        if (is_mortal(world, key) && !world->deleted[key] && world->clocks[shard] == 1 &&
            !is_held(world, shard)) {
            steps[count++] = (uint8_t)(STEP_WHEEL + key);
        }
    }
    return count;
}

static void take_of_time(struct world *world, uint8_t step) {
    if (step == STEP_TICK) {
        world->ticked = true;
        for (unsigned key = 0; key < KEYS_MAX; key++) {
            if (is_mortal(world, key)) {
                world->ops[world->deaths[key] - 1].before = world->ended;
            }
        }
    } else if (step < STEP_WHEEL) {
        world->clocks[step - STEP_CLOCK] = 1;
    } else {
        see_dead(world, step - (unsigned)STEP_WHEEL);
    }
}

static void take(struct world *world, uint8_t step) {
    if (step >= STEP_TICK) {
        take_of_time(world, step);
        return;
    }
    struct client *client = &world->clients[step % CLIENTS_MAX];
    if (step < CLIENTS_MAX) {
        act(world, client);
    } else {
        deliver(world, client, step / CLIENTS_MAX - 1);
    }
}

/* ---- The end ---- */

/* It waits in vain, or comes behind such a one. */
static bool never_was(const struct world *world, const struct op *op) {
    return op->client < world->clients_count && !op->ended;
}

/* Whether `a` must come before `b` in any serial order. */
static bool precedes(const struct world *world, unsigned a, unsigned b) {
    const struct op *x = &world->ops[a], *y = &world->ops[b];
    if (y->before & 1ull << a) {
        return true;
    }
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        bool both = x->uses[key] != NOT_USED && y->uses[key] != NOT_USED;
        /* y read what x wrote, or x read what y's change replaced. */
        if (both && (y->reads[key] == a + 1 ||
                     (y->uses[key] == CHANGED && x->reads[key] == y->reads[key]))) {
            return true;
        }
    }
    return false;
}

/* Runs the operations one by one in an order that nothing forbids; each must read what it read. */
static void check_serial(struct world *world) {
    uint8_t values[KEYS_MAX] = {0};
    uint64_t first[OPS_MAX] = {0}, done = 0;
    for (unsigned i = 0; i < world->ops_count; i++) {
        done |= never_was(world, &world->ops[i]) ? 1ull << i : 0;
    }
    unsigned count = world->ops_count - (unsigned)__builtin_popcountll(done);
    for (unsigned i = 0; i < world->ops_count * world->ops_count; i++) {
        unsigned a = i / world->ops_count, b = i % world->ops_count;
        first[b] |= a != b && precedes(world, a, b) ? 1ull << a : 0;
    }
    for (unsigned n = 0; n < count; n++) {
        unsigned next = 0;
        while (next < world->ops_count && ((done & 1ull << next) || (first[next] & ~done))) {
            next++;
        }
        if (next == world->ops_count) {
            found(world, "no serial order");
            return;
        }
        done |= 1ull << next;
        const struct op *op = &world->ops[next];
        for (unsigned key = 0; key < world->scenario->keys; key++) {
            if (op->uses[key] != NOT_USED && op->reads[key] != values[key]) {
                found(world, "a value that no serial order explains");
            }
            if (op->uses[key] == CHANGED) {
                values[key] = (uint8_t)(next + 1);
            }
        }
    }
    if (memcmp(values, world->values, sizeof values) != 0) {
        found(world, "final values that no serial order explains");
    }
}

/* Of the keys that die at one moment an operation sees all dead or all alive. */
static void check_together(struct world *world) {
    for (unsigned i = 0; i < world->ops_count; i++) {
        unsigned dead = 0, alive = 0;
        for (unsigned key = 0; key < world->scenario->keys; key++) {
            if (is_mortal(world, key) && world->ops[i].uses[key] == READ) {
                *(world->ops[i].reads[key] != 0 ? &dead : &alive) += 1;
            }
        }
        if (dead > 0 && alive > 0) {
            found(world, "half dead");
        }
    }
}

/* No step is possible. */
static void check_end(struct world *world) {
    for (unsigned c = 0; c < world->clients_count; c++) {
        const struct client *client = &world->clients[c];
        bool waits = client->phase == STANDS && !world->filled[client->waited];
        if (client->phase != DONE && !waits) {
            found(world, "deadlock");
            return;
        }
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        const struct locks *locks = &world->locks[s];
        if (locks->requests != 0 || locks->targets != 0 || locks->fence != NULL ||
            !list_empty(&locks->deferred) || !list_empty(&locks->sealed_out)) {
            found(world, "something is left locked");
        }
    }
    for (unsigned key = 0; key < KEYS_MAX; key++) {
        world->values[key] =
            is_mortal(world, key) ? (uint8_t)world->deaths[key] : world->values[key];
    }
    check_together(world);
    check_serial(world);
}

/* ---- States that are alike ---- */

struct sketch {
    unsigned char bytes[1024];
    size_t used;
};

static void note(struct sketch *sketch, const void *bytes, size_t count) {
    cr_assert_leq(sketch->used + count, sizeof sketch->bytes);
    memcpy(sketch->bytes + sketch->used, bytes, count);
    sketch->used += count;
}

static void note_byte(struct sketch *sketch, size_t value) {
    unsigned char byte = (unsigned char)value;
    note(sketch, &byte, 1);
}

/* Of a number only its place among those that are in use can matter. */
static size_t rank(const struct world *world, uint64_t number) {
    size_t rank = 0;
    for (unsigned c = 0; c < world->clients_count; c++) {
        const struct client *client = &world->clients[c];
        bool used = client->phase == SCHEDULED || client->phase == RUNNING ||
                    (client->phase == FENCING && broken(world, FENCES_AFTER_NUMBER));
        for (unsigned s = 0; s < world->scenario->shards; s++) {
            /* Refused or one-hop requests that still hold. */
            for (unsigned i = 0; i < 2; i++) {
                const struct ask *ask = &client->links[s].asks[i];
                rank += stands(ask) && ask->request.number < number;
            }
        }
        rank += used && client->number < number;
    }
    return rank;
}

static void note_link(struct sketch *sketch, const struct world *world, const struct link *link) {
    unsigned turn = link->turn;
    note_byte(sketch, link->sent_count);
    for (unsigned i = 0; i < link->sent_count; i++) {
        note_byte(sketch, (size_t)(link->sent[i] ^ turn)); /* which of the asks is the newer */
    }
    note_byte(sketch, (size_t)(link->answered * 2 + link->granted));
    note_byte(sketch, (size_t)(link->time * 8 + link->late * 4 + link->holds * 2 +
                               (link->holds ? link->held : 0)));
    for (unsigned i = 0; i < 2; i++) {
        const struct ask *ask = &link->asks[i ^ turn];
        note_byte(sketch, stands(ask) ? 1 + rank(world, ask->request.number) : 0);
        note_byte(sketch, stands(ask) ? place(world, ask) : 0);
    }
}

static void note_client(struct sketch *sketch, const struct world *world,
                        const struct client *client) {
    note_byte(sketch, client->first);
    note_byte(sketch, client->phase);
    note_byte(sketch, client->refusals);
    note_byte(sketch, client->unanswered);
    note_byte(sketch, client->asked);
    note_byte(sketch, (size_t)(client->hop * 4 + client->fences * 2 + client->refused));
    note_byte(sketch, (size_t)(client->time * 2 + client->settled));
    note_byte(sketch, rank(world, client->number));
    note_byte(sketch, (size_t)(client->tries * 2 + (client->closing.number != 0)));
    note_byte(sketch, rank(world, client->closing.number));
    LIST_EACH(&client->closing.waiting, node) {
        const struct lock_request *request = LIST_ENTRY(node, struct lock_request, node);
        note_byte(sketch, LIST_ENTRY(request, struct ask, request)->client);
    }
    note_byte(sketch, 255);
    note_byte(sketch, (size_t)((client->seal > 0) * 2 + client->saw_seals));
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        const struct link *link = &client->links[s];
        uint64_t by = link->asks[link->turn].request.sealed_by;
        note_byte(sketch, client->seal == 0 || by == 0 ? 0 : by < client->seal ? 1 : 2);
        note_link(sketch, world, link);
    }
}

static void note_locks(struct sketch *sketch, const struct world *world,
                       const struct locks *locks) {
    note_byte(sketch,
              locks->fence == NULL ? 255 : LIST_ENTRY(locks->fence, struct ask, request)->client);
    LIST_EACH(&locks->deferred, node) {
        const struct lock_request *request = LIST_ENTRY(node, struct lock_request, node);
        const struct ask *ask = LIST_ENTRY(request, struct ask, request);
        note_byte(sketch, (size_t)(ask->client * 2 + request->is_fence));
    }
    note_byte(sketch, 254);
    unsigned earlier = 0;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        earlier += world->locks[s].seal > 0 && world->locks[s].seal < locks->seal;
    }
    note_byte(sketch, locks->seal > 0 ? 1 + earlier : 0);
    note_byte(sketch, locks->seal > 0 ? rank(world, locks->seal_asks) : 0);
    LIST_EACH(&locks->sealed_out, node) {
        const struct lock_request *request = LIST_ENTRY(node, struct lock_request, node);
        note_byte(sketch, LIST_ENTRY(request, struct ask, request)->client);
    }
    note_byte(sketch, 253);
}

static uint64_t sketch_hash(const struct sketch *sketch) {
    unsigned char secret[HASH_SECRET_BYTES]; /* of even bits, or states would fall together */
    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned i = 0; i < sizeof secret; i += sizeof(uint64_t)) {
        uint64_t word = rng_next(&rng);
        memcpy(secret + i, &word, sizeof word);
    }
    return hash_bytes(secret, (struct bytes){(const void *)sketch->bytes, sketch->used});
}

static void note_history(struct sketch *sketch, const struct world *world) {
    for (unsigned i = 0; i < world->ops_count; i++) {
        const struct op *op = &world->ops[i];
        note(sketch, op->reads, world->scenario->keys);
        note(sketch, &op->before, sizeof op->before);
    }
}

static uint64_t history_of(const struct world *world) {
    struct sketch sketch = {.used = 0};
    note_history(&sketch, world);
    return sketch_hash(&sketch);
}

static uint64_t state_of(const struct world *world) {
    struct sketch sketch = {.used = 0};
    for (unsigned c = 0; c < world->clients_count; c++) {
        note_client(&sketch, world, &world->clients[c]);
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        note_locks(&sketch, world, &world->locks[s]);
    }
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        note_byte(&sketch, world->values[key]);
        note_byte(&sketch, (size_t)(world->lines[key].count * 2 + world->filled[key]));
        note(&sketch, world->lines[key].clients, world->lines[key].count);
        note_byte(&sketch, world->deleted[key]);
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        note_byte(&sketch, (size_t)(world->clocks[s] * 2 + world->seen_dead[s]));
    }
    note_byte(&sketch, world->ticked);
    note_history(&sketch, world);
    return sketch_hash(&sketch);
}

/* ---- The walk ---- */

struct visited {
    uint64_t *states;
    size_t size, used; /* size is a power of two */
};

static bool visit(struct visited *visited, uint64_t state) {
    if (visited->used * 2 >= visited->size) {
        struct visited larger = {.size = visited->size ? visited->size * 2 : 1024};
        larger.states = calloc(larger.size, sizeof *larger.states);
        cr_assert_not_null(larger.states);
        for (size_t i = 0; i < visited->size; i++) {
            if (visited->states[i] != 0) {
                visit(&larger, visited->states[i]);
            }
        }
        free(visited->states);
        *visited = larger;
    }
    state += state == 0;
    size_t at = state & (visited->size - 1);
    while (visited->states[at] != 0) {
        if (visited->states[at] == state) {
            return false;
        }
        at = (at + 1) & (visited->size - 1);
    }
    visited->states[at] = state;
    visited->used++;
    return true;
}

struct outcome {
    const char *fault;
    size_t states, ends;
    struct tally most; /* of each, on any path */
    unsigned depth;
    uint8_t path[STEPS_MAX];
};

static void remember(struct outcome *outcome, const struct world *world) {
    unsigned *most = outcome->most.of;
    for (unsigned i = 0; i < TALLIES_SEALED; i++) {
        most[i] = world->tally.of[i] > most[i] ? world->tally.of[i] : most[i];
    }
}

struct branch {
    uint8_t steps[STEPS];
    uint8_t count, next;
};

/* Every interleaving, or until the first fault. Adds how it ended to `ends`, or NULL. */
static void walk(const struct scenario *scenario, struct visited *ends, struct outcome *outcome) {
    static struct world world;
    struct visited visited = {0};
    struct branch *branches = calloc(STEPS_MAX, sizeof *branches);
    memset(outcome, 0, sizeof *outcome);
    world_init(&world, scenario);
    unsigned depth = 0;
    for (;;) {
        struct branch *branch = &branches[depth];
        branch->count = branch->next = 0;
        if (world.fault == NULL && visit(&visited, state_of(&world))) {
            branch->count = (uint8_t)steps_of(&world, branch->steps);
            if (branch->count == 0) {
                check_end(&world);
                outcome->ends++;
                if (ends != NULL) {
                    visit(ends, history_of(&world));
                }
            }
        }
        remember(outcome, &world);
        if (world.fault != NULL) {
            outcome->fault = world.fault;
            outcome->depth = depth;
            break;
        }
        if (branch->count == 0) { /* Back to where something is left to try. */
            while (depth > 0 && branches[depth - 1].next == branches[depth - 1].count) {
                depth--;
            }
            if (depth == 0) {
                break;
            }
            depth--;
            world_fini(&world);
            world_init(&world, scenario);
            for (unsigned i = 0; i < depth; i++) {
                take(&world, outcome->path[i]);
            }
            branch = &branches[depth];
        }
        outcome->path[depth] = branch->steps[branch->next++];
        take(&world, outcome->path[depth]);
        depth++;
        cr_assert_lt(depth, STEPS_MAX);
    }
    outcome->states = visited.used;
    world_fini(&world);
    free(visited.states);
    free(branches);
}

/* ---- Telling a fault ---- */

static void tell(const struct scenario *scenario, const struct outcome *outcome) {
    static const char *const messages[] = {"SCHEDULE", "FENCE",  "RUN",   "AGAIN",
                                           "RELEASE",  "CALLED", "UNSEAL"};
    static struct world world;
    world_init(&world, scenario);
    fprintf(stderr, "%s, after:\n", outcome->fault);
    for (unsigned i = 0; i < outcome->depth; i++) {
        unsigned c = outcome->path[i] % CLIENTS_MAX, to = outcome->path[i] / CLIENTS_MAX;
        if (outcome->path[i] == STEP_TICK) {
            fprintf(stderr, "  mortal keys die\n");
        } else if (outcome->path[i] >= STEP_WHEEL) {
            fprintf(stderr, "  key %c is deleted\n", 'a' + outcome->path[i] - STEP_WHEEL);
        } else if (outcome->path[i] >= STEP_CLOCK) {
            fprintf(stderr, "  shard %d looks at the clock\n", outcome->path[i] - STEP_CLOCK);
        } else if (to == 0) {
            fprintf(stderr, "  client %u begins, or draws number %llu\n", c,
                    (unsigned long long)world.numbers + 1);
        } else {
            fprintf(stderr, "  client %u -> shard %u: %s\n", c, to - 1,
                    messages[world.clients[c].links[to - 1].sent[0] / 2]);
        }
        take(&world, outcome->path[i]);
    }
    world_fini(&world);
}

static void assert_sound(const struct scenario *scenario, struct outcome *outcome) {
    walk(scenario, NULL, outcome);
    if (outcome->fault != NULL) {
        tell(scenario, outcome);
    }
    cr_assert_null(outcome->fault);
    cr_assert_gt(outcome->ends, 0);
}

/* ---- All interleavings ---- */

static void add_most(struct tally *sum, const struct tally *most) {
    for (unsigned i = 0; i < TALLIES_SEALED; i++) {
        sum->of[i] += most->of[i];
    }
}

static void assert_all_happened(const struct tally *tally, unsigned tallies) {
    for (unsigned i = 0; i < tallies; i++) {
        cr_assert_gt(tally->of[i], 0u, "tally %u", i);
    }
}

static struct tally assert_all_sound(const struct scenario *scenarios, size_t count,
                                     unsigned tallies) {
    static struct outcome outcome;
    struct tally sum = {0};
    size_t states = 0;
    for (size_t i = 0; i < count; i++) {
        assert_sound(&scenarios[i], &outcome);
        add_most(&sum, &outcome.most);
        states += outcome.states;
    }
    assert_all_happened(&sum, tallies);
    fprintf(stderr, "%zu worlds, %zu states\n", count, states);
    return sum;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

Test(txn, is_sound_over_all_interleavings_of_two_coordinators_and_two_shards) {
    static const struct scenario scenarios[] = {
        {2, 2, PATIENCE, SOUND, {"AB", "AB"}},
        {2, 2, PATIENCE, SOUND, {"AB", "ab"}},
        {2, 2, PATIENCE, SOUND, {"aB", "Ab"}},
        {2, 3, PATIENCE, SOUND, {"AB", "BC", "A b c"}},
        {2, 2, PATIENCE, SOUND, {"AB", "AB", "A b"}},
        {2, 2, PATIENCE, SOUND, {"AB", "ab", "A B"}},
        {2, 2, PATIENCE, SOUND, {"AB", "AB", "A", "b"}},
        {2, 2, PATIENCE, SOUND, {"AB ab", "AB aB"}},
        {2, 2, PATIENCE, SOUND, {"AB A", "B ab"}},
        {2, 4, PATIENCE, SOUND, {"AB", "CD", "abcd"}},
        {2, 4, PATIENCE, SOUND, {"ABcd", "abCD", "AC"}},
        {2, 2, PATIENCE, SOUND, {">AB", "AB", "A b"}},
        {2, 2, PATIENCE, SOUND, {">AB", "?ab", "B A"}},
        {2, 2, PATIENCE, SOUND, {"?ab", "?ab", "A B"}},
        {2, 2, PATIENCE, SOUND, {"!", "AB", "a"}},
        {2, 2, PATIENCE, SOUND, {"!", "*", "B"}},
        {2, 4, PATIENCE, SOUND, {"*", "AB", "C d"}},
        {2, 2, 1, SOUND, {"AB AB", "AB AB", "A"}},
        {2, 2, 1, SOUND, {"AB", "AB", "a b", "B A"}},
        {2, 2, PATIENCE, SOUND, {"<AB", "<AB", "A b"}},
        {2, 2, PATIENCE, SOUND, {"<AB", "<ab", "B A"}},
        {2, 2, PATIENCE, SOUND, {"<aB", "<Ab", "AB"}},
        {2, 2, PATIENCE, SOUND, {"<?ab", "<AB", "A B"}},
        {2, 2, PATIENCE, SOUND, {"<>AB", "<AB", "a b"}},
        {2, 2, 1, SOUND, {"<AB <ab", "<AB", "a b"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios), TALLIES);
}

Test(txn, is_sound_over_all_interleavings_of_three_coordinators) {
    static const struct scenario scenarios[] = {
        {2, 2, 1, SOUND, {"AB", "AB", "AB"}},        {2, 2, 2, SOUND, {"AB", "aB", "Ab"}},
        {2, 2, 1, SOUND, {"AB", "AB", "ab", "A"}},   {2, 2, 1, SOUND, {"!", "AB", "*"}},
        {2, 4, 1, SOUND, {"AB", "CD", "ABCD", "C"}}, {3, 3, 1, SOUND, {"AB", "BC", "CA"}},
        {3, 3, 1, SOUND, {"AB", "BC", "CA", "A"}},   {3, 3, PATIENCE, SOUND, {"ABC", "ABC"}},
        {3, 3, 1, SOUND, {"ABC", "abc", "BC"}},      {2, 2, 1, SOUND, {"<AB", "<AB", "<AB"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios), TALLIES);
}

/* Keys a and b die: on two shards, or with c and d on one. */
Test(txn, keys_that_die_together_are_never_seen_in_part) {
    static const struct scenario scenarios[] = {
        {2, 2, PATIENCE, SOUND, {"?ab", "?ab", "%ab"}},
        {2, 2, PATIENCE, SOUND, {"?ab", "a b a", "%ab"}},
        {2, 2, PATIENCE, SOUND, {"ab", "b a", "%ab"}},
        {2, 2, PATIENCE, SOUND, {">ab", "a", "b", "%ab"}},
        {2, 2, PATIENCE, SOUND, {"<ab", "?ab", "b", "%ab"}},
        {2, 2, PATIENCE, SOUND, {"<?ab", "?ab", "b", "%ab"}},
        {2, 2, PATIENCE, SOUND, {"<?ab", "<>ab", "a", "%ab"}},
        {2, 4, PATIENCE, SOUND, {"<abCD", "?abcd", "a", "%ab"}},
        {2, 4, PATIENCE, SOUND, {">abC", "<abC", "b", "%ab"}},
        {2, 2, 1, SOUND, {"?ab ?ab", "<ab", "%ab"}},
        {3, 3, PATIENCE, SOUND, {"?abc", "c a", "%abc"}},
        {2, 4, PATIENCE, SOUND, {"*", "ac", "?bD", "%abc"}},
    };
    static struct outcome outcome;
    size_t states = 0;
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        assert_sound(&scenarios[i], &outcome);
        states += outcome.states;
    }
    fprintf(stderr, "%zu worlds, %zu states\n", COUNT(scenarios), states);
}

Test(txn, who_waits_for_an_element_has_it_before_who_came_later) {
    static const struct scenario scenarios[] = {
        {2, 2, PATIENCE, SOUND, {"^A", "+A A"}},
        {2, 2, PATIENCE, SOUND, {"^AB", "+A A", "B"}},
        {2, 2, PATIENCE, SOUND, {"^AB", "+A", "AB"}},
        {2, 2, PATIENCE, SOUND, {"<^BA", "AB", "+B"}},
        {2, 2, PATIENCE, SOUND, {"<^AB", "AB", "+A"}},
        {2, 2, PATIENCE, SOUND, {"^AB", "^AB", "+A A"}},
        {2, 2, PATIENCE, SOUND, {"^AB", "^BA", "+AB"}},
        {2, 2, 1, SOUND, {"^AB", "^BA", "+A", "+B"}},
        {2, 2, PATIENCE, SOUND, {"^AB", ">+A", "?ab"}},
        {2, 2, 1, SOUND, {"^A", "^A", "+A A", "!"}},
        {2, 2, 1, SOUND, {"^AB", "+A", "!", "A"}},
        {2, 4, 1, SOUND, {"^AC", "+A", "CD", "A"}},
        {2, 2, 1, SOUND, {"^AB", "+A", "AB", "ab"}},
        {3, 3, 1, SOUND, {"^AB", "^BC", "^CA", "+ABC"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios), TALLIES_ALL);
}

Test(txn, what_was_changed_on_a_sealed_shard_is_seen_when_all_is_done) {
    static const struct scenario scenarios[] = {
        {2, 2, PATIENCE, SOUND, {"@A", "AB"}},
        {2, 2, PATIENCE, SOUND, {"@A", "ab", "B a"}},
        {2, 2, PATIENCE, SOUND, {"@A", "<AB", "A"}},
        {2, 2, PATIENCE, SOUND, {"@A", "<BA", "A"}},
        {2, 2, PATIENCE, SOUND, {"@A", "@B"}},
        {2, 2, 1, SOUND, {"@A", "@B", "AB"}},
        {2, 2, 1, SOUND, {"@A", "@A", "!"}},
        {2, 2, 1, SOUND, {"@/A", "AB", "a"}},
        {2, 2, PATIENCE, SOUND, {"<@/A", "<AB"}},
        {2, 2, PATIENCE, SOUND, {"<@/B", "AB", "A"}},
        {2, 2, PATIENCE, SOUND, {"<@/B", "<@/A"}},
        {2, 2, 1, SOUND, {"@A", "?ab", "AB"}},
        {2, 4, 1, SOUND, {"@A", "CD", "AB"}},
        {2, 2, 1, SOUND, {"@A b", ">AB", "B"}},
        {3, 3, 1, SOUND, {"@A", "BC"}},
        {3, 3, PATIENCE, SOUND, {"@/A", "@/B", "c"}},
        {2, 2, 1, SOUND, {"@A", "^AB", "+A"}},
    };
    struct tally sum = assert_all_sound(scenarios, COUNT(scenarios), TALLIES);
    cr_assert_gt(sum.of[SEALS], 0u);
    cr_assert_gt(sum.of[GIVES_UP], 0u);
}

/* ---- The walk itself ---- */

Test(txn, a_broken_protocol_is_found) {
    static const struct {
        struct scenario scenario;
        const char *fault;
    } rows[] = {
        {{2, 2, PATIENCE, ARRIVAL_ORDER, {"AB", "AB"}}, "deadlock"},
        {{2, 2, PATIENCE, RUNS_WHEN_GRANTED, {"AB", "AB"}}, "no serial order"},
        {{2, 2, PATIENCE, RUNS_WHEN_GRANTED, {"AB", "a b"}}, "no serial order"},
        {{2, 2, PATIENCE, BLIND_SINGLES, {"AB", "a b"}}, "no serial order"},
        {{2, 2, PATIENCE, BLIND_SINGLES, {">AB", "A"}}, "no serial order"},
        {{2, 2, 1, FENCES_IN_DISORDER, {"AB", "AB", "AB"}}, "deadlock"},
        {{2, 2, 1, FENCES_AFTER_NUMBER, {"AB", "AB", "AB"}}, "refused although all fences stood"},
        {{2, 2, PATIENCE, NEVER_FENCES, {"AB", "AB"}}, "refused too often"},
        {{2, 2, PATIENCE, READS_WITHOUT_HOLD, {"?ab", "A B"}}, "no serial order"},
        {{3, 3, PATIENCE, MANY_BEHIND_HOME, {"<ABC", "b c"}}, "no serial order"},
        {{2, 2, PATIENCE, BURIES_HELD, {">ab", "b", "%ab"}}, "half dead"},
        {{2, 2, PATIENCE, BURIES_HELD, {"ab", "a", "%ab"}}, "half dead"},
        {{2, 2, PATIENCE, KEEPS_TIME, {"?ab", "b", "%ab"}}, "half dead"},
        {{2, 2, PATIENCE, KEEPS_TIME, {"<ab", "%ab"}}, "half dead"},
        {{2, 4, PATIENCE, FORGETS_THE_WAIT, {"abcd", "a", "D", "%a"}}, "no serial order"},
        {{2, 2, PATIENCE, FORGETS_THE_WAIT, {"?ab", "a B", "%a"}}, "no serial order"},
        {{2, 2, PATIENCE, FORGETS_THE_WAIT, {"<ab", "a B", "%a"}}, "no serial order"},
        {{2, 2, PATIENCE, STALE_CLOCKS, {"?ab b", "%ab"}}, "no serial order"},
        {{2, 2, PATIENCE, NEVER_CLOSES, {"^AB", "+A A"}}, "taken by who came later"},
        {{2, 2, PATIENCE, SHUTS_OWN_OUT, {"^AB", "+A"}}, "deadlock"},
        {{2, 2, PATIENCE, KEEPS_EARLIER, {"^AB", "AB", "+A"}}, "deadlock"},
        {{2, 2, PATIENCE, AWAITED_BEHIND_HOME, {"<^BA", "AB", "+B"}}, "deadlock"},
        {{2, 2, 1, KEEPS_GRANTED, {"^A", "^A", "+A A", "!"}}, "taken by who came later"},
        {{2, 2, 1, SERVES_LATE, {"^A", "^A", "+A A", "!"}}, "taken by who came later"},
        {{2, 2, PATIENCE, SEES_SEALED, {"@A", "ab"}}, "no serial order"},
        {{2, 2, PATIENCE, SEAL_KEEPS_EARLIER, {"@A", "AB"}}, "deadlock"},
        {{2, 2, PATIENCE, SEALER_BEHIND_HOME, {"<@/B", "AB"}}, "deadlock"},
    };
    static struct outcome outcome;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct scenario scenario = rows[i].scenario;
        walk(&scenario, NULL, &outcome);
        cr_assert_not_null(outcome.fault, "row %zu", i);
        cr_assert_str_eq(outcome.fault, rows[i].fault, "row %zu", i);
        scenario.fault = SOUND;
        assert_sound(&scenario, &outcome);
    }
}

static uint8_t random_step(const struct world *world, struct rng *rng, uint32_t slow) {
    uint8_t steps[STEPS];
    unsigned count = steps_of(world, steps);
    uint8_t step = steps[rng_below(rng, count)];
    for (unsigned i = 0; i < 8 && (slow >> step % 32 & 1); i++) {
        step = steps[rng_below(rng, count)];
    }
    return step;
}

/* Until no step is possible; some messages and clients are slow for a while. */
static void run_at_random(struct world *world, struct rng *rng, unsigned steps_max) {
    uint32_t slow = 0;
    uint8_t steps[STEPS];
    for (unsigned i = 0; i < steps_max && world->fault == NULL; i++) {
        if (steps_of(world, steps) == 0) {
            return;
        }
        if (rng_below(rng, 16) == 0) {
            slow = (uint32_t)rng_next(rng);
        }
        take(world, random_step(world, rng, slow));
    }
}

/* That states are visited once must not lose any: whatever a random run ends with, the walk has
 * seen. (A poor hash once made it visit a hundredth of them, and all was sound.) */
Test(txn, the_walk_sees_every_end_that_random_runs_see) {
    static const struct scenario scenarios[] = {
        {2, 2, PATIENCE, SOUND, {"AB", "AB", "A b"}}, {2, 2, 1, SOUND, {">AB", "?ab", "! b"}},
        {2, 2, 1, SOUND, {"<AB", "<aB", "a"}},        {3, 3, 1, SOUND, {"AB", "BC", "CA"}},
        {2, 2, 1, SOUND, {"@A", "AB", "b"}},
    };
    static struct outcome outcome;
    static struct world world;
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        struct visited ends = {0};
        walk(&scenarios[i], &ends, &outcome);
        cr_assert_null(outcome.fault);
        struct rng rng;
        rng_seed(&rng, i);
        for (unsigned n = 0; n < 20000; n++) {
            world_init(&world, &scenarios[i]);
            run_at_random(&world, &rng, STEPS_MAX);
            cr_assert_not(visit(&ends, history_of(&world)));
            world_fini(&world);
        }
        free(ends.states);
    }
}

/* ---- At random ---- */

#define TEXT_MAX 128

static void random_op(struct rng *rng, const struct scenario *scenario, char *text) {
    size_t used = 0;
    unsigned kind = (unsigned)rng_below(rng, 26);
    if (kind <= 1) {
        strcpy(text, kind ? "!" : "*");
        return;
    }
    if (kind <= 5) {
        text[used++] = kind <= 3 ? '^' : '+';
        text[used++] = (char)('A' + rng_below(rng, scenario->keys));
    }
    if (kind >= 24) {
        sprintf(text, kind == 24 ? "<@%c" : "@/%c", 'A' + (char)rng_below(rng, scenario->keys));
        return;
    }
    bool reader = kind >= 18;
    if (rng_below(rng, 2)) {
        text[used++] = '<';
    }
    if (kind >= 16) {
        text[used++] = reader ? '?' : '>';
    }
    unsigned count = 1 + (unsigned)rng_below(rng, kind < 10 ? 2 : 4);
    for (unsigned i = 0; i < count; i++) {
        char key = (char)('a' + rng_below(rng, scenario->keys));
        text[used++] = (char)(!reader && rng_below(rng, 2) ? toupper(key) : key);
    }
    text[used] = 0;
}

static void random_scenario(struct rng *rng, struct scenario *scenario,
                            char texts[CLIENTS_MAX][TEXT_MAX]) {
    memset(scenario, 0, sizeof *scenario);
    scenario->shards = 2 + (unsigned)rng_below(rng, SHARDS_MAX - 1);
    scenario->keys = scenario->shards + (unsigned)rng_below(rng, KEYS_MAX - scenario->shards + 1);
    scenario->patience = 1 + (unsigned)rng_below(rng, PATIENCE);
    unsigned clients = 2 + (unsigned)rng_below(rng, CLIENTS_MAX - 1);
    for (unsigned c = 0; c < clients; c++) {
        unsigned ops = 1 + (unsigned)rng_below(rng, OPS_MAX / CLIENTS_MAX);
        size_t used = 0;
        for (unsigned i = 0; i < ops; i++) {
            used += i > 0;
            random_op(rng, scenario, &texts[c][used]);
            used += strlen(&texts[c][used]);
            texts[c][used] = i + 1 < ops ? ' ' : 0;
        }
        scenario->clients[c] = texts[c];
    }
}

Test(txn, is_sound_at_random_with_more_of_everything) {
    static struct world world;
    struct tally sum = {0};
    for (uint64_t seed = 0; seed < 5000; seed++) {
        struct rng rng;
        struct scenario scenario;
        char texts[CLIENTS_MAX][TEXT_MAX];
        rng_seed(&rng, seed);
        random_scenario(&rng, &scenario, texts);
        world_init(&world, &scenario);
        run_at_random(&world, &rng, 100000);
        check_end(&world);
        if (world.fault != NULL) {
            fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, world.fault);
        }
        cr_assert_null(world.fault);
        add_most(&sum, &world.tally);
        world_fini(&world);
    }
    assert_all_happened(&sum, GIVES_WAY); /* which is rare: the walk sees it */
}

/* Nobody starves: clients that repeat their operation for ever on the same keys. */
Test(txn, everybody_gets_on_under_permanent_conflict) {
    static const struct scenario scenarios[] = {
        {2, 2, PATIENCE, SOUND, {"<AB", "<AB", "AB", "AB", "A", "b"}},
        {4, 8, PATIENCE, SOUND, {"ABCDEFGH", "AB", "BC", "CD", "DA", "A"}},
        {4, 8, PATIENCE, SOUND, {"!", "*", "<AB", "?abcd", "A", "C"}},
        {3, 3, PATIENCE, SOUND, {"ABC", "ab", "bc", "?ca", "a", "?abc"}},
    };
    static struct world world;
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        struct rng rng;
        rng_seed(&rng, i);
        world_init(&world, &scenarios[i]);
        world.endless = true;
        run_at_random(&world, &rng, 400000);
        cr_assert_null(world.fault);
        for (unsigned c = 0; c < world.clients_count; c++) {
            cr_assert_lt(world.clients[c].gap, 1000u, "world %zu, client %u", i, c);
            cr_assert_gt(world.clients[c].end, world.ends - 1000, "world %zu, client %u", i, c);
        }
        world_fini(&world);
    }
}
