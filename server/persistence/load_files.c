/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of Redis and Valkey, one after the other, by worker 0 alone: an RDB file, or the parts of
 * an AOF. What each is says its beginning: an RDB file, which in an AOF requests may follow, or
 * requests.
 *
 *     OPEN -> WORK <-> READ
 *              |  ^
 *              |  +---- needs the keys of all shards (alone.h)
 *              +-> CLOSE -> OPEN of the next
 */
#include "base/check.h"
#include "base/must.h"
#include "net/rt_file.h"
#include "persist/check/request.h"
#include "server/commands/persistence/rules.h"
#include "server/observe/log.h"
#include "server/persistence/load_private.h"
#include "server/persistence/replay.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)
/* Between two looks at the clock. */
#define KEYS_AT_ONCE 64

enum stage { STAGE_OPEN, STAGE_OPENED, STAGE_READ, STAGE_WORK, STAGE_CLOSE };

/* What stands where the file is read. */
enum kind { KIND_UNKNOWN, KIND_RDB, KIND_REQUESTS };

struct load_files {
    struct rt_file_op op; /* first */
    struct load_worker *self;
    bool waits; /* op is under way; then result has what came of it */
    int64_t result;
    enum stage stage;
    uint32_t number; /* which file */
    rt_file file;
    /* What is in memory of it, from `used` on, which is `at` in the file. */
    char *buffer;
    size_t room, length, used;
    uint64_t at;
    bool ended; /* that is all of it */
    enum kind kind;
    struct value_rules rules;
    struct rdb_keys keys;
    struct replay *replay;
    struct request_words words;
    uint32_t db;
    size_t multi; /* in a transaction: bytes from `used` on that were looked through for its end */
    uint64_t requests, errors;
};

static void done(struct rt_file_op *op, int64_t result) {
    struct load_files *files = (struct load_files *)op;
    files->waits = false;
    files->result = result;
}

static struct worker *worker_of(const struct load_files *files) {
    return files->self->worker;
}

static const char *path_of(const struct load_files *files) {
    return files->self->load->files[files->number];
}

static bool is_last(const struct load_files *files) {
    return files->number + 1 == files->self->load->files_count;
}

static enum load_step fail(struct load_files *files, const char *reason) {
    load_fail(files->self, path_of(files), files->at, reason);
    return LOAD_FAILED;
}

static enum load_step fail_errno(struct load_files *files, const char *what) {
    struct text reason;
    text_init(&reason);
    text_appendf(&reason, "it cannot be %s: %s", what, strerror((int)-files->result));
    enum load_step step = fail(files, reason.ptr);
    text_fini(&reason);
    return step;
}

/* ---- Files ---- */

static enum load_step open_next(struct load_files *files) {
    const struct load *load = files->self->load;
    if (files->number == load->files_count) {
        return LOAD_IS_DONE;
    }
    files->at = 0;
    files->length = files->used = 0;
    files->ended = false;
    files->kind = KIND_UNKNOWN;
    files->db = 0; /* each part begins there */
    files->multi = 0;
    files->file = -1;
    files->waits = true;
    files->stage = STAGE_OPENED;
    rt_file_open(worker_of(files)->rt, &files->op, path_of(files), RT_OPEN_READ, 0);
    return LOAD_GOES_ON;
}

static void close_file(struct load_files *files) {
    files->waits = true;
    files->stage = STAGE_CLOSE;
    rt_file_close(worker_of(files)->rt, &files->op, files->file);
}

static enum load_step opened(struct load_files *files) {
    if (files->result < 0) {
        return fail_errno(files, "opened");
    }
    files->file = (rt_file)files->result;
    files->stage = STAGE_WORK;
    return LOAD_GOES_ON;
}

/* A piece behind what is left. */
static enum load_step read_more(struct load_files *files) {
    size_t left = files->length - files->used;
    if (left > 0 && files->used > 0) {
        memmove(files->buffer, files->buffer + files->used, left);
    }
    files->used = 0;
    files->length = left;
    if (files->room - left < PIECE_BYTES) {
        files->room = left * 2 + PIECE_BYTES;
        files->buffer = must_realloc(files->buffer, files->room);
    }
    files->waits = true;
    files->stage = STAGE_READ;
    rt_file_read(worker_of(files)->rt, &files->op, files->file, files->buffer + left, PIECE_BYTES,
                 files->at + left);
    return LOAD_GOES_ON;
}

static enum load_step has_read(struct load_files *files) {
    if (files->result < 0) {
        return fail_errno(files, "read");
    }
    files->length += (size_t)files->result;
    files->ended = files->result < (int64_t)PIECE_BYTES;
    files->stage = STAGE_WORK;
    return LOAD_GOES_ON;
}

static enum load_step has_closed(struct load_files *files) {
    files->number++;
    files->stage = STAGE_OPEN;
    return LOAD_GOES_ON;
}

static struct bytes at_hand(const struct load_files *files) {
    return bytes_make(files->buffer + files->used, files->length - files->used);
}

static void use(struct load_files *files, size_t n) {
    struct worker *worker = worker_of(files);
    files->used += n;
    files->at += n;
    shared_add_loaded_bytes(worker->server->shared, worker->id, n);
}

/* ---- An RDB file ---- */

static struct keyspace *keyspace_of(void *arg, uint16_t slot) {
    struct worker *worker = arg;
    return worker->server->workers[node_owner(worker->node, slot)]->shard.keyspace;
}

static void begin_rdb(struct load_files *files) {
    struct worker *worker = worker_of(files);
    const struct load *load = files->self->load;
    struct rdb_keys_options options = {
        .secret = &worker->server->secret,
        .rules = &files->rules,
        .databases = (uint32_t)config_databases(worker->config),
        .now_ms = load->now_ms,
        .relaxed = worker->config->rdb_version_check != 0,
        .check_sum = worker->config->rdbchecksum,
        .keep_over = load->aof || load->lost != NULL || load->stream.is,
        .keyspace_of = keyspace_of,
        .arg = worker,
        .any = worker->shard.keyspace,
        .library = load_library,
    };
    rdb_keys_init(&files->keys, &options);
    files->kind = KIND_RDB;
}

static void end_rdb(struct load_files *files) {
    const struct rdb_loaded *loaded = &files->keys.loaded;
    struct rdb_loaded *sum = &files->self->loaded;
    sum->keys += loaded->keys;
    sum->expired += loaded->expired;
    sum->empty += loaded->empty;
    sum->functions += loaded->functions;
    rdb_keys_fini(&files->keys);
    files->kind = KIND_REQUESTS;
}

static enum load_step work_rdb(struct load_files *files) {
    struct rdb_input input = rdb_input(at_hand(files));
    const char *before = input.at;
    uint64_t keys = files->keys.loaded.keys;
    uint32_t budget = worker_of(files)->config->key_load_delay > 0 ? 1 : KEYS_AT_ONCE;
    enum rdb_keys_got got = rdb_keys_some(&files->keys, &input, budget);
    use(files, (size_t)(input.at - before));
    bool rests = load_delay(files->self, files->keys.loaded.keys - keys);
    switch (got) {
    case RDB_KEYS_MORE:
        return files->ended ? fail(files, RDB_KEYS_CUT_OFF) : read_more(files);
    case RDB_KEYS_SLICE:
        return rests ? LOAD_RESTS : LOAD_GOES_ON;
    case RDB_KEYS_BAD:
        return fail(files, input.error);
    case RDB_KEYS_END:
        break;
    }
    end_rdb(files);
    if (!files->self->load->aof) { /* as Redis does, nobody looks at what may follow */
        close_file(files);
    }
    return LOAD_GOES_ON;
}

/* ---- Requests ---- */

/* The file ends in the middle of one, or of a transaction. */
static enum load_step cut_off(struct load_files *files) {
    struct worker *worker = worker_of(files);
    size_t left = at_hand(files).len;
    if (left > 0 && !(is_last(files) && worker->config->aof_load_truncated)) {
        return fail(files, is_last(files)
                               ? "it ends in the middle of a command, and aof-load-truncated is no"
                               : "it ends in the middle of a command, and is not the last file");
    }
    if (left > 0) {
        log_worker(worker, LOG_WARNING,
                   "%s ends in the middle of a command or transaction: its last %zu bytes, from "
                   "byte %llu on, are left out (aof-load-truncated)",
                   path_of(files), left, (unsigned long long)files->at);
        use(files, left);
    }
    close_file(files);
    return LOAD_GOES_ON;
}

static bool is_command(const struct request_words *words, const char *name) {
    return words->argc > 0 && bytes_equal_nocase(words->argv[0], bytes_of_text(name));
}

/* Takes one request off the input; of notes (#TS: ..) argc is 0. */
static enum request_got take(struct load_files *files, struct bytes *input) {
    files->words.argc = 0;
    if (input->len > 0 && input->ptr[0] == '#') {
        const char *end = memchr(input->ptr, '\n', input->len);
        if (end == NULL) {
            return REQUEST_SHORT;
        }
        *input = bytes_make(end + 1, input->len - (size_t)(end + 1 - input->ptr));
        return REQUEST_WHOLE;
    }
    return input->len > 0 ? request_take(input, &files->words) : REQUEST_SHORT;
}

/* Looks for the EXEC of the transaction that stands at hand, so that none is run that has no end.
 */
static enum request_got find_end(struct load_files *files) {
    struct bytes input = at_hand(files);
    input = bytes_make(input.ptr + files->multi, input.len - files->multi);
    for (;;) {
        enum request_got got = take(files, &input);
        if (got != REQUEST_WHOLE) {
            return got;
        }
        files->multi = (size_t)(input.ptr - at_hand(files).ptr);
        if (is_command(&files->words, "exec")) {
            return REQUEST_WHOLE;
        }
    }
}

static bool select_db(struct load_files *files) {
    int64_t db;
    if (files->words.argc != 2 || !num_parse_i64(files->words.argv[1], &db) || db < 0 ||
        db >= config_databases(worker_of(files)->config)) {
        return false;
    }
    files->db = (uint32_t)db;
    return true;
}

/* What a log says beside commands on keys. */
static bool is_passed(const struct request_words *words) {
    return words->argc == 0 || is_command(words, "multi") || is_command(words, "exec") ||
           is_command(words, "ping");
}

/* Runs the request in `words`; NULL or what is wrong. */
static const char *run(struct load_files *files, struct text *why) {
    if (is_passed(&files->words)) {
        return NULL;
    }
    if (is_command(&files->words, "select")) {
        return select_db(files) ? NULL : "a database beyond those that are configured";
    }
    files->requests++;
    switch (replay_run(files->replay, files->db, files->words.argv, files->words.argc,
                       rt_wall_ms(worker_of(files)->rt), why)) {
    case REPLAY_DONE:
        break;
    case REPLAY_FAILED: /* as on the server that logged it */
        if (files->errors++ == 0) {
            log_worker(worker_of(files), LOG_WARNING, "%s, at byte %llu: %s", path_of(files),
                       (unsigned long long)files->at, why->ptr);
        }
        break;
    case REPLAY_UNKNOWN:
        return why->ptr;
    }
    return NULL;
}

static enum load_step work_request(struct load_files *files) {
    struct bytes input = at_hand(files);
    enum request_got got = files->multi > 0 ? find_end(files) : take(files, &input);
    if (got == REQUEST_WHOLE && files->multi == 0 && is_command(&files->words, "multi")) {
        files->multi = (size_t)(input.ptr - at_hand(files).ptr);
        return LOAD_GOES_ON;
    }
    if (got == REQUEST_SHORT) {
        return files->ended ? cut_off(files) : read_more(files);
    }
    if (got == REQUEST_BAD) {
        return fail(files, "no command, and no RDB file");
    }
    size_t bytes = files->multi > 0 ? files->multi : (size_t)(input.ptr - at_hand(files).ptr);
    struct bytes rest = bytes_make(at_hand(files).ptr, bytes); /* a whole transaction, or one */
    struct text why;
    text_init(&why);
    const char *wrong = NULL;
    while (rest.len > 0 && wrong == NULL) {
        take(files, &rest);
        text_clear(&why);
        wrong = run(files, &why);
    }
    enum load_step step = LOAD_GOES_ON;
    if (wrong != NULL) {
        step = fail(files, wrong);
    } else {
        use(files, bytes);
        files->multi = 0;
        step = load_delay(files->self, 1) ? LOAD_RESTS : LOAD_GOES_ON;
    }
    text_fini(&why);
    return step;
}

/* ---- All of it ---- */

static enum load_step look_what_it_is(struct load_files *files) {
    struct bytes input = at_hand(files);
    if (input.len < 6 && !files->ended) {
        return read_more(files);
    }
    bool rdb = (input.len >= 5 && memcmp(input.ptr, "REDIS", 5) == 0) ||
               (input.len >= 6 && memcmp(input.ptr, "VALKEY", 6) == 0);
    if (rdb || !files->self->load->aof) {
        begin_rdb(files);
    } else {
        files->kind = KIND_REQUESTS;
    }
    return LOAD_GOES_ON;
}

static enum load_step work(struct load_files *files) {
    switch (files->kind) {
    case KIND_UNKNOWN:
        return look_what_it_is(files);
    case KIND_RDB:
        return work_rdb(files);
    default:
        return work_request(files);
    }
}

bool load_files_want_all(const struct load_files *files) {
    return files->stage == STAGE_WORK && !files->waits;
}

enum load_step load_files_some(struct load_files *files, uint64_t end) {
    static enum load_step (*const steps[])(struct load_files * files) = {
        [STAGE_OPEN] = open_next, [STAGE_OPENED] = opened,    [STAGE_READ] = has_read,
        [STAGE_WORK] = work,      [STAGE_CLOSE] = has_closed,
    };
    enum load_step step = LOAD_GOES_ON;
    while (!files->waits && step == LOAD_GOES_ON && rt_ticks(worker_of(files)->rt) < end) {
        if (files->stage == STAGE_WORK && !alone_is(&files->self->load->alone)) {
            break;
        }
        step = steps[files->stage](files);
    }
    return step == LOAD_GOES_ON && files->waits ? LOAD_WAITS : step;
}

bool load_files_hold_value(const struct load_files *files) {
    return files->kind == KIND_RDB && files->keys.in_value;
}

void load_files_drop_value(struct load_files *files) {
    rdb_keys_leave_value(&files->keys);
}

uint64_t load_files_requests(const struct load_files *files) {
    return files->requests;
}

struct load_files *load_files_new(struct load_worker *self) {
    struct load_files *files = must_aligned(_Alignof(struct load_files), sizeof *files);
    *files = (struct load_files){
        .op.done = done,
        .self = self,
        .rules = value_rules_of(self->worker->config),
        .replay = replay_new(self->worker),
    };
    return files;
}

void load_files_free(struct load_files *files) {
    if (files == NULL) {
        return;
    }
    if (files->kind == KIND_RDB) {
        rdb_keys_fini(&files->keys);
    }
    replay_free(files->replay);
    request_words_fini(&files->words);
    free(files->buffer);
    free(files);
}
