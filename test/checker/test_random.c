/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories of a server that is correct by construction: every operation happens at one moment that
 * is drawn between its call and its return. They must all pass; and after one of them was spoiled
 * in one place the checker must say so, mostly (a change may by chance be one that could have
 * been).
 */
#include "base/random.h"
#include "test/checker/checker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#define REGISTERS 6
#define LISTS     5
#define COUNTERS  2
#define LIST_MAX  200
#define STEPS_MAX 8

/* What is planned of an operation before anything happens. */
struct plan {
    uint64_t process;
    int64_t call_ns;
    int64_t moment_ns;
    int64_t return_ns;
    enum op_outcome outcome;
    bool happens;
    size_t step_count;
    struct {
        enum step_kind kind;
        unsigned number; /* of register, list or counter */
    } steps[STEPS_MAX];
};

/* The one copy of the data. */
struct world {
    struct rng rng;
    struct history *history;
    uint64_t registers[REGISTERS];
    uint64_t lists[LISTS][LIST_MAX];
    size_t lengths[LISTS];
    uint64_t counters[COUNTERS];
    uint64_t next_value;
};

static void plan_step(struct plan *plan, enum step_kind kind, unsigned number) {
    if (plan->step_count < STEPS_MAX) {
        plan->steps[plan->step_count].kind = kind;
        plan->steps[plan->step_count++].number = number;
    }
}

static unsigned pick(struct rng *rng, unsigned n) {
    return (unsigned)rng_below(rng, n);
}

/* Commands and transactions like those of real clients. */
static void plan_steps(struct plan *plan, struct rng *rng) {
    unsigned number = pick(rng, REGISTERS);
    switch (pick(rng, 10)) {
    case 0:
        plan_step(plan, STEP_WRITE, number);
        return;
    case 1:
        plan_step(plan, STEP_READ, number);
        return;
    case 2: /* GETSET, or WATCH and EXEC */
        plan_step(plan, STEP_READ, number);
        plan_step(plan, STEP_WRITE, number);
        return;
    case 3: /* MSET, MGET of two or three */
    case 4: {
        enum step_kind kind = pick(rng, 2) ? STEP_WRITE : STEP_READ;
        unsigned count = 2 + pick(rng, 2);
        for (unsigned i = 0; i < count; i++) {
            plan_step(plan, kind, (number + i) % REGISTERS);
        }
        return;
    }
    case 5:
        plan_step(plan, pick(rng, 3) ? STEP_INCR : STEP_READ_COUNTER, pick(rng, COUNTERS));
        return;
    case 6:
        plan_step(plan, pick(rng, 2) ? STEP_APPEND : STEP_READ_LIST, pick(rng, LISTS));
        return;
    default: /* MULTI .. EXEC */
        for (unsigned i = 0, count = 1 + pick(rng, STEPS_MAX); i < count; i++) {
            enum step_kind kind = (enum step_kind)pick(rng, STEP_READ_COUNTER + 1);
            unsigned n = kind <= STEP_READ ? REGISTERS : kind <= STEP_READ_LIST ? LISTS : COUNTERS;
            plan_step(plan, kind, pick(rng, n));
        }
        return;
    }
}

static int by_moment(const void *a, const void *b) {
    const struct plan *x = a, *y = b;
    return x->moment_ns < y->moment_ns ? -1 : x->moment_ns > y->moment_ns;
}

static uint32_t key_of(struct history *history, char letter, unsigned number) {
    char name[16];
    snprintf(name, sizeof(name), "%c%u", letter, number);
    return history_key(history, bytes_of_text(name));
}

static void do_step(struct world *world, const struct plan *plan, size_t i) {
    struct history *history = world->history;
    unsigned number = plan->steps[i].number;
    enum step_kind kind = plan->steps[i].kind;
    bool told = plan->outcome == OP_OK;
    switch (kind) {
    case STEP_WRITE: {
        uint64_t value = ++world->next_value;
        history_step(history, kind, key_of(history, 'r', number), value);
        if (plan->happens) {
            world->registers[number] = value;
        }
        return;
    }
    case STEP_READ:
        history_step(history, kind, key_of(history, 'r', number),
                     told ? world->registers[number] : 0);
        return;
    case STEP_APPEND: {
        if (world->lengths[number] == LIST_MAX) {
            return;
        }
        uint64_t token = ++world->next_value;
        size_t place = world->lengths[number] + 1;
        history_append(history, key_of(history, 'l', number), token, told && token % 3 ? place : 0);
        if (plan->happens) {
            world->lists[number][world->lengths[number]++] = token;
        }
        return;
    }
    case STEP_READ_LIST:
        history_read_list(history, key_of(history, 'l', number), world->lists[number],
                          told ? world->lengths[number] : 0);
        return;
    case STEP_INCR:
        world->counters[number] += plan->happens;
        history_step(history, kind, key_of(history, 'c', number),
                     told ? world->counters[number] : 0);
        return;
    case STEP_READ_COUNTER:
        history_step(history, kind, key_of(history, 'c', number),
                     told ? world->counters[number] : 0);
        return;
    }
}

/* Operations of `processes` connections, some of them pipelined, with failures and unknown outcomes
 * when `faults`. */
static void make_history(struct history *history, uint64_t seed, size_t count, unsigned processes,
                         bool faults) {
    struct world world = {.history = history};
    rng_seed(&world.rng, seed);
    struct plan *plans = calloc(count, sizeof(*plans));
    struct plan *last = calloc(processes, sizeof(*last)); /* of each connection */
    uint64_t next_process = processes;
    for (unsigned i = 0; i < processes; i++) {
        last[i].process = i;
    }
    for (size_t i = 0; i < count; i++) {
        struct plan *before = &last[pick(&world.rng, processes)];
        struct plan *plan = &plans[i];
        plan->process = before->process;
        bool piped = pick(&world.rng, 4) == 0;
        plan->call_ns = (piped ? before->call_ns : before->return_ns) + pick(&world.rng, 50);
        int64_t first = plan->call_ns > before->moment_ns ? plan->call_ns : before->moment_ns;
        plan->moment_ns = first + 1 + pick(&world.rng, 300);
        first = plan->moment_ns > before->return_ns ? plan->moment_ns : before->return_ns;
        plan->return_ns = first + pick(&world.rng, 300);
        plan->happens = true;
        unsigned luck = faults ? pick(&world.rng, 40) : 40;
        if (luck == 0) {
            plan->outcome = OP_FAIL;
            plan->happens = false;
        } else if (luck == 1) {
            plan->outcome = OP_UNKNOWN;
            plan->happens = pick(&world.rng, 2);
            plan->moment_ns += pick(&world.rng, 5000);
        }
        plan_steps(plan, &world.rng);
        *before = *plan;
        if (plan->outcome == OP_UNKNOWN) {
            before->process = next_process++;
            before->return_ns = plan->call_ns + 100;
            before->moment_ns = plan->call_ns;
            before->call_ns = before->return_ns;
        }
    }
    qsort(plans, count, sizeof(*plans), by_moment);
    for (size_t i = 0; i < count; i++) {
        history_op(history, plans[i].process, "X", plans[i].call_ns, plans[i].return_ns,
                   plans[i].outcome);
        for (size_t j = 0; j < plans[i].step_count; j++) {
            do_step(&world, &plans[i], j);
        }
    }
    free(plans);
    free(last);
}

/* True if it passes; says on the screen what was found otherwise, when `loud`. */
static bool passes(const struct history *history, bool loud) {
    struct verdict verdict;
    verdict_init(&verdict);
    bool good = checker_check(history, &verdict);
    if (!good && loud) {
        verdict_print(&verdict, stderr);
    }
    verdict_fini(&verdict);
    return good;
}

Test(checker_random, histories_of_a_correct_server_pass) {
    struct history history;
    history_init(&history);
    for (uint64_t seed = 1; seed <= 400; seed++) {
        history_clear(&history);
        make_history(&history, seed, 20 + seed, 1 + seed % 12, seed % 2);
        cr_assert(passes(&history, true), "seed %llu", (unsigned long long)seed);
    }
    history_fini(&history);
}

/* A random step of the kind in an operation that was answered, or NULL. */
static struct step *some_step(struct history *history, struct rng *rng, enum step_kind kind,
                              struct op **ret_op) {
    for (int i = 0; i < 300; i++) {
        struct op *op = &history->ops[rng_below(rng, history->op_count)];
        if (op->outcome != OP_OK || op->step_count == 0) {
            continue;
        }
        struct step *step = &history->steps[op->step_first + rng_below(rng, op->step_count)];
        if (step->kind == kind) {
            *ret_op = op;
            return step;
        }
    }
    return NULL;
}

/* Another value that some answered operation wrote to the same register. */
static bool read_another(struct history *history, struct rng *rng) {
    struct op *op, *other_op;
    struct step *step = some_step(history, rng, STEP_READ, &op);
    for (int i = 0; i < 100 && step != NULL; i++) {
        struct step *other = some_step(history, rng, STEP_WRITE, &other_op);
        if (other != NULL && other->key == step->key && other->value != step->value) {
            step->value = other->value;
            return true;
        }
    }
    return false;
}

static bool shorten_list(struct history *history, struct rng *rng) {
    struct op *op;
    struct step *step = some_step(history, rng, STEP_READ_LIST, &op);
    if (step == NULL || step->token_count < 2) {
        return false;
    }
    step->token_count -= 1 + rng_below(rng, step->token_count - 1);
    return true;
}

static bool swap_tokens(struct history *history, struct rng *rng) {
    struct op *op;
    struct step *step = some_step(history, rng, STEP_READ_LIST, &op);
    if (step == NULL || step->token_count < 2) {
        return false;
    }
    uint64_t *tokens = history->tokens + step->token_first + rng_below(rng, step->token_count - 1);
    uint64_t token = tokens[0];
    tokens[0] = tokens[1];
    tokens[1] = token;
    return true;
}

static bool repeat_token(struct history *history, struct rng *rng) {
    struct op *op;
    struct step *step = some_step(history, rng, STEP_READ_LIST, &op);
    if (step == NULL || step->token_count < 2) {
        return false;
    }
    uint64_t *tokens = history->tokens + step->token_first;
    tokens[step->token_count - 1] = tokens[0];
    return true;
}

static bool miscount(struct history *history, struct rng *rng) {
    struct op *op;
    enum step_kind kind = pick(rng, 2) ? STEP_INCR : STEP_READ_COUNTER;
    struct step *step = some_step(history, rng, kind, &op);
    if (step == NULL || step->value < 4) {
        return false;
    }
    step->value -= 3;
    return true;
}

static bool move_place(struct history *history, struct rng *rng) {
    struct op *op;
    struct step *step = some_step(history, rng, STEP_APPEND, &op);
    if (step == NULL || step->place < 2) {
        return false;
    }
    step->place--;
    return true;
}

/* An operation that wrote, and was read, is said to have failed. */
static bool fail_writer(struct history *history, struct rng *rng) {
    struct op *op;
    struct step *step = some_step(history, rng, STEP_APPEND, &op);
    if (step == NULL) {
        return false;
    }
    op->outcome = OP_FAIL;
    return true;
}

/* Half of the writes of a transaction never happen: two lists it appended to lose the token of one.
 */
static bool lose_append(struct history *history, struct rng *rng) {
    struct op *op;
    struct step *step = some_step(history, rng, STEP_APPEND, &op);
    if (step == NULL) {
        return false;
    }
    bool read = false;
    for (size_t i = 0; i < history->step_count; i++) {
        struct step *list = &history->steps[i];
        if (list->kind != STEP_READ_LIST || list->key != step->key) {
            continue;
        }
        uint64_t *tokens = history->tokens + list->token_first;
        for (size_t j = 0; j < list->token_count; j++) {
            if (tokens[j] == step->value) {
                memmove(&tokens[j], &tokens[j + 1], (list->token_count - j - 1) * sizeof(*tokens));
                list->token_count--;
                read = true;
            }
        }
    }
    return read;
}

/* Reads of two keys in one operation, of which one is as it was a while ago. */
static bool tear_read(struct history *history, struct rng *rng) {
    for (int i = 0; i < 200; i++) {
        struct op *op;
        struct step *step = some_step(history, rng, STEP_READ, &op);
        if (step == NULL || op->step_count < 2 || step->value == 0) {
            continue;
        }
        struct step *other = &history->steps[op->step_first];
        if (other != step && other->kind == STEP_READ && other->key != step->key) {
            step->value = 0;
            return true;
        }
    }
    return false;
}

typedef bool mutation_fn(struct history *history, struct rng *rng);

static void expect_caught(mutation_fn *mutate, unsigned percent_min) {
    struct history history;
    struct rng rng;
    history_init(&history);
    rng_seed(&rng, 99);
    unsigned made = 0, caught = 0;
    for (uint64_t seed = 1000; made < 150 && seed < 3000; seed++) {
        history_clear(&history);
        make_history(&history, seed, 300, 8, true);
        if (mutate(&history, &rng)) {
            made++;
            caught += !passes(&history, false);
        }
    }
    history_fini(&history);
    fprintf(stderr, "# %u of %u caught\n", caught, made);
    cr_assert(made == 150, "only %u histories could be spoiled", made);
    cr_assert(caught * 100 >= made * percent_min, "only %u of %u were caught", caught, made);
}

Test(checker_random, a_read_of_another_value_is_caught) {
    expect_caught(read_another, 85);
}

Test(checker_random, a_list_cut_short_is_caught) {
    expect_caught(shorten_list, 85);
}

Test(checker_random, tokens_in_another_order_are_caught) {
    expect_caught(swap_tokens, 90);
}

Test(checker_random, a_token_read_twice_is_caught) {
    expect_caught(repeat_token, 100);
}

Test(checker_random, a_wrong_count_is_caught) {
    expect_caught(miscount, 95);
}

Test(checker_random, an_append_at_another_place_is_caught) {
    expect_caught(move_place, 90);
}

Test(checker_random, a_read_of_a_writer_that_failed_is_caught) {
    expect_caught(fail_writer, 80);
}

Test(checker_random, an_append_that_no_read_shows_is_caught) {
    expect_caught(lose_append, 85);
}

Test(checker_random, a_torn_read_is_caught) {
    expect_caught(tear_read, 85);
}

/* Told, not judged: machines differ. */
Test(checker_random, a_hundred_thousand_operations_pass) {
    struct history history;
    history_init(&history);
    make_history(&history, 7, 100000, 50, true);
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    bool good = passes(&history, true);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double took =
        (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    fprintf(stderr, "# %zu operations, %zu steps, %zu tokens: %.3f s\n", history.op_count,
            history.step_count, history.token_count, took);
    cr_assert(good);
    history_fini(&history);
}
