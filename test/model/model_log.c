/* SPDX-License-Identifier: BSD-3-Clause */
/* The one order of a log that lies in several files (docs/durability.md): numbers, seals, marks,
 * the watermark and recovery, with all that is in blocks reduced to who wrote which key.
 *
 * A world has shards with a key or more, and clients that run operations one after the other. Each
 * shard's thread turns: it takes inputs (requests, messages), seals its block, publishes replies
 * and messages. Draws of numbers, words that say on what a shard stands, reads of such words,
 * writes and fsyncs are steps of their own. A small world is walked through every interleaving;
 * larger ones run at random. In every state that is reached the machine crashes: each file keeps
 * any prefix of blocks that the disk may have kept, and recovery takes what it takes.
 *
 * What recovery took must hold all that was acknowledged (where the mode promises that), must hold
 * with each operation all those whose values it read, all those that had ended when it began and
 * all that came before on its keys, and a transaction on all of its shards or on none. Numbers
 * must agree with what came first. At the end everybody has been answered.
 *
 * The same walk must find a fault in each of several broken protocols.
 *
 * One file, because steps, crashes, judge and broken protocols all work on the one state.
 */
#include "base/hash.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX  3
#define CLIENTS_MAX 4
#define KEYS_MAX    6
#define OPS_MAX     24
#define RECORDS_MAX 48 /* of one shard */
#define BLOCKS_MAX  32
#define STEPS_MAX   2000
#define NOTHING     255 /* what an idle shard stands on */
#define NO_KEY      255

/* Ways to break the protocol. */
enum fault {
    SOUND,
    NUMBER_AFTER_REPLY,    /* a turn is published before its block is sealed */
    GRANT_BEFORE_SEAL,     /* only its messages are: a grant overtakes what came before it */
    GRANT_AT_HOME_AT_ONCE, /* home's own grant counts before its turn's seal */
    GRANT_IN_ONE_HOP,      /* who grants last and runs draws the number before what came before */
    PART_WITHOUT_NUMBER,   /* one part goes under its block's own number */
    NO_BOUND,              /* a shard that stands on nothing draws before it says so */
    IDLE_PINS,             /* an idle shard goes on to stand on its last number */
    ONE_READING,           /* words are read once: a transaction is handed over behind the reader */
    COUNTER_READ_LAST,     /* numbers drawn while words are read count as seen */
    LETS_GO_WHEN_SENT,     /* the coordinator does not wait for the parts */
    DRAWER_LETS_GO,        /* who drew in one hop does not wait until the coordinator knows */
    REPLY_BEFORE_WRITE,    /* a block is safe when it was submitted */
    SAFE_OUT_OF_ORDER,     /* a block is safe though one before it in the file is not */
    FAILED_IS_SAFE,        /* a failed write counts as done */
    READS_DO_NOT_WAIT,     /* replies of reads carry no mark */
    NO_VOID,               /* the number of a transaction that was given up is left out */
    PARTICIPANT_IGNORED,   /* recovery does not count parts */
    GAPS_IGNORED,          /* recovery takes each file as far as it goes */
    CUT_BY_BYTES,          /* a file ends at the first record that is dropped */
};

/* The operations of each client, by blanks: a letter is a key, a capital one that is changed. Key n
 * lies on shard n % shards, client n is at home on shard n % shards. Keys of several shards make a
 * transaction: it asks shard after shard, the lowest first. "<" in front: home first, and the only
 * other one draws the number and runs when it grants. "~" in front: it is given up when its number
 * is drawn. */
struct scenario {
    unsigned shards;
    unsigned keys;
    bool synced;  /* a reply waits for the fsync (always), and a crash is a power cut */
    bool slow;    /* words are read one by one */
    bool failing; /* one write fails */
    enum fault fault;
    const char *clients[CLIENTS_MAX];
};

enum use { NOT_USED, READ, CHANGED };
enum status { NOT_BEGUN, BEGUN, ACKNOWLEDGED, UNKNOWN };

struct op {
    uint8_t client, shards, uses[KEYS_MAX];
    bool one_hop, given_up, writes;
    uint8_t status;
    uint8_t number;
    uint8_t reads[KEYS_MAX]; /* who wrote what it read: an operation's index plus 1, or 0 */
    uint32_t before;         /* the operations that had been acknowledged when it began */
};

struct record {
    uint8_t op, key; /* NO_KEY: a part without a change, or a void number */
    uint8_t number;  /* 0: its block's, not drawn yet */
    uint8_t parts;   /* 1: the block's; 0: the number is void */
};

enum block_state { SUBMITTED, FAILED, WRITTEN, SYNCED };

struct shard {
    bool open, touched, bounded;
    uint8_t bound, word, last;
    uint8_t held[KEYS_MAX]; /* by which client's transaction, plus 1 */
    uint8_t records_count, blocks_count;
    struct record records[RECORDS_MAX];
    uint8_t ends[BLOCKS_MAX], states[BLOCKS_MAX];
};

enum message { BATCH, ASK, ASK_AND_RUN, RUN };
enum place { NOWHERE, LEAVES_HOME, TO_SHARD, LEAVES_SHARD, TO_HOME };

struct client {
    uint8_t next, end; /* of its operations */
    bool busy, replied, gone;
    uint8_t granted, home_parts; /* sets of shards */
    bool granted_now;            /* home's grant is of this turn */
    bool stands;                 /* as coordinator, on the number */
    bool pinned;                 /* who drew it in one hop does */
    uint8_t mark;
    uint8_t message[SHARDS_MAX], place[SHARDS_MAX];
    /* Reading the words. */
    bool changed; /* there is something new to be read */
    uint8_t reading, seen, least;
    uint8_t safe; /* what came of it last */
};

struct world {
    const struct scenario *scenario;
    const char *fault;
    uint8_t drawn, clients_count, ops_count;
    bool failed;
    struct op ops[OPS_MAX];
    struct client clients[CLIENTS_MAX];
    struct shard shards[SHARDS_MAX];
    uint8_t order[KEYS_MAX][OPS_MAX], order_count[KEYS_MAX]; /* who changed it, plus 1 */
    uint8_t values[KEYS_MAX];
};

static void found(struct world *world, const char *fault) {
    if (world->fault == NULL) {
        world->fault = fault;
    }
}

static bool broken(const struct world *world, enum fault fault) {
    return world->scenario->fault == fault;
}

static unsigned home_of(const struct world *world, unsigned client) {
    return client % world->scenario->shards;
}

static unsigned shard_of(const struct world *world, unsigned key) {
    return key % world->scenario->shards;
}

static bool is_transaction(const struct op *op) {
    return (op->shards & (op->shards - 1)) != 0;
}

static struct op *op_of(struct world *world, unsigned client) {
    return &world->ops[world->clients[client].next];
}

static const struct op *op_seen(const struct world *world, unsigned client) {
    return &world->ops[world->clients[client].next];
}

/* ---- Making a world ---- */

static void parse_op(struct world *world, unsigned client, const char *text, size_t length) {
    struct op *op = &world->ops[world->ops_count++];
    op->client = (uint8_t)client;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        op->one_hop |= c == '<';
        op->given_up |= c == '~';
        if (isalpha((unsigned char)c)) {
            unsigned key = (unsigned)tolower((unsigned char)c) - 'a';
            bool changed = isupper((unsigned char)c) || op->uses[key] == CHANGED;
            op->uses[key] = changed ? CHANGED : READ;
            op->writes |= changed;
            op->shards |= (uint8_t)(1u << shard_of(world, key));
        }
    }
    op->given_up &= is_transaction(op);
}

static void world_init(struct world *world, const struct scenario *scenario) {
    memset(world, 0, sizeof *world);
    world->scenario = scenario;
    for (unsigned c = 0; c < CLIENTS_MAX && scenario->clients[c] != NULL; c++) {
        struct client *client = &world->clients[world->clients_count++];
        client->next = world->ops_count;
        for (const char *text = scenario->clients[c]; *text;) {
            size_t length = strcspn(text, " ");
            parse_op(world, c, text, length);
            text += length + (text[length] == ' ');
        }
        client->end = world->ops_count;
    }
    for (unsigned s = 0; s < scenario->shards; s++) {
        world->shards[s].open = true;
        world->shards[s].word = NOTHING;
    }
}

/* ---- Words and the watermark ---- */

static bool block_safe(const struct world *world, unsigned s, unsigned block) {
    enum block_state needed = world->scenario->synced ? SYNCED : WRITTEN;
    enum block_state state = world->shards[s].states[block];
    return state >= needed || broken(world, REPLY_BEFORE_WRITE) ||
           (state == FAILED && broken(world, FAILED_IS_SAFE));
}

/* The first record of a shard that is not safe, or will be in the block that is open. With
 * SAFE_OUT_OF_ORDER blocks behind it may be passed too. */
static uint8_t stands_on(const struct world *world, unsigned s) {
    const struct shard *shard = &world->shards[s];
    uint8_t least = NOTHING;
    bool safe = true;
    unsigned block = 0;
    for (unsigned i = 0; i < shard->records_count; i++) {
        while (block < shard->blocks_count && i >= shard->ends[block]) {
            block++;
        }
        bool here = block < shard->blocks_count && block_safe(world, s, block);
        safe = broken(world, SAFE_OUT_OF_ORDER) ? here : safe && here;
        uint8_t number = shard->records[i].number;
        if (!safe && number != 0 && number < least) {
            least = number;
        }
    }
    if (least == NOTHING && broken(world, IDLE_PINS) && shard->last != 0) {
        least = shard->last;
    }
    for (unsigned c = 0; c < world->clients_count; c++) {
        const struct client *client = &world->clients[c];
        const struct op *op = op_seen(world, c);
        bool coordinates = client->stands && home_of(world, c) == s;
        bool drew = client->pinned && home_of(world, c) != s && (op->shards & 1u << s);
        if (client->busy && (coordinates || drew) && op->number < least) {
            least = op->number;
        }
    }
    return shard->bounded && shard->bound < least ? shard->bound : least;
}

static void news(struct world *world) {
    for (unsigned c = 0; c < world->clients_count; c++) {
        world->clients[c].changed = true;
    }
}

static void publish_word(struct world *world, unsigned s) {
    uint8_t word = stands_on(world, s);
    if (word != world->shards[s].word) {
        world->shards[s].word = word;
        news(world);
    }
}

/* Before a number is drawn: it will not be smaller than that. */
static void take_bound(struct world *world, unsigned s) {
    struct shard *shard = &world->shards[s];
    shard->bounded = true;
    shard->bound = (uint8_t)(world->drawn + 1);
    publish_word(world, s);
}

static uint8_t draw(struct world *world) {
    news(world);
    return ++world->drawn;
}

static void acknowledge(struct world *world, unsigned c, uint8_t status) {
    struct client *client = &world->clients[c];
    struct op *op = op_of(world, c);
    op->status = status;
    client->next++;
    client->busy = client->replied = client->changed = false;
    client->granted = client->home_parts = client->mark = 0;
    client->reading = client->seen = client->least = 0;
    memset(client->message, 0, sizeof client->message);
    client->gone = status == UNKNOWN;
}

static unsigned readings(const struct world *world) {
    return world->scenario->shards * (broken(world, ONE_READING) ? 1 : 2);
}

/* The counter first, then all words twice: a number that was drawn before has somebody stand on it
 * until it is safe; who hands it over does so once at most, and not before the other stands. */
static void take_look(struct world *world, unsigned c) {
    struct client *client = &world->clients[c];
    unsigned shards = world->scenario->shards;
    if (client->reading == 0) {
        client->seen = world->drawn;
        client->least = NOTHING;
        client->changed = false;
    } else {
        uint8_t word = world->shards[(client->reading - 1u) % shards].word;
        client->least = word < client->least ? word : client->least;
    }
    if (client->reading++ < readings(world)) {
        return;
    }
    client->reading = 0;
    uint8_t seen = broken(world, COUNTER_READ_LAST) ? world->drawn : client->seen;
    client->safe = client->least <= seen ? (uint8_t)(client->least - 1) : seen;
}

static uint8_t watermark(const struct world *world) {
    uint8_t safe = world->drawn;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        uint8_t word = world->shards[s].word;
        safe = word <= safe ? (uint8_t)(word - 1) : safe;
    }
    return safe;
}

/* What it waits for will never be safe. */
static bool is_doomed(const struct world *world, const struct client *client) {
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        const struct shard *shard = &world->shards[s];
        if (memchr(shard->states, FAILED, shard->blocks_count) != NULL &&
            client->mark >= shard->word) {
            return true;
        }
    }
    return false;
}

/* ---- What a shard does ---- */

static bool has_unnumbered(const struct shard *shard) {
    unsigned first = shard->blocks_count ? shard->ends[shard->blocks_count - 1] : 0;
    for (unsigned i = first; i < shard->records_count; i++) {
        if (shard->records[i].number == 0) {
            return true;
        }
    }
    return false;
}

static void number_records(struct world *world, unsigned s) {
    struct shard *shard = &world->shards[s];
    if (!has_unnumbered(shard)) {
        return;
    }
    uint8_t number = draw(world);
    for (unsigned i = 0; i < shard->records_count; i++) {
        struct record *record = &shard->records[i];
        if (record->number == 0) {
            record->number = number;
            if (world->ops[record->op].number == 0) {
                world->ops[record->op].number = number;
            }
        }
    }
}

static void add_record(struct world *world, unsigned s, unsigned op, uint8_t key, uint8_t number,
                       uint8_t parts) {
    struct shard *shard = &world->shards[s];
    cr_assert_lt(shard->records_count, RECORDS_MAX);
    shard->records[shard->records_count++] =
        (struct record){.op = (uint8_t)op, .key = key, .number = number, .parts = parts};
}

/* What the current operation of a client does on a shard. */
static void run_op(struct world *world, unsigned c, unsigned s) {
    struct op *op = op_of(world, c);
    unsigned index = world->clients[c].next;
    uint8_t parts = is_transaction(op) ? (uint8_t)__builtin_popcount(op->shards) : 1;
    uint8_t number = op->number;
    if (broken(world, PART_WITHOUT_NUMBER) && is_transaction(op) && s == 1) {
        parts = 1;
        number = 0;
    }
    bool changed = false;
    for (uint8_t key = 0; key < world->scenario->keys; key++) {
        if (op->uses[key] == NOT_USED || shard_of(world, key) != s) {
            continue;
        }
        op->reads[key] = world->values[key];
        if (op->uses[key] == CHANGED) {
            changed = true;
            world->values[key] = (uint8_t)(index + 1);
            world->order[key][world->order_count[key]++] = (uint8_t)(index + 1);
            add_record(world, s, index, key, number, parts);
        }
    }
    if (is_transaction(op) && op->writes && !changed) {
        add_record(world, s, index, NO_KEY, number, parts);
    }
}

static void hold(struct world *world, unsigned c, unsigned s, bool held) {
    const struct op *op = op_of(world, c);
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        if (op->uses[key] != NOT_USED && shard_of(world, key) == s) {
            world->shards[s].held[key] = held ? (uint8_t)(c + 1) : 0;
        }
    }
}

static bool is_free(const struct world *world, unsigned c, unsigned s) {
    const struct op *op = op_seen(world, c);
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        if (op->uses[key] != NOT_USED && shard_of(world, key) == s &&
            world->shards[s].held[key] != 0) {
            return false;
        }
    }
    return true;
}

static void send(struct client *client, unsigned s, enum message message, enum place place) {
    client->message[s] = (uint8_t)message;
    client->place[s] = (uint8_t)place;
}

/* ---- Coordinators ---- */

static unsigned next_to_ask(const struct world *world, unsigned c) {
    const struct op *op = op_seen(world, c);
    unsigned left = op->shards & ~(unsigned)world->clients[c].granted;
    unsigned home = home_of(world, c);
    return op->one_hop && (left & 1u << home) ? home : (unsigned)__builtin_ctz(left);
}

static void ask_next(struct world *world, unsigned c) {
    struct client *client = &world->clients[c];
    const struct op *op = op_of(world, c);
    unsigned s = next_to_ask(world, c), home = home_of(world, c);
    bool last =
        op->one_hop && client->granted == 1u << home && (client->granted | 1u << s) == op->shards;
    send(client, s, last ? ASK_AND_RUN : ASK, s == home ? TO_SHARD : LEAVES_HOME);
}

static void reply(struct world *world, unsigned c) {
    struct client *client = &world->clients[c];
    const struct op *op = op_of(world, c);
    client->mark = op->number > client->mark ? op->number : client->mark;
    if (!op->writes && broken(world, READS_DO_NOT_WAIT)) {
        client->mark = 0;
    }
    client->replied = true;
    client->changed = true;
}

/* A part is home. */
static void come_home(struct world *world, unsigned c, unsigned s) {
    struct client *client = &world->clients[c];
    unsigned home = home_of(world, c);
    client->home_parts |= (uint8_t)(1u << s);
    if (client->home_parts == (op_of(world, c)->shards | 1u << home)) {
        client->stands = false;
        publish_word(world, home);
        reply(world, c);
    }
}

/* Home's own part: its mark is known when its turn is sealed. */
static void run_at_home(struct world *world, unsigned c) {
    unsigned home = home_of(world, c);
    const struct op *op = op_of(world, c);
    struct client *client = &world->clients[c];
    if (op->given_up) {
        if (!broken(world, NO_VOID)) {
            add_record(world, home, client->next, NO_KEY, op->number, 0);
        }
    } else if (op->shards & 1u << home) {
        run_op(world, c, home);
    }
    hold(world, c, home, false);
    send(client, home, RUN, LEAVES_SHARD);
}

static void have_all_locks(struct world *world, unsigned c) {
    struct client *client = &world->clients[c];
    struct op *op = op_of(world, c);
    unsigned home = home_of(world, c);
    if (op->writes) {
        if (client->granted_now && !broken(world, GRANT_AT_HOME_AT_ONCE)) {
            number_records(world, home);
        }
        op->number = draw(world);
        client->stands = !broken(world, LETS_GO_WHEN_SENT);
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        if (s != home && (op->shards & 1u << s)) {
            send(client, s, RUN, LEAVES_HOME);
        }
    }
    run_at_home(world, c);
}

static void learn(struct world *world, unsigned c, unsigned s) {
    struct client *client = &world->clients[c];
    client->granted |= (uint8_t)(1u << s);
    client->place[s] = NOWHERE;
    if (client->granted == op_of(world, c)->shards) {
        have_all_locks(world, c);
    } else {
        ask_next(world, c);
    }
}

/* ---- Steps ---- */

static void take_begin(struct world *world, unsigned c) {
    struct client *client = &world->clients[c];
    struct op *op = op_of(world, c);
    unsigned home = home_of(world, c);
    client->busy = true;
    op->status = BEGUN;
    for (unsigned i = 0; i < world->ops_count; i++) {
        op->before |= world->ops[i].status == ACKNOWLEDGED ? 1u << i : 0;
    }
    world->shards[home].touched = true;
    if (is_transaction(op)) {
        ask_next(world, c);
    } else {
        unsigned s = (unsigned)__builtin_ctz(op->shards);
        send(client, s, BATCH, s == home ? TO_SHARD : LEAVES_HOME);
    }
}

/* A shard takes what a client's home has asked of it. */
static void take_input(struct world *world, unsigned c, unsigned s) {
    struct client *client = &world->clients[c];
    struct op *op = op_of(world, c);
    bool at_home = s == home_of(world, c);
    world->shards[s].touched = true;
    client->place[s] = LEAVES_SHARD;
    switch (client->message[s]) {
    case BATCH:
        run_op(world, c, s);
        break;
    case ASK:
        hold(world, c, s, true);
        if (at_home) {
            client->granted_now = true;
            learn(world, c, s);
        }
        break;
    case ASK_AND_RUN:
        if (op->writes) {
            if (!broken(world, GRANT_IN_ONE_HOP)) {
                number_records(world, s);
            }
            op->number = draw(world);
            client->pinned = !broken(world, DRAWER_LETS_GO);
        }
        if (!op->given_up) {
            run_op(world, c, s);
        }
        break;
    case RUN:
        if (!op->given_up) {
            run_op(world, c, s);
        }
        hold(world, c, s, false);
        break;
    }
}

/* Home takes what a shard has answered. */
static void take_answer(struct world *world, unsigned c, unsigned s) {
    struct client *client = &world->clients[c];
    unsigned home = home_of(world, c);
    world->shards[home].touched = true;
    client->place[s] = NOWHERE;
    switch (client->message[s]) {
    case BATCH:
        reply(world, c);
        break;
    case ASK:
        learn(world, c, s);
        break;
    case ASK_AND_RUN:
        client->stands = op_of(world, c)->writes;
        publish_word(world, home);
        client->pinned = false; /* which the other is told of */
        run_at_home(world, c);
        come_home(world, c, s);
        break;
    case RUN:
        come_home(world, c, s);
        break;
    }
}

/* It leaves before its turn is sealed. */
static bool overtakes(const struct world *world, unsigned c, unsigned s) {
    const struct client *client = &world->clients[c];
    return client->place[s] == LEAVES_SHARD && world->shards[s].open &&
           (broken(world, NUMBER_AFTER_REPLY) ||
            (broken(world, GRANT_BEFORE_SEAL) && client->message[s] == ASK));
}

/* Everything of the turn leaves; or only what must not, before the seal. */
static void leave(struct world *world, unsigned s, bool before_seal) {
    struct shard *shard = &world->shards[s];
    for (unsigned c = 0; c < world->clients_count; c++) {
        struct client *client = &world->clients[c];
        bool at_home = home_of(world, c) == s;
        if (client->place[s] == LEAVES_SHARD && (!before_seal || overtakes(world, c, s))) {
            client->mark = shard->last > client->mark ? shard->last : client->mark;
            client->place[s] = at_home ? NOWHERE : TO_HOME;
            if (at_home && client->message[s] == BATCH) {
                reply(world, c);
            } else if (at_home) {
                come_home(world, c, s);
            }
        }
        for (unsigned to = 0; at_home && !before_seal && to < world->scenario->shards; to++) {
            if (client->place[to] == LEAVES_HOME) {
                client->place[to] = TO_SHARD;
            }
        }
        client->granted_now &= !at_home || before_seal;
    }
}

static void take_seal(struct world *world, unsigned s) {
    struct shard *shard = &world->shards[s];
    number_records(world, s);
    unsigned first = shard->blocks_count ? shard->ends[shard->blocks_count - 1] : 0;
    for (unsigned i = first; i < shard->records_count; i++) {
        uint8_t number = shard->records[i].number;
        shard->last = number > shard->last ? number : shard->last;
    }
    if (shard->records_count > first) {
        cr_assert_lt(shard->blocks_count, BLOCKS_MAX);
        shard->states[shard->blocks_count] = SUBMITTED;
        shard->ends[shard->blocks_count++] = shard->records_count;
    }
    shard->open = false;
}

static void take_publish(struct world *world, unsigned s) {
    struct shard *shard = &world->shards[s];
    shard->bounded = false;
    publish_word(world, s);
    leave(world, s, false);
    shard->open = true;
    shard->touched = false;
}

static void take_write(struct world *world, unsigned s, unsigned block, enum block_state state) {
    world->failed |= state == FAILED;
    world->shards[s].states[block] = (uint8_t)state;
    publish_word(world, s);
}

static unsigned written_blocks(const struct shard *shard, enum block_state state) {
    unsigned count = 0;
    while (count < shard->blocks_count && shard->states[count] >= state) {
        count++;
    }
    return count;
}

static void take_sync(struct world *world, unsigned s) {
    struct shard *shard = &world->shards[s];
    unsigned count = written_blocks(shard, WRITTEN);
    memset(shard->states, SYNCED, count);
    publish_word(world, s);
}

enum verb {
    BEGIN,
    INPUT,
    ANSWER,
    BOUND,
    SEAL,
    PUBLISH,
    WRITE,
    FAIL,
    SYNC,
    LOOK,
    REPLY,
    ERROR,
    REFRESH,
    OVERTAKE
};

struct step {
    uint8_t verb, a, b;
};

static void take(struct world *world, struct step step) {
    switch ((enum verb)step.verb) {
    case BEGIN:
        take_begin(world, step.a);
        break;
    case INPUT:
        take_input(world, step.a, step.b);
        break;
    case ANSWER:
        take_answer(world, step.a, step.b);
        break;
    case BOUND:
        take_bound(world, step.a);
        break;
    case SEAL:
        take_seal(world, step.a);
        break;
    case PUBLISH:
        take_publish(world, step.a);
        break;
    case WRITE:
        take_write(world, step.a, step.b, WRITTEN);
        break;
    case FAIL:
        take_write(world, step.a, step.b, FAILED);
        break;
    case SYNC:
        take_sync(world, step.a);
        break;
    case LOOK:
        take_look(world, step.a);
        break;
    case REPLY:
        acknowledge(world, step.a, ACKNOWLEDGED);
        break;
    case ERROR:
        acknowledge(world, step.a, UNKNOWN);
        break;
    case REFRESH:
        publish_word(world, step.a);
        break;
    case OVERTAKE:
        leave(world, step.a, true);
        break;
    }
}

/* ---- Which steps are possible ---- */

#define CHOICES_MAX 64

struct choices {
    struct step of[CHOICES_MAX];
    unsigned count;
};

static void choose(struct choices *choices, enum verb verb, unsigned a, unsigned b) {
    cr_assert_lt(choices->count, CHOICES_MAX);
    choices->of[choices->count++] =
        (struct step){.verb = (uint8_t)verb, .a = (uint8_t)a, .b = (uint8_t)b};
}

/* One that draws a number: the shard has to say so before. */
static void choose_bound(const struct world *world, struct choices *choices, unsigned s, bool draws,
                         struct step step) {
    if (draws && !world->shards[s].bounded && !broken(world, NO_BOUND)) {
        for (unsigned i = 0; i < choices->count; i++) {
            if (choices->of[i].verb == BOUND && choices->of[i].a == s) {
                return;
            }
        }
        choose(choices, BOUND, s, 0);
    } else {
        choose(choices, (enum verb)step.verb, step.a, step.b);
    }
}

static void choose_of_client(const struct world *world, struct choices *choices, unsigned c) {
    const struct client *client = &world->clients[c];
    const struct op *op = op_seen(world, c);
    unsigned home = home_of(world, c);
    bool at_home = world->shards[home].open;
    if (!client->busy) {
        if (client->next < client->end && !client->gone && at_home) {
            choose(choices, BEGIN, c, 0);
        }
        return;
    }
    bool slow = world->scenario->slow;
    if (client->replied && client->mark <= (slow ? client->safe : watermark(world))) {
        choose(choices, REPLY, c, 0);
        return;
    }
    if (client->replied && is_doomed(world, client)) {
        choose(choices, ERROR, c, 0);
    }
    if (slow && (client->changed || client->reading)) {
        choose(choices, LOOK, c, 0);
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        struct step input = {INPUT, (uint8_t)c, (uint8_t)s};
        struct step answer = {ANSWER, (uint8_t)c, (uint8_t)s};
        bool last = (client->granted | 1u << s) == op->shards;
        enum message message = client->message[s];
        if (client->place[s] == TO_SHARD && world->shards[s].open &&
            (message == RUN || is_free(world, c, s))) {
            bool draws =
                op->writes && (message == ASK_AND_RUN || (message == ASK && s == home && last));
            choose_bound(world, choices, s, draws, input);
        }
        if (client->place[s] == TO_HOME && at_home) {
            choose_bound(world, choices, home, op->writes && message == ASK && last, answer);
        }
    }
}

static void choose_of_shard(const struct world *world, struct choices *choices, unsigned s) {
    const struct shard *shard = &world->shards[s];
    for (unsigned c = 0; c < world->clients_count; c++) {
        if (overtakes(world, c, s)) {
            choose(choices, OVERTAKE, s, 0);
            break;
        }
    }
    if (!shard->open) {
        choose(choices, PUBLISH, s, 0);
    } else if (shard->touched) {
        choose_bound(world, choices, s, has_unnumbered(shard), (struct step){SEAL, (uint8_t)s, 0});
    }
    if (stands_on(world, s) > shard->word) { /* a coordinator has taken over */
        choose(choices, REFRESH, s, 0);
    }
    for (unsigned block = 0; block < shard->blocks_count; block++) {
        if (shard->states[block] == SUBMITTED) {
            choose(choices, WRITE, s, block);
            if (world->scenario->failing && !world->failed) {
                choose(choices, FAIL, s, block);
            }
        }
    }
    if (world->scenario->synced && written_blocks(shard, WRITTEN) > written_blocks(shard, SYNCED)) {
        choose(choices, SYNC, s, 0);
    }
}

static void choices_of(const struct world *world, struct choices *choices) {
    choices->count = 0;
    for (unsigned c = 0; c < world->clients_count; c++) {
        choose_of_client(world, choices, c);
    }
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        choose_of_shard(world, choices, s);
    }
}

/* ---- Recovery ---- */

/* What is left of the files: as many records of each. */
struct disk {
    uint8_t records[SHARDS_MAX];
};

static bool is_answered(const struct world *world, const struct disk *disk, uint8_t number) {
    unsigned parts = 0, found_on = 0;
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        for (unsigned i = 0; i < disk->records[s]; i++) {
            const struct record *record = &world->shards[s].records[i];
            if (record->number == number) {
                parts = record->parts;
                found_on |= 1u << s;
            }
        }
    }
    unsigned count = (unsigned)__builtin_popcount(found_on);
    return count > 0 && (count >= parts || broken(world, PARTICIPANT_IGNORED));
}

static uint8_t valid_prefix(const struct world *world, const struct disk *disk) {
    uint8_t last = 0;
    while (last < world->drawn &&
           (is_answered(world, disk, (uint8_t)(last + 1)) || broken(world, GAPS_IGNORED))) {
        last++;
    }
    return last;
}

struct recovered {
    uint8_t keys[OPS_MAX]; /* of each operation: how many of its changes are there */
    uint8_t values[KEYS_MAX];
};

static void recover(const struct world *world, const struct disk *disk, struct recovered *ret) {
    memset(ret, 0, sizeof *ret);
    uint8_t last = valid_prefix(world, disk);
    uint8_t numbers[KEYS_MAX] = {0};
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        for (unsigned i = 0; i < disk->records[s]; i++) {
            const struct record *record = &world->shards[s].records[i];
            if (record->number > last && broken(world, CUT_BY_BYTES)) {
                break;
            }
            if (record->number > last || record->key == NO_KEY) {
                continue;
            }
            ret->keys[record->op]++;
            if (record->number >= numbers[record->key]) {
                numbers[record->key] = record->number;
                ret->values[record->key] = (uint8_t)(record->op + 1);
            }
        }
    }
}

/* ---- The judge ---- */

static bool is_kept(const struct recovered *state, unsigned op) {
    return state->keys[op] > 0;
}

static void check_whole(struct world *world, const struct recovered *state) {
    for (unsigned i = 0; i < world->ops_count; i++) {
        unsigned keys = 0;
        for (unsigned key = 0; key < world->scenario->keys; key++) {
            keys += world->ops[i].uses[key] == CHANGED;
        }
        if (state->keys[i] != 0 && state->keys[i] != keys) {
            found(world, "half a transaction");
        }
    }
}

static void check_reads(struct world *world, const struct recovered *state, const struct op *op,
                        const char *fault) {
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        if (op->reads[key] != 0 && !is_kept(state, op->reads[key] - 1u)) {
            found(world, fault);
        }
    }
}

static void check_causes(struct world *world, const struct recovered *state) {
    for (unsigned i = 0; i < world->ops_count; i++) {
        const struct op *op = &world->ops[i];
        if (!is_kept(state, i)) {
            continue;
        }
        check_reads(world, state, op, "a cause is missing");
        for (unsigned j = 0; j < world->ops_count; j++) {
            if ((op->before & 1u << j) && world->ops[j].writes && !world->ops[j].given_up &&
                !is_kept(state, j)) {
                found(world, "what came before is missing");
            }
        }
    }
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        unsigned count = world->order_count[key], kept = 0;
        while (kept < count && is_kept(state, world->order[key][kept] - 1u)) {
            kept++;
        }
        for (unsigned i = kept; i < count; i++) {
            if (is_kept(state, world->order[key][i] - 1u)) {
                found(world, "a cause is missing");
            }
        }
        if (state->values[key] != (kept ? world->order[key][kept - 1] : 0)) {
            found(world, "an old value");
        }
    }
}

static void check_promise(struct world *world, const struct recovered *state) {
    for (unsigned i = 0; i < world->ops_count; i++) {
        const struct op *op = &world->ops[i];
        if (op->status != ACKNOWLEDGED) {
            continue;
        }
        if (op->writes && !op->given_up && !is_kept(state, i)) {
            found(world, "an acknowledged write is lost");
        }
        check_reads(world, state, op, "what a reply has shown is lost");
    }
}

/* Of each file any number of blocks from `least` on. */
static void crash(struct world *world, const unsigned least[SHARDS_MAX], bool promised) {
    unsigned shards = world->scenario->shards, kept[SHARDS_MAX];
    memcpy(kept, least, sizeof kept);
    for (;;) {
        struct disk disk = {{0}};
        struct recovered state;
        for (unsigned s = 0; s < shards; s++) {
            disk.records[s] = kept[s] ? world->shards[s].ends[kept[s] - 1] : 0;
        }
        recover(world, &disk, &state);
        check_whole(world, &state);
        check_causes(world, &state);
        if (promised) {
            check_promise(world, &state);
        }
        unsigned s = 0;
        while (s < shards && kept[s] == world->shards[s].blocks_count) {
            kept[s] = least[s];
            s++;
        }
        if (s == shards || world->fault != NULL) {
            return;
        }
        kept[s]++;
    }
}

/* always: a power cut; else the process is killed, and the power fails too, which may lose what
 * was acknowledged but nothing from the middle. */
static void crash_all(struct world *world) {
    unsigned least[SHARDS_MAX] = {0}, none[SHARDS_MAX] = {0};
    for (unsigned s = 0; s < world->scenario->shards; s++) {
        least[s] = written_blocks(&world->shards[s], world->scenario->synced ? SYNCED : WRITTEN);
    }
    crash(world, least, true);
    if (!world->scenario->synced && world->fault == NULL) {
        crash(world, none, false);
    }
}

/* Numbers agree with the order on each key and with real time. */
static void check_numbers(struct world *world) {
    for (unsigned key = 0; key < world->scenario->keys; key++) {
        for (unsigned i = 1; i < world->order_count[key]; i++) {
            uint8_t before = world->ops[world->order[key][i - 1] - 1].number;
            uint8_t after = world->ops[world->order[key][i] - 1].number;
            if (after != 0 && (before == 0 || before > after)) {
                found(world, "numbers disagree with a key");
            }
        }
    }
    for (unsigned i = 0; i < world->ops_count; i++) {
        const struct op *op = &world->ops[i];
        for (unsigned j = 0; j < world->ops_count; j++) {
            if ((op->before & 1u << j) && op->number != 0 && world->ops[j].writes &&
                world->ops[j].number >= op->number) {
                found(world, "numbers disagree with time");
            }
        }
    }
}

static void check_end(struct world *world) {
    for (unsigned c = 0; c < world->clients_count; c++) {
        const struct client *client = &world->clients[c];
        if (client->busy || (client->next < client->end && !client->gone)) {
            found(world, "somebody waits for ever");
        }
    }
}

static void judge(struct world *world) {
    check_numbers(world);
    crash_all(world);
}

/* ---- The walk ---- */

struct visited {
    uint64_t *states;
    size_t size, used; /* size is a power of two */
};

static uint64_t hash_of(const void *bytes, size_t count) {
    static unsigned char secret[HASH_SECRET_BYTES];
    if (secret[0] == 0) { /* of even bits, or states would fall together */
        struct rng rng;
        rng_seed(&rng, 1);
        for (unsigned i = 0; i < sizeof secret; i += sizeof(uint64_t)) {
            uint64_t word = rng_next(&rng) | 1;
            memcpy(secret + i, &word, sizeof word);
        }
    }
    return hash_bytes(secret, bytes_make(bytes, count));
}

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
    unsigned depth;
    struct step path[STEPS_MAX];
};

struct branch {
    struct world world; /* before any of its steps */
    struct choices choices;
    unsigned next;
};

static const char *look_at(struct world *world, struct choices *choices, struct outcome *outcome) {
    judge(world);
    choices_of(world, choices);
    if (choices->count == 0) {
        check_end(world);
        outcome->ends++;
    }
    return world->fault;
}

/* Every interleaving, or until the first fault. Adds how it ended to `ends`, or NULL. */
static void walk(const struct scenario *scenario, struct visited *ends, struct outcome *outcome) {
    struct visited visited = {0};
    struct branch *branches = calloc(STEPS_MAX, sizeof *branches);
    memset(outcome, 0, sizeof *outcome);
    world_init(&branches[0].world, scenario);
    unsigned depth = 0;
    look_at(&branches[0].world, &branches[0].choices, outcome);
    for (;;) {
        struct branch *branch = &branches[depth];
        if (branch->next == branch->choices.count) {
            if (depth == 0) {
                break;
            }
            depth--;
            continue;
        }
        struct step step = branch->choices.of[branch->next++];
        struct branch *next = branch + 1;
        next->world = branch->world;
        next->next = next->choices.count = 0;
        take(&next->world, step);
        if (!visit(&visited, hash_of(&next->world, sizeof next->world))) {
            continue;
        }
        outcome->path[depth++] = step;
        cr_assert_lt(depth, STEPS_MAX - 1);
        outcome->fault = look_at(&next->world, &next->choices, outcome);
        if (outcome->fault != NULL) {
            outcome->depth = depth;
            break;
        }
        if (next->choices.count == 0 && ends != NULL) {
            visit(ends, hash_of(&next->world, sizeof next->world));
        }
    }
    outcome->states = visited.used;
    free(visited.states);
    free(branches);
}

/* ---- Telling a fault ---- */

static void tell(const struct scenario *scenario, const char *fault, const struct step *path,
                 unsigned depth) {
    static const char *const verbs[] = {"begins an operation", "input at shard",
                                        "answer of shard",     "bound at shard",
                                        "seal of shard",       "publish of shard",
                                        "write done",          "write fails",
                                        "fsync of shard",      "looks",
                                        "has its reply",       "gets an error",
                                        "new word of shard",   "leaves early"};
    static const char *const messages[] = {"BATCH", "ASK", "ASK AND RUN", "RUN"};
    static struct world world;
    world_init(&world, scenario);
    for (unsigned c = 0; c < world.clients_count; c++) {
        fprintf(stderr, "client %u, at home on %u: %s\n", c, home_of(&world, c),
                scenario->clients[c]);
    }
    fprintf(stderr, "%s, after:\n", fault);
    for (unsigned i = 0; i < depth; i++) {
        struct step step = path[i];
        bool message = step.verb == INPUT || step.verb == ANSWER;
        fprintf(stderr, "  %u %s %u%s%s", step.a, verbs[step.verb], step.b, message ? ": " : "",
                message ? messages[world.clients[step.a].message[step.b]] : "");
        take(&world, step);
        fprintf(stderr, "   (drawn %u, words", world.drawn);
        for (unsigned s = 0; s < scenario->shards; s++) {
            fprintf(stderr, " %u", world.shards[s].word);
        }
        fprintf(stderr, ")\n");
    }
}

static void assert_sound(const struct scenario *scenario, struct outcome *outcome) {
    walk(scenario, NULL, outcome);
    if (outcome->fault != NULL) {
        tell(scenario, outcome->fault, outcome->path, outcome->depth);
    }
    cr_assert_null(outcome->fault);
    cr_assert_gt(outcome->ends, 0);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void assert_all_sound(const struct scenario *scenarios, size_t count) {
    static struct outcome outcome;
    size_t states = 0;
    for (size_t i = 0; i < count; i++) {
        assert_sound(&scenarios[i], &outcome);
        states += outcome.states;
    }
    fprintf(stderr, "%zu worlds, %zu states\n", count, states);
}

/* ---- All interleavings ---- */

#define KILL       false, false, false
#define POWER      true, false, false
#define SLOW       false, true, false
#define SLOW_POWER true, true, false
#define FAILS      false, false, true

Test(log, keeps_its_promise_over_all_interleavings_of_two_shards) {
    static const struct scenario scenarios[] = {
        {2, 2, KILL, SOUND, {"A B", "b A"}},     {2, 2, KILL, SOUND, {"A B", "B A"}},
        {2, 2, KILL, SOUND, {"AB", "B a"}},      {2, 2, KILL, SOUND, {"AB", "Ab"}},
        {2, 2, KILL, SOUND, {"<AB", "B a"}},     {2, 2, KILL, SOUND, {"<AB", "aB"}},
        {2, 2, KILL, SOUND, {"<aB", "b A"}},     {2, 2, KILL, SOUND, {"~AB A", "B"}},
        {2, 2, KILL, SOUND, {"<~AB b", "B"}},    {2, 2, KILL, SOUND, {"aB", "ab B"}},
        {2, 4, KILL, SOUND, {"AB", "CD"}},       {2, 4, KILL, SOUND, {"AB", "CD", "A"}},
        {2, 4, KILL, SOUND, {"<AB", "C", "D"}},  {2, 2, KILL, SOUND, {"AB", "AB", "a"}},
        {2, 2, KILL, SOUND, {"<AB", "AB", "b"}}, {2, 2, KILL, SOUND, {"AB A", "B AB"}},
        {2, 2, POWER, SOUND, {"A b", "B a"}},    {2, 2, POWER, SOUND, {"AB", "B a"}},
        {2, 2, POWER, SOUND, {"AB", "Ab"}},      {2, 2, POWER, SOUND, {"<AB", "B a"}},
        {2, 2, POWER, SOUND, {"<AB", "AB"}},     {2, 2, POWER, SOUND, {"~AB", "B a"}},
        {2, 4, POWER, SOUND, {"AB", "CD"}},      {2, 4, POWER, SOUND, {"<AB", "C", "D"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios));
}

Test(log, keeps_its_promise_while_words_are_read_one_by_one) {
    static const struct scenario scenarios[] = {
        {2, 2, SLOW, SOUND, {"A", "B"}},         {2, 2, SLOW, SOUND, {"A b", "B"}},
        {2, 2, SLOW, SOUND, {"AB", "a"}},        {2, 2, SLOW, SOUND, {"AB", "B"}},
        {2, 2, SLOW, SOUND, {"<AB", "b"}},       {2, 2, SLOW, SOUND, {"<AB", "B"}},
        {2, 2, SLOW, SOUND, {"~AB", "B"}},       {2, 4, SLOW, SOUND, {"AB", "D"}},
        {2, 4, SLOW, SOUND, {"<AB", "D"}},       {2, 2, SLOW_POWER, SOUND, {"AB", "b"}},
        {2, 2, SLOW_POWER, SOUND, {"<AB", "B"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios));
}

Test(log, a_write_that_fails_is_never_acknowledged_and_holds_nobody_up) {
    static const struct scenario scenarios[] = {
        {2, 2, FAILS, SOUND, {"A A", "B a"}}, {2, 2, FAILS, SOUND, {"AB", "B a"}},
        {2, 2, FAILS, SOUND, {"<AB", "B a"}}, {2, 2, FAILS, SOUND, {"~AB", "B a"}},
        {2, 4, FAILS, SOUND, {"AB", "CD"}},   {2, 4, FAILS, SOUND, {"AB", "C", "D"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios));
}

Test(log, keeps_its_promise_over_all_interleavings_of_three_shards) {
    static const struct scenario scenarios[] = {
        {3, 3, KILL, SOUND, {"ABC", "B"}},
        {3, 3, KILL, SOUND, {"AB", "BC"}},
        {3, 3, KILL, SOUND, {"<AB", "B", "C"}},
        {3, 3, SLOW, SOUND, {"<AB", "B"}},
    };
    assert_all_sound(scenarios, COUNT(scenarios));
}

/* ---- The walk itself ---- */

Test(log, a_broken_protocol_is_found) {
    static const struct {
        struct scenario scenario;
        const char *fault;
    } rows[] = {
        {{2, 2, KILL, NUMBER_AFTER_REPLY, {"A", "B"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, GRANT_BEFORE_SEAL, {"AB", "B"}}, "numbers disagree with a key"},
        {{2, 2, KILL, GRANT_AT_HOME_AT_ONCE, {"", "AB", "", "B"}}, "numbers disagree with a key"},
        {{2, 2, KILL, GRANT_IN_ONE_HOP, {"<AB", "B"}}, "numbers disagree with a key"},
        {{2, 2, KILL, PART_WITHOUT_NUMBER, {"AB"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, NO_BOUND, {"A", "B"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, IDLE_PINS, {"A", "B"}}, "somebody waits for ever"},
        {{2, 2, SLOW, ONE_READING, {"", "AB", "", "B"}}, "an acknowledged write is lost"},
        {{2, 2, SLOW, COUNTER_READ_LAST, {"A", "B"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, LETS_GO_WHEN_SENT, {"AB", "", "A"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, DRAWER_LETS_GO, {"<AB", "b"}}, "what a reply has shown is lost"},
        {{2, 2, KILL, REPLY_BEFORE_WRITE, {"A"}}, "an acknowledged write is lost"},
        {{2, 2, POWER, REPLY_BEFORE_WRITE, {"A"}}, "an acknowledged write is lost"},
        {{2, 4, KILL, SAFE_OUT_OF_ORDER, {"AB", "D", "a"}}, "what a reply has shown is lost"},
        {{2, 2, FAILS, FAILED_IS_SAFE, {"A"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, READS_DO_NOT_WAIT, {"A", "", "a"}}, "what a reply has shown is lost"},
        {{2, 2, KILL, NO_VOID, {"~AB A"}}, "an acknowledged write is lost"},
        {{2, 2, KILL, PARTICIPANT_IGNORED, {"AB"}}, "half a transaction"},
        {{2, 2, KILL, GAPS_IGNORED, {"A b B", "B"}}, "what came before is missing"},
        {{2, 4, KILL, CUT_BY_BYTES, {"AB", "D", "C"}}, "half a transaction"},
    };
    static struct outcome outcome;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct scenario scenario = rows[i].scenario;
        walk(&scenario, NULL, &outcome);
        cr_assert_not_null(outcome.fault, "row %zu", i);
        cr_assert_str_eq(outcome.fault, rows[i].fault, "row %zu: %s", i, outcome.fault);
        scenario.fault = SOUND;
        assert_sound(&scenario, &outcome);
    }
}

/* Until no step is possible; some messages and clients are slow for a while. */
static void run_at_random(struct world *world, struct rng *rng, struct step *path,
                          unsigned *ret_depth) {
    struct choices choices;
    uint64_t slow = 0;
    for (*ret_depth = 0; world->fault == NULL; (*ret_depth)++) {
        choices_of(world, &choices);
        if (choices.count == 0) {
            check_end(world);
            return;
        }
        if (rng_below(rng, 16) == 0) {
            slow = rng_next(rng);
        }
        struct step step = choices.of[rng_below(rng, choices.count)];
        for (unsigned i = 0; i < 8 && (slow >> (step.verb * 5 + step.a * 3 + step.b) % 64 & 1);
             i++) {
            step = choices.of[rng_below(rng, choices.count)];
        }
        cr_assert_lt(*ret_depth, STEPS_MAX);
        path[*ret_depth] = step;
        take(world, step);
        judge(world);
    }
}

/* That states are visited once must not lose any: whatever a random run ends with, the walk has
 * seen. */
Test(log, the_walk_sees_every_end_that_random_runs_see) {
    static const struct scenario scenarios[] = {
        {2, 2, KILL, SOUND, {"AB", "Ab", "B"}},
        {2, 2, POWER, SOUND, {"<AB", "B a"}},
        {2, 2, SLOW, SOUND, {"AB", "B"}},
        {2, 2, FAILS, SOUND, {"AB", "B a"}},
    };
    static struct outcome outcome;
    static struct world world;
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        struct visited ends = {0};
        walk(&scenarios[i], &ends, &outcome);
        cr_assert_null(outcome.fault);
        struct rng rng;
        rng_seed(&rng, i);
        for (unsigned n = 0; n < 2000; n++) {
            unsigned depth;
            world_init(&world, &scenarios[i]);
            run_at_random(&world, &rng, outcome.path, &depth);
            cr_assert_not(visit(&ends, hash_of(&world, sizeof world)));
        }
        free(ends.states);
    }
}

/* ---- At random ---- */

#define TEXT_MAX 64

/* Home first is for who is at home on the lowest shard: locks are asked for in one order. */
static void random_op(struct rng *rng, const struct scenario *scenario, unsigned client,
                      char *text) {
    size_t used = 0;
    unsigned keys = 1 + (unsigned)rng_below(rng, 3);
    if (client % scenario->shards == 0 && rng_below(rng, 2) == 0) {
        text[used++] = '<';
    }
    if (keys > 1 && rng_below(rng, 6) == 0) {
        text[used++] = '~';
    }
    for (unsigned i = 0; i < keys; i++) {
        char key = (char)('a' + rng_below(rng, scenario->keys));
        text[used++] = (char)(rng_below(rng, 3) ? toupper(key) : key);
    }
    text[used] = 0;
}

static void random_scenario(struct rng *rng, struct scenario *scenario,
                            char texts[CLIENTS_MAX][TEXT_MAX]) {
    memset(scenario, 0, sizeof *scenario);
    scenario->shards = 2 + (unsigned)rng_below(rng, SHARDS_MAX - 1);
    scenario->keys = scenario->shards + (unsigned)rng_below(rng, KEYS_MAX - scenario->shards + 1);
    scenario->synced = rng_below(rng, 2);
    scenario->slow = rng_below(rng, 2);
    scenario->failing = rng_below(rng, 4) == 0;
    unsigned clients = 2 + (unsigned)rng_below(rng, CLIENTS_MAX - 1);
    for (unsigned c = 0; c < clients; c++) {
        unsigned ops = 1 + (unsigned)rng_below(rng, OPS_MAX / CLIENTS_MAX);
        size_t used = 0;
        for (unsigned i = 0; i < ops; i++) {
            used += i > 0;
            random_op(rng, scenario, c, &texts[c][used]);
            used += strlen(&texts[c][used]);
            texts[c][used] = i + 1 < ops ? ' ' : 0;
        }
        scenario->clients[c] = texts[c];
    }
}

Test(log, keeps_its_promise_at_random_with_more_of_everything) {
    static struct world world;
    static struct step path[STEPS_MAX];
    for (uint64_t seed = 0; seed < 600; seed++) {
        struct rng rng;
        struct scenario scenario;
        char texts[CLIENTS_MAX][TEXT_MAX];
        unsigned depth;
        rng_seed(&rng, seed);
        random_scenario(&rng, &scenario, texts);
        world_init(&world, &scenario);
        run_at_random(&world, &rng, path, &depth);
        if (world.fault != NULL) {
            fprintf(stderr, "seed %llu: ", (unsigned long long)seed);
            tell(&scenario, world.fault, path, depth);
        }
        cr_assert_null(world.fault);
    }
}
