/* SPDX-License-Identifier: BSD-3-Clause */
/* aside: see the header.
 *
 *     OPEN -> WORK <-> READ, -> CLOSE -> OVER
 *
 * A part is its worker's from the task that begins it until both tasks are home again: the first
 * comes when the file is read, or cannot be, the other when what is not taken is dropped.
 */
#include "server/persistence/aside.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt_file.h"
#include "persist/snapshot/rdb_keys.h"
#include "server/call/check.h"
#include "server/commands/persistence/rules.h"
#include "server/script/libraries.h"
#include "server/script/library_dump.h"
#include "server/server.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)
/* Of reading in a turn: what is served meanwhile waits no longer. */
#define SLICE_US 500
/* Between two looks at the clock. */
#define KEYS_AT_ONCE 16
/* Of key-load-delay: a shorter rest is saved up. */
#define DELAY_LEAST_US 2000

enum stage { STAGE_OPEN, STAGE_OPENED, STAGE_WORK, STAGE_READ, STAGE_CLOSE, STAGE_OVER };

struct aside_task {
    struct message message; /* first */
    struct aside_part *part;
    bool ends;
};

struct aside_part {
    struct rt_file_op op; /* first */
    struct aside_task go, end;
    struct aside *aside;
    struct worker *worker;
    enum stage stage;
    bool waits; /* op is under way; then result has what came of it */
    int64_t result;
    bool told; /* `go` is home again, or on its way */
    bool ends; /* `end` is here */
    rt_file file;
    char *buffer;
    size_t room, length, used;
    uint64_t at;
    bool ended; /* the file is no longer than what was read */
    struct value_rules rules;
    struct rdb_keys keys;
    bool reads;    /* there are `keys` */
    uint64_t kept; /* keys */
    uint8_t owned[SLOTS / 8];
    struct text failure; /* empty: none */
    uint64_t delay_us;   /* key-load-delay */
    int64_t rest_ms;     /* wall */
};

struct aside {
    struct worker *home;
    const char *path;
    struct libraries *libraries;
    unsigned parts, reading, left; /* of the second kind of task: that are not home */
    bool ends;
    struct aside_part part[];
};

/* ---- A worker's part ---- */

static void done(struct rt_file_op *op, int64_t result) {
    struct aside_part *part = (struct aside_part *)op;
    part->waits = false;
    part->result = result;
}

static void send_home(struct worker *worker, struct aside_task *task) {
    task->message = (struct message){.kind = MESSAGE_ASIDE_BACK, .home = POST_ONE_WAY};
    if (worker->id == 0) {
        aside_task_home(worker, &task->message);
    } else {
        post_send(worker->server->office, worker->id, 0, &task->message);
    }
}

static void fail(struct aside_part *part, const char *reason) {
    text_appendf(&part->failure, "%s at byte %llu: %s", part->aside->path,
                 (unsigned long long)part->at, reason);
    part->stage = part->file >= 0 ? STAGE_CLOSE : STAGE_OVER;
}

static struct keyspace *keyspace_of(void *arg, uint16_t slot) {
    const struct aside_part *part = arg;
    bool owned = part->owned[slot / 8] >> slot % 8 & 1;
    return owned ? part->worker->shard.keyspace : NULL;
}

/* Worker 0's. */
static bool take_library(void *arg, struct bytes code) {
    struct aside_part *part = arg;
    struct text why;
    text_init(&why);
    bool good =
        library_dump_add(part->worker, code, part->aside->libraries, LIBRARIES_APPEND, &why);
    text_fini(&why);
    return good;
}

static void begin(struct aside_part *part) {
    struct worker *worker = part->worker;
    struct keyspace *ks = worker->shard.keyspace;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        bool owned = node_owner(worker->node, (uint16_t)slot) == worker->id;
        part->owned[slot / 8] |= (uint8_t)(owned << slot % 8);
    }
    part->rules = value_rules_of(worker->config);
    struct rdb_keys_options options = {
        .secret = &worker->server->secret,
        .rules = &part->rules,
        .databases = keyspace_aside(ks),
        .first_db = keyspace_aside(ks),
        .now_ms = rt_wall_ms(worker->rt),
        .relaxed = worker->config->rdb_version_check != 0,
        .check_sum = worker->config->rdbchecksum,
        .keep_over = true, /* their ends are still to come, by the stream */
        .keyspace_of = keyspace_of,
        .arg = part,
        .any = ks,
        .library = worker->id == 0 ? take_library : NULL,
    };
    rdb_keys_init(&part->keys, &options);
    part->reads = true;
    part->waits = true;
    part->stage = STAGE_OPENED;
    rt_file_open(worker->rt, &part->op, part->aside->path, RT_OPEN_READ, 0);
}

static void opened(struct aside_part *part) {
    if (part->result < 0) {
        fail(part, strerror((int)-part->result));
        return;
    }
    part->file = (rt_file)part->result;
    part->stage = STAGE_WORK;
}

/* A piece behind what is left. */
static void read_more(struct aside_part *part) {
    size_t left = part->length - part->used;
    if (left > 0 && part->used > 0) {
        memmove(part->buffer, part->buffer + part->used, left);
    }
    part->used = 0;
    part->length = left;
    if (part->room - left < PIECE_BYTES) {
        part->room = left * 2 + PIECE_BYTES;
        part->buffer = must_realloc(part->buffer, part->room);
    }
    part->waits = true;
    part->stage = STAGE_READ;
    rt_file_read(part->worker->rt, &part->op, part->file, part->buffer + left, PIECE_BYTES,
                 part->at + left);
}

static void has_read(struct aside_part *part) {
    if (part->result < 0) {
        fail(part, strerror((int)-part->result));
        return;
    }
    part->length += (size_t)part->result;
    part->ended = part->result < (int64_t)PIECE_BYTES;
    part->stage = STAGE_WORK;
}

/* As Valkey has it: microseconds for a key, or, if it is negative, keys for a microsecond. */
static void delay(struct aside_part *part, uint64_t keys) {
    int64_t delay = part->worker->config->key_load_delay;
    part->delay_us += delay > 0 ? keys * (uint64_t)delay : keys / (uint64_t)-delay;
    if (part->delay_us >= DELAY_LEAST_US) {
        part->rest_ms = rt_wall_ms(part->worker->rt) + (int64_t)(part->delay_us / 1000);
        part->delay_us %= 1000;
    }
}

static void work(struct aside_part *part) {
    struct rdb_input input =
        rdb_input(bytes_make(part->buffer + part->used, part->length - part->used));
    const char *before = input.at;
    uint64_t keys = part->keys.loaded.keys;
    bool slow = part->worker->config->key_load_delay != 0;
    enum rdb_keys_got got = rdb_keys_some(&part->keys, &input, slow ? 1 : KEYS_AT_ONCE);
    part->used += (size_t)(input.at - before);
    part->at += (size_t)(input.at - before);
    if (UNLIKELY(slow)) {
        delay(part, part->keys.loaded.keys - keys);
    }
    switch (got) {
    case RDB_KEYS_MORE:
        if (part->ended) {
            fail(part, RDB_KEYS_CUT_OFF);
        } else {
            read_more(part);
        }
        break;
    case RDB_KEYS_SLICE:
        break;
    case RDB_KEYS_BAD:
        fail(part, input.error);
        break;
    case RDB_KEYS_END: /* nobody looks at what may follow */
        part->stage = STAGE_CLOSE;
        break;
    }
}

static void step(struct aside_part *part) {
    switch (part->stage) {
    case STAGE_OPEN:
        begin(part);
        break;
    case STAGE_OPENED:
        opened(part);
        break;
    case STAGE_WORK:
        work(part);
        break;
    case STAGE_READ:
        has_read(part);
        break;
    case STAGE_CLOSE:
        part->waits = true;
        part->stage = STAGE_OVER;
        rt_file_close(part->worker->rt, &part->op, part->file);
        break;
    case STAGE_OVER:
        break;
    }
}

static void let_go_of_keys(struct aside_part *part) {
    if (part->reads) {
        part->reads = false;
        part->kept = part->keys.loaded.keys;
        if (part->keys.in_value) {
            rdb_keys_leave_value(&part->keys);
        }
        rdb_keys_fini(&part->keys);
    }
    free(part->buffer);
    part->buffer = NULL;
}

/* All is read, or no more is to be. */
static void over(struct aside_part *part) {
    struct worker *worker = part->worker;
    let_go_of_keys(part);
    if (!part->told) {
        part->told = true;
        send_home(worker, &part->go);
    }
    if (part->ends) {
        keyspace_drop_aside(worker->shard.keyspace);
        worker->aside = NULL;
        check_configure(worker);
        send_home(worker, &part->end);
    }
}

static bool rests(const struct aside_part *part) {
    return part->stage == STAGE_WORK && part->rest_ms > rt_wall_ms(part->worker->rt) &&
           part->worker->config->key_load_delay != 0; /* it may have been taken back */
}

int64_t aside_some(struct worker *worker) {
    struct aside_part *part = worker->aside;
    uint64_t end = rt_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, SLICE_US * 1000);
    if (UNLIKELY(part->ends) && !part->waits && part->stage < STAGE_CLOSE) {
        if (part->stage == STAGE_OPENED && part->result >= 0) {
            part->file = (rt_file)part->result;
        }
        part->stage = part->file >= 0 ? STAGE_CLOSE : STAGE_OVER;
    }
    if (UNLIKELY(rests(part))) {
        return part->rest_ms;
    }
    while (!part->waits && part->stage != STAGE_OVER && rt_ticks(worker->rt) < end) {
        step(part);
        if (UNLIKELY(rests(part))) {
            return part->rest_ms;
        }
    }
    if (part->waits) {
        return INT64_MAX;
    }
    if (part->stage == STAGE_OVER) {
        over(part);
        return INT64_MAX;
    }
    return rt_wall_ms(worker->rt);
}

void aside_task_arrived(struct worker *worker, struct message *message) {
    struct aside_task *task = (struct aside_task *)message;
    if (task->ends) {
        task->part->ends = true; /* aside_some, in this turn */
        return;
    }
    check(worker->aside == NULL);
    worker->aside = task->part;
    check_configure(worker);
}

/* ---- Worker 0 ---- */

static void send_out(const struct aside *aside, struct aside_part *part, struct aside_task *task) {
    struct worker *home = aside->home;
    task->message = (struct message){.kind = MESSAGE_ASIDE, .home = POST_ONE_WAY};
    if (part->worker == home) {
        aside_task_arrived(home, &task->message);
    } else {
        post_send(home->server->office, home->id, part->worker->id, &task->message);
    }
}

struct aside *aside_begin(struct worker *home, const char *path) {
    unsigned parts = home->server->workers_count;
    size_t bytes = (sizeof(struct aside) + parts * sizeof(struct aside_part) + 15) / 16 * 16;
    struct aside *aside = must_aligned(16, bytes);
    memset(aside, 0, bytes);
    aside->home = home;
    aside->path = path;
    aside->libraries = libraries_new();
    aside->parts = aside->reading = parts;
    for (unsigned i = 0; i < parts; i++) {
        struct aside_part *part = &aside->part[i];
        part->op.done = done;
        part->aside = aside;
        part->worker = home->server->workers[i];
        part->go = (struct aside_task){.part = part};
        part->end = (struct aside_task){.part = part, .ends = true};
        part->file = -1;
        text_init(&part->failure);
        send_out(aside, part, &part->go);
    }
    return aside;
}

void aside_task_home(struct worker *worker, struct message *message) {
    (void)worker;
    const struct aside_task *task = (const struct aside_task *)message;
    struct aside *aside = task->part->aside;
    unsigned *count = task->ends ? &aside->left : &aside->reading;
    check(*count > 0);
    (*count)--;
}

enum aside_state aside_look(const struct aside *aside, const char **ret_why) {
    if (aside->reading > 0) {
        return ASIDE_READS;
    }
    const struct worker *home = aside->home;
    for (unsigned i = 0; i < aside->parts; i++) {
        const struct aside_part *part = &aside->part[i];
        if (part->failure.len > 0) {
            *ret_why = part->failure.ptr;
            return ASIDE_FAILED;
        }
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            bool owned = part->owned[slot / 8] >> slot % 8 & 1;
            if (owned != (node_owner(home->node, (uint16_t)slot) == i)) {
                return ASIDE_MOVED;
            }
        }
    }
    return ASIDE_READ;
}

struct libraries *aside_libraries(struct aside *aside) {
    return aside->libraries;
}

uint64_t aside_keys(const struct aside *aside) {
    uint64_t keys = 0;
    for (unsigned i = 0; i < aside->parts; i++) {
        keys += aside->part[i].kept;
    }
    return keys;
}

void aside_end(struct aside *aside) {
    if (!aside->ends) {
        aside->ends = true;
        aside->left = aside->parts;
        for (unsigned i = 0; i < aside->parts; i++) {
            send_out(aside, &aside->part[i], &aside->part[i].end);
        }
    }
}

bool aside_is_over(const struct aside *aside) {
    return aside->ends && aside->left == 0;
}

void aside_abandon(struct aside *aside) {
    for (unsigned i = 0; i < aside->parts; i++) {
        let_go_of_keys(&aside->part[i]);
        text_fini(&aside->part[i].failure);
    }
    libraries_free(aside->libraries);
    free(aside);
}

void aside_free(struct aside *aside) {
    check(aside_is_over(aside));
    library_dump_forget(aside->home, aside->libraries);
    aside_abandon(aside);
}
