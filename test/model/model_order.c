/* SPDX-License-Identifier: BSD-3-Clause */
/* How the ordered ops of one connection take effect on several shards: the real order.c, and around
 * it what home, owners and mailboxes may do, in every order.
 *
 * A program is what a client sends: a letter is a shard, a capital one a write on it, a small one a
 * read; "|" ends what came with one read of the socket, and home sends its batches. Home is shard
 * A. Steps are: home takes up what comes next; a shard begins, or ends, the next op of what it has
 * (in between it may wait for a lock, or for its next slice); the first message on its way from one
 * thread to another arrives. All short programs are walked through all interleavings. In each,
 * ordered ops end in the order in which they were sent, and so do all ops on one shard; in the end
 * all have run, and nobody has named a batch that was back home.
 *
 * The same walk must find a fault in protocols that are broken.
 */
#include "base/hash.h"
#include "server/call/batch.h"
#include "server/call/order.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SHARDS      3
#define OPS_MAX     8
#define BATCH_ROOM  2 /* a full one is sent at once */
#define STEPS_MAX   128
#define CHANNEL_MAX 16
#define SEEN_SLOTS  (1 << 14)
#define HOME        0

enum fault {
    SOUND,
    HANDS_ON_AT_ONCE, /* when the op is begun, though it may wait for a lock */
    WAITS_FOR_NOBODY, /* owners let every op run */
    FORGETS_AWAY,     /* home runs its own ops whatever is away */
    FORGETS_THE_NEXT, /* home does not hand the baton on */
    SENT_IS_DONE,     /* nor does it wait for the last batch, once that was sent */
    OVERTAKES,        /* a batch does not stand behind one of the same client that waits */
    HANDS_ON_EARLY,   /* home hands on when it sends, not when the batch is back */
};

enum message_is { IS_BATCH, IS_BATON, IS_BACK };

struct mail {
    enum message_is is;
    struct batch *batch;
};

struct channel {
    struct mail mails[CHANNEL_MAX];
    unsigned first, count;
};

struct world {
    enum fault fault;
    const char *program;
    unsigned at;
    struct order order;
    unsigned self_batches;
    struct batch batches[OPS_MAX]; /* in the order in which they were opened */
    unsigned numbers[OPS_MAX][BATCH_ROOM];
    bool begun[OPS_MAX], back[OPS_MAX];
    unsigned batches_count;
    struct batch *open[SHARDS];
    struct batch *queues[SHARDS][OPS_MAX]; /* arrived and not over */
    unsigned queued[SHARDS];
    struct channel channels[SHARDS][SHARDS];
    unsigned ran; /* ops */
    int last_ordered, last_on[SHARDS];
    const char *wrong;
};

static struct world world;
static uint64_t seen[SEEN_SLOTS];
static unsigned seen_count;
static unsigned hand_overs, by_home; /* that were seen at all */
static uint64_t states;

static unsigned index_of(const struct batch *batch) {
    return (unsigned)(batch - world.batches);
}

static unsigned shard_of(char c) {
    return (unsigned)(toupper(c) - 'A');
}

static unsigned flags_of(char c) {
    return isupper(c) ? CMD_WRITE : CMD_READONLY;
}

static void fail(const char *what) {
    if (world.wrong == NULL) {
        world.wrong = what;
    }
}

static void post(unsigned from, unsigned to, enum message_is is, struct batch *batch) {
    struct channel *channel = &world.channels[from][to];
    cr_assert_lt(channel->first + channel->count, CHANNEL_MAX);
    channel->mails[channel->first + channel->count++] = (struct mail){is, batch};
}

static void send_baton(unsigned from, struct batch *batch) {
    hand_overs++;
    if (world.back[index_of(batch)]) {
        fail("the baton goes to a batch that is back");
    }
    post(from, batch->target, IS_BATON, batch);
}

/* Op number n of the program takes effect. */
static void effect(unsigned n) {
    char c = world.program[n];
    unsigned shard = shard_of(c);
    if ((int)n < world.last_on[shard]) {
        fail("ops on one shard in another order");
    }
    world.last_on[shard] = (int)n;
    if (order_holds(&world.order, flags_of(c))) {
        if ((int)n < world.last_ordered) {
            fail("ordered ops in another order");
        }
        world.last_ordered = (int)n;
    }
    world.ran++;
}

/* ---- Home ---- */

static void send_batch(unsigned target) {
    struct batch *batch = world.open[target];
    world.open[target] = NULL;
    batch->sent = true;
    post(HOME, target, IS_BATCH, batch);
    if (world.fault == SENT_IS_DONE && world.order.last == batch) {
        world.order.last = NULL;
    }
}

static void add(unsigned n) {
    char c = world.program[n];
    unsigned target = shard_of(c);
    struct batch *batch = world.open[target];
    if (batch == NULL) {
        batch = world.open[target] = &world.batches[world.batches_count++];
        batch->target = target;
        batch->count = batch->ran = 0;
        batch->sent = batch->has_baton = batch->waits_for_baton = false;
        batch->next_in_order = NULL;
        batch->hand_overs = 0;
        world.self_batches += target == HOME;
    }
    batch->ops[batch->count].waits = false;
    batch->ops[batch->count].next = NULL;
    world.numbers[index_of(batch)][batch->count++] = n;
    if (order_holds(&world.order, flags_of(c))) {
        struct batch *last = world.order.last;
        order_add(&world.order, batch);
        if (world.fault == HANDS_ON_EARLY && last != NULL && last->next_in_order == batch) {
            last->next_in_order = NULL;
            send_baton(HOME, batch);
        }
    }
    if (batch->count == BATCH_ROOM) {
        send_batch(target);
    }
}

static void take_up(void) {
    unsigned n = world.at++;
    char c = world.program[n];
    if (c == '|' || c == 0) {
        for (unsigned i = 0; i < SHARDS; i++) {
            if (world.open[i] != NULL) {
                send_batch(i);
            }
        }
        world.ran += c == '|';
        return;
    }
    bool waits = world.self_batches > 0 ||
                 (order_must_wait(&world.order, flags_of(c)) && world.fault != FORGETS_AWAY);
    if (shard_of(c) == HOME && !waits) {
        effect(n);
    } else {
        add(n);
    }
}

static void come_home(struct batch *batch) {
    world.back[index_of(batch)] = true;
    world.self_batches -= batch->target == HOME;
    if (batch->waits_for_baton) {
        fail("what is back waits for the baton");
    }
    for (unsigned i = 0; i < world.batches_count; i++) {
        const struct batch *other = &world.batches[i];
        bool names = !world.back[i] && other->next_in_order == batch;
        for (uint32_t j = other->ran; j < other->count && !world.back[i]; j++) {
            names |= other->ops[j].next == batch;
        }
        if (names) {
            fail("a batch that is back is named");
        }
    }
    struct batch *next = order_batch_home(&world.order, batch);
    if (next != NULL && world.fault != FORGETS_THE_NEXT) {
        by_home++;
        send_baton(HOME, next);
    }
}

/* ---- Owners ---- */

/* Which of its batches a shard works on; NULL: none can go on. */
static struct batch *at_work(unsigned shard) {
    for (unsigned i = 0; i < world.queued[shard]; i++) {
        struct batch *batch = world.queues[shard][i];
        if (!batch->waits_for_baton) {
            return batch;
        }
        if (world.fault != OVERTAKES) {
            return NULL;
        }
    }
    return NULL;
}

static void hand_on(unsigned shard, struct batch *batch) {
    const struct op *op = &batch->ops[batch->ran];
    if (op->next != NULL) {
        send_baton(shard, order_hand_on(batch, op));
    }
}

static void begin(unsigned shard, struct batch *batch) {
    const struct op *op = &batch->ops[batch->ran];
    if (op->waits && world.fault != WAITS_FOR_NOBODY && !order_may_run(batch)) {
        return;
    }
    world.begun[index_of(batch)] = true;
    if (world.fault == HANDS_ON_AT_ONCE) {
        hand_on(shard, batch);
    }
}

static void end(unsigned shard, struct batch *batch) {
    world.begun[index_of(batch)] = false;
    effect(world.numbers[index_of(batch)][batch->ran]);
    if (world.fault != HANDS_ON_AT_ONCE) {
        hand_on(shard, batch);
    }
    if (++batch->ran < batch->count) {
        return;
    }
    unsigned i = 0;
    while (world.queues[shard][i] != batch) {
        i++;
    }
    for (world.queued[shard]--; i < world.queued[shard]; i++) {
        world.queues[shard][i] = world.queues[shard][i + 1];
    }
    post(shard, HOME, IS_BACK, batch);
}

static void arrive(unsigned from, unsigned to) {
    struct channel *channel = &world.channels[from][to];
    struct mail mail = channel->mails[channel->first++];
    if (--channel->count == 0) {
        channel->first = 0;
    }
    switch (mail.is) {
    case IS_BATCH:
        world.queues[to][world.queued[to]++] = mail.batch;
        break;
    case IS_BATON:
        if (mail.batch->has_baton) {
            fail("two batons");
            break;
        }
        order_baton_came(mail.batch);
        break;
    case IS_BACK:
        come_home(mail.batch);
        break;
    }
}

/* ---- The walk ---- */

/* Steps by number: home; the shards; the channels. */
#define STEPS (1 + SHARDS + SHARDS * SHARDS)

static bool step(unsigned number) {
    if (number == 0) {
        bool more = world.at <= strlen(world.program);
        if (more) {
            take_up();
        }
        return more;
    }
    if (number <= SHARDS) {
        unsigned shard = number - 1;
        struct batch *batch = at_work(shard);
        if (batch == NULL) {
            return false;
        }
        if (world.begun[index_of(batch)]) {
            end(shard, batch);
        } else {
            begin(shard, batch);
        }
        return true;
    }
    unsigned from = (number - 1 - SHARDS) / SHARDS, to = (number - 1 - SHARDS) % SHARDS;
    bool more = world.channels[from][to].count > 0;
    if (more) {
        arrive(from, to);
    }
    return more;
}

static void start(const char *program, enum config_pipeline_order kind, enum fault fault) {
    world.fault = fault;
    world.program = program;
    world.at = world.self_batches = world.batches_count = world.ran = 0;
    world.order = (struct order){.kind = kind};
    memset(world.begun, 0, sizeof world.begun);
    memset(world.back, 0, sizeof world.back);
    memset(world.open, 0, sizeof world.open);
    memset(world.queued, 0, sizeof world.queued);
    memset(world.channels, 0, sizeof world.channels);
    world.last_ordered = -1;
    memset(world.last_on, 0xff, sizeof world.last_on);
    world.wrong = NULL;
}

/* All that can matter for what comes. */
static uint64_t state(void) {
    unsigned char bytes[1024];
    size_t n = 0;
    bytes[n++] = (unsigned char)world.at;
    bytes[n++] = (unsigned char)(world.last_ordered + 1);
    for (unsigned i = 0; i < world.batches_count; i++) {
        const struct batch *batch = &world.batches[i];
        bytes[n++] = (unsigned char)(batch->ran << 4 | world.begun[i] << 3 | world.back[i] << 2 |
                                     batch->has_baton << 1 | batch->waits_for_baton);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        bytes[n++] = (unsigned char)(world.last_on[i] + 1);
        bytes[n++] = (unsigned char)world.queued[i];
        for (unsigned j = 0; j < SHARDS; j++) {
            const struct channel *channel = &world.channels[i][j];
            bytes[n++] = (unsigned char)channel->count;
            for (unsigned k = 0; k < channel->count; k++) {
                struct mail mail = channel->mails[channel->first + k];
                bytes[n++] = (unsigned char)(mail.is << 4 | index_of(mail.batch));
            }
        }
    }
    static const unsigned char secret[HASH_SECRET_BYTES] = {1};
    return hash_bytes(secret, bytes_make((const char *)bytes, n)) | 1;
}

static bool seen_before(uint64_t hash) {
    unsigned i = hash % SEEN_SLOTS;
    while (seen[i] != 0) {
        if (seen[i] == hash) {
            return true;
        }
        i = (i + 1) % SEEN_SLOTS;
    }
    cr_assert_lt(++seen_count, SEEN_SLOTS * 3 / 4);
    states++;
    seen[i] = hash;
    return false;
}

/* Goes all ways from where the path leads; what is wrong, or NULL. */
static const char *walk(const char *program, enum config_pipeline_order kind, enum fault fault,
                        unsigned char *path, unsigned length) {
    bool any = false;
    for (unsigned number = 0; number < STEPS; number++) {
        start(program, kind, fault);
        for (unsigned i = 0; i < length; i++) {
            step(path[i]);
        }
        if (!step(number)) {
            continue;
        }
        any = true;
        if (world.wrong != NULL) {
            return world.wrong;
        }
        if (seen_before(state())) {
            continue;
        }
        cr_assert_lt(length, STEPS_MAX);
        path[length] = (unsigned char)number;
        const char *wrong = walk(program, kind, fault, path, length + 1);
        if (wrong != NULL) {
            return wrong;
        }
    }
    if (!any) {
        start(program, kind, fault);
        for (unsigned i = 0; i < length; i++) {
            step(path[i]);
        }
        if (world.ran < strlen(program)) {
            return "nothing goes on, and not all have run";
        }
        for (unsigned i = 0; i < world.batches_count; i++) {
            if (!world.back[i]) {
                return "a batch is not back";
            }
        }
        if (world.order.last != NULL || world.order.hand_overs != 0) {
            return "home thinks that something is away";
        }
    }
    return NULL;
}

/* All programs of that length over these letters. Returns what was wrong with how many. */
static unsigned walk_all(const char *letters, unsigned length, enum config_pipeline_order kind,
                         enum fault fault, bool expect) {
    unsigned wrong_count = 0, programs = 1, n = (unsigned)strlen(letters);
    for (unsigned i = 0; i < length; i++) {
        programs *= n;
    }
    for (unsigned p = 0; p < programs; p++) {
        char program[OPS_MAX + 1] = {0};
        for (unsigned i = 0, rest = p; i < length; i++, rest /= n) {
            program[i] = letters[rest % n];
        }
        memset(seen, 0, sizeof seen);
        seen_count = 0;
        unsigned char path[STEPS_MAX];
        const char *wrong = walk(program, kind, fault, path, 0);
        cr_expect(expect || wrong == NULL, "%s: %s", program, wrong);
        wrong_count += wrong != NULL;
        if (wrong != NULL && !expect) {
            break;
        }
    }
    return wrong_count;
}

Test(order, all_short_programs_keep_their_order) {
    walk_all("ABb|", 6, CONFIG_PIPELINE_WRITES, SOUND, false);
    walk_all("AaBC", 5, CONFIG_PIPELINE_WRITES, SOUND, false);
    walk_all("ABC|", 5, CONFIG_PIPELINE_WRITES, SOUND, false);
    walk_all("aBb|", 5, CONFIG_PIPELINE_STRICT, SOUND, false);
    walk_all("AbC|", 5, CONFIG_PIPELINE_STRICT, SOUND, false);
    cr_log_info("%llu states", (unsigned long long)states);
    cr_assert_gt(states, 100000);
    cr_assert_gt(hand_overs, 10000);
    cr_assert_gt(by_home, 10000);
}

Test(order, relaxed_writes_are_free) {
    /* What the other tests look for is there. */
    world.order.kind = CONFIG_PIPELINE_WRITES;
    cr_assert_gt(walk_all("ABC", 3, CONFIG_PIPELINE_WRITES, WAITS_FOR_NOBODY, true), 0);
    cr_assert_eq(walk_all("ABC|", 4, CONFIG_PIPELINE_RELAXED, SOUND, true), 0);
}

Test(order, broken_protocols_are_found_out) {
    static const struct {
        enum fault fault;
        const char *name;
    } faults[] = {
        {HANDS_ON_AT_ONCE, "hands on at once"}, {WAITS_FOR_NOBODY, "waits for nobody"},
        {FORGETS_AWAY, "forgets what is away"}, {FORGETS_THE_NEXT, "forgets the next"},
        {SENT_IS_DONE, "sent is done"},         {OVERTAKES, "overtakes"},
        {HANDS_ON_EARLY, "hands on early"},
    };
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        unsigned found = walk_all("ABb|", 5, CONFIG_PIPELINE_WRITES, faults[i].fault, true);
        cr_log_info("%s: in %u programs", faults[i].name, found);
        cr_expect_gt(found, 0, "nobody notices that it %s", faults[i].name);
    }
}
