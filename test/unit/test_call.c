/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/rt.h"
#include "server/call/check.h"
#include "server/call/exec.h"
#include "test/unit/call.h"

#include <signal.h>

static struct call_env *env;
static struct caller caller;
static uint64_t begun;

static void setup(void) {
    struct rt_options options = {
        .backend = RT_EPOLL, .recv_buffers = 64, .recv_buffer_bytes = 4096};
    char *reason;
    env = call_new();
    cr_assert_eq(rt_new(&options, 1, &env->worker.rt, &reason), 0);
    env->worker.tally.commands =
        calloc(command_table_count(env->table), sizeof(*env->worker.tally.commands));
    begun = rt_ticks(env->worker.rt);
    caller = (struct caller){.worker = &env->worker, .shard = &env->worker.shard, .tick = begun};
}

static void teardown(void) {
    for (unsigned i = 0; i < command_table_count(env->table); i++) {
        free(env->worker.tally.commands[i].latency);
    }
    free(env->worker.tally.commands);
    rt_free(env->worker.rt);
    check_owner_refuses(&env->worker, NULL, false);
    call_free(env);
}

TestSuite(call, .init = setup, .fini = teardown);

static const struct command_ref *ref_of(const char *name) {
    const struct command_ref *ref = command_table_find(env->table, bytes_of_text(name));
    cr_assert(ref != NULL, "%s", name);
    return ref;
}

static const struct command_stats *stats_of(const char *name) {
    return &env->worker.tally.commands[ref_of(name)->id];
}

static uint64_t timed(const char *name) {
    const struct histogram *latency = stats_of(name)->latency;
    return latency != NULL ? latency->total : 0;
}

/* Of a command whose first word after its name is a key. Returns the size of the reply. */
static size_t run(const char *line) {
    struct bytes argv[CALL_ARGS_MAX];
    struct call what = {.argv = argv, .argc = call_split(argv, line), .now_ms = env->now_ms};
    char name[16] = {0};
    memcpy(name, argv[0].ptr, argv[0].len);
    what.ref = ref_of(name);
    struct key key = key_make(&env->server.secret, argv[1]);
    what.key = &key;
    struct outbuf out;
    struct reply reply;
    outbuf_init(&out);
    reply_init(&reply, &out, 2);
    cr_assert(call(&caller, &what, &reply));
    size_t bytes = out.bytes;
    outbuf_fini(&out);
    return bytes;
}

static void run_times(const char *line, unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        run(line);
    }
}

Test(call, brief_ones_that_follow_each_other_are_counted_together_and_exactly) {
    run_times("get a", 5);
    cr_expect_eq(stats_of("get")->calls, 0);
    call_settle(&caller);
    cr_expect_eq(stats_of("get")->calls, 5);
    cr_expect_eq(timed("get"), 5);
    cr_expect_eq(stats_of("get")->ticks, caller.tick - begun);
    cr_expect_eq(env->worker.stats.commands_processed, 5);
    cr_expect_eq(env->worker.slice.tick, caller.tick);
    call_settle(&caller);
    cr_expect_eq(stats_of("get")->calls, 5);
}

Test(call, another_command_ends_the_run) {
    run_times("get a", 2);
    run_times("set a 1", 3);
    cr_expect_eq(stats_of("get")->calls, 2);
    cr_expect_eq(stats_of("set")->calls, 0);
    run("get a");
    cr_expect_eq(stats_of("set")->calls, 3);
    call_settle(&caller);
    cr_expect_eq(stats_of("get")->calls, 3);
    uint64_t ticks = stats_of("get")->ticks + stats_of("set")->ticks;
    cr_expect_eq(ticks, caller.tick - begun);
    cr_expect_eq(timed("get") + timed("set"), 6);
}

/* A slice of a turn would not end in a run without an end. */
Test(call, a_run_is_not_long) {
    run_times("get a", 1000);
    cr_expect_geq(stats_of("get")->calls, 968);
    call_settle(&caller);
    cr_expect_eq(stats_of("get")->calls, 1000);
}

/* The slow log will ask how long it took. */
Test(call, what_may_take_long_is_timed_at_once) {
    run("append a x");
    call_settle(&caller);
    run("getrange a 0 -1"); /* not brief */
    cr_expect_eq(stats_of("getrange")->calls, 1);
    static char line[10000] = "set big ";
    memset(line + strlen(line), 'v', 5000);
    run(line);
    call_settle(&caller);
    uint64_t before = stats_of("get")->calls;
    cr_expect_gt(run("get big"), 5000);
    cr_expect_eq(stats_of("get")->calls, before + 1);
    run("set a 1 ex 100 keepttl"); /* a syntax error */
    cr_expect_eq(stats_of("set")->calls, 2);
    cr_expect_eq(stats_of("set")->failed, 1);
}

Test(call, errors_are_counted_with_the_call_that_had_them) {
    run("set a x");
    run_times("incr a", 3);
    cr_expect_eq(stats_of("incr")->calls, 3);
    cr_expect_eq(stats_of("incr")->failed, 3);
    cr_expect_eq(stats_of("set")->failed, 0);
    cr_expect_eq(env->worker.stats.error_replies, 3);
    cr_expect_eq(env->worker.tally.errors_count, 1);
    cr_expect_str_eq(env->worker.tally.errors[0].code, "ERR");
    call_settle(&caller);
    cr_expect_eq(stats_of("incr")->calls, 3);
}

Test(call, what_the_owner_refuses_does_not_run) {
    check_owner_refuses(&env->worker, "OOM no", false);
    run("set a x");
    cr_expect_eq(stats_of("set")->rejected, 1);
    cr_expect_str_eq(env->worker.tally.errors[0].code, "OOM");
    check_owner_refuses(&env->worker, NULL, false);
    cr_expect_eq(run("get a"), strlen("$-1\r\n"));
    call_settle(&caller);
    cr_expect_eq(stats_of("set")->calls, 0);
    cr_expect_eq(stats_of("get")->rejected, 0);

    check_owner_refuses(&env->worker, "OOM no", false);
    caller.asked = true; /* before anything of a transaction ran */
    run("set a x");
    call_settle(&caller);
    cr_expect_eq(stats_of("set")->calls, 1);
}

/* Shares are counted by who puts them together, once. */
Test(call, a_share_counts_nothing) {
    struct bytes argv[] = {BYTES("set"), BYTES("a"), BYTES("x")};
    struct key key = key_make(&env->server.secret, argv[1]);
    struct call what = {ref_of("set"), argv, 3, &key, NULL, env->now_ms};
    struct call_outcome outcome = {0};
    struct outbuf out;
    struct reply reply;
    outbuf_init(&out);
    reply_init(&reply, &out, 2);
    cr_assert(call_share(&caller, &what, NULL, &reply, &outcome));
    uint64_t first = outcome.ticks;
    cr_assert(call_share(&caller, &what, NULL, &reply, &outcome));
    cr_expect_eq(stats_of("set")->calls, 0);
    cr_expect_eq(outcome.ticks, caller.tick - begun);
    cr_expect_gt(outcome.ticks, first);
    cr_expect_eq(outcome.reply_bytes, strlen("+OK\r\n"));
    call_count(&env->worker, what.ref, &outcome);
    cr_expect_eq(stats_of("set")->calls, 1);
    cr_expect_eq(stats_of("set")->ticks, outcome.ticks);
    outbuf_fini(&out);
}

#ifdef SHOAL_CHECK_SLOW

/* Keys touched are keys declared: what a command does wrong here lets users read or write what they
 * may not. */
static void run_as_get(command_fn *function) {
    struct command row = *ref_of("get")->row;
    row.run = function;
    struct command_ref ref = *ref_of("get");
    ref.row = &row;
    struct bytes argv[] = {BYTES("get"), BYTES("a")};
    struct key key = key_make(&env->server.secret, argv[1]);
    struct call what = {&ref, argv, 2, &key, NULL, env->now_ms};
    struct outbuf out;
    struct reply reply;
    outbuf_init(&out);
    reply_init(&reply, &out, 2);
    call(&caller, &what, &reply);
    call_settle(&caller);
    outbuf_fini(&out);
}

static void looks_at(struct exec *x, struct bytes name) {
    struct key key = key_make(&x->worker->server->secret, name);
    keyspace_find(x->keyspace, x->db, &key, x->now_ms, LOOKUP_READ);
}

static void looks_at_its_own(struct exec *x) {
    looks_at(x, BYTES("a"));
    reply_ok(x->reply);
}

static void looks_at_another(struct exec *x) {
    looks_at(x, BYTES("b"));
    reply_ok(x->reply);
}

static void looks_into_another_database(struct exec *x) {
    x->db++;
    looks_at_its_own(x);
}

static void changes_what_it_reads(struct exec *x) {
    struct string_target target = exec_target(x, &x->key, EVENT_SET);
    string_set(&target, BYTES("v"));
    reply_ok(x->reply);
}

Test(call, a_command_touches_what_it_has_declared) {
    run_as_get(looks_at_its_own);
    run("set a 1");
    run("incr a");
}

Test(call, one_that_looks_at_another_key_ends_the_process, .signal = SIGABRT) {
    run_as_get(looks_at_another);
}

Test(call, one_that_looks_into_another_database_ends_the_process, .signal = SIGABRT) {
    run_as_get(looks_into_another_database);
}

Test(call, one_that_changes_what_it_declares_as_read_ends_the_process, .signal = SIGABRT) {
    run_as_get(changes_what_it_reads);
}

#endif
