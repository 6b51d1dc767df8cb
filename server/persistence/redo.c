/* SPDX-License-Identifier: BSD-3-Clause */
/* redo: see the header. Why so: the order of records matters only between those that have a key in
 * common, and a key has one owner. Who reads a record cannot be its owner: the log may be of
 * another number of shards, or of slots that lay elsewhere. So reading is divided by numbers and
 * running by keys, and between the two all workers meet: a few thousand records apart, which hides
 * what it takes. Owners that wait for each other record by record were not tried: each such wait is
 * a message there and back.
 *
 *  1. Shares have the numbers in their order: all of one before those of the next.
 *  2. While workers read, each writes to its own share alone; while they run, nobody writes to the
 *     records. The messages in between hand them over.
 *  3. Of a list of records that one owner has, `first` and `next` follow the order of numbers.
 */
#include "server/persistence/redo.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "persist/check/request.h"
#include "proto/parser.h"
#include "server/persistence/replay.h"
#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* Of blocks, as they lie in files: what a worker reads before all run. */
#define SHARE_BYTES ((uint64_t)256 * 1024)
#define ARENA_BYTES ((size_t)64 * 1024)
/* An unpacked payload that was larger is not kept for the next one. */
#define ROOM_BYTES ((size_t)4 * 1024 * 1024)
/* If more records than that are about several shards, meeting for each costs more than it gains. */
#define MEETINGS_MAX 8
/* Records between two looks at the clock. */
#define LOOK_EVERY 16
#define NONE       UINT32_MAX

struct record {
    struct replay_command what;
    uint32_t next;   /* of the same owner, or NONE */
    uint32_t number; /* of the share's places: where its number begins */
};

/* A record: its share, and there. */
struct spot {
    uint32_t share, record;
};

/* The block of a file that was read last. */
struct opened {
    struct log_block block;
    struct bytes payload;
    bool is;
};

struct redo_share {
    struct message message; /* first */
    struct redo *redo;
    struct worker *worker;
    struct replay *replay;
    const struct log_place *places; /* that it reads */
    size_t places_count, at;
    uint64_t bytes;
    struct arena arena;
    struct parser parser;
    struct opened *opened; /* by file */
    struct text *rooms;    /* unpacked payloads */
    size_t rooms_count, rooms_used;
    struct record *records;
    uint32_t records_count, records_room;
    uint32_t *first, *last;         /* by owner; behind them those of all */
    uint32_t meetings;              /* how many are of all */
    uint64_t passed;                /* that another part had as well */
    struct spot next;               /* that it runs */
    const struct log_place *failed; /* NULL: nothing is wrong */
    struct spot failed_at;
    struct text why;
};

enum phase { PHASE_READ, PHASE_RUN, PHASE_MET, PHASE_ONE_BY_ONE };

struct redo {
    struct worker *worker;
    unsigned workers;
    const struct redo_file *files;
    uint32_t files_count;
    uint64_t *weighed; /* by file: the block that was counted last */
    struct redo_share *shares;
    unsigned filling; /* the share that takes numbers */
    enum phase phase;
    bool own;          /* worker 0's share is still to be done */
    unsigned away;     /* so many of others */
    struct spot limit; /* workers run what lies before it; then it is its turn, alone */
    struct spot next;  /* if all run one by one */
    const struct redo_share *failed;
    uint64_t records;
};

static bool is_before(struct spot one, struct spot other) {
    return one.share != other.share ? one.share < other.share : one.record < other.record;
}

/* ---- Reading ---- */

static struct text *room_for(struct redo_share *share) {
    if (share->rooms_used == share->rooms_count) {
        share->rooms_count = share->rooms_count > 0 ? share->rooms_count * 2 : 16;
        share->rooms = must_realloc(share->rooms, share->rooms_count * sizeof *share->rooms);
        for (size_t i = share->rooms_used; i < share->rooms_count; i++) {
            text_init(&share->rooms[i]);
        }
    }
    return &share->rooms[share->rooms_used++];
}

/* The block of a place. NULL, or what is wrong. */
static const char *open_block(struct redo_share *share, const struct log_place *place) {
    struct opened *opened = &share->opened[place->file];
    if (opened->is && opened->block.offset == place->offset) {
        return NULL;
    }
    const struct redo_file *file = &share->redo->files[place->file];
    struct bytes input =
        bytes_make(file->window.ptr + (place->offset - file->window_at), (size_t)place->bytes);
    const char *error;
    opened->is = false;
    if (log_block_decode(input, &file->segment, place->offset, &opened->block, &error) !=
        LOG_WHOLE) {
        return "the file changes while it is read";
    }
    if (!log_block_payload(&opened->block, room_for(share), &opened->payload)) {
        return "a block cannot be unpacked";
    }
    opened->is = true;
    return NULL;
}

/* A part of a number. */
struct part {
    struct bytes records; /* that are left */
    int64_t now_ms;
};

/* Which command of its transaction the next record is of: it is marked in its first word. */
static uint32_t next_order(struct bytes records) {
    struct bytes word = records;
    const char *line = memchr(word.ptr, '$', word.len < 32 ? word.len : 32);
    const char *end =
        line != NULL ? memchr(line, '\n', (size_t)(word.ptr + word.len - line)) : NULL;
    if (end == NULL || end + 1 == word.ptr + word.len || end[1] != '@') {
        return 0;
    }
    word = bytes_make(end + 1, (size_t)(records.ptr + records.len - end - 1));
    end = memchr(word.ptr, '\r', word.len);
    uint32_t db, order;
    return end != NULL && request_mark(bytes_make(word.ptr, (size_t)(end - word.ptr)), &db, &order)
               ? order
               : 0;
}

static void append(struct redo_share *share, const struct replay_command *what) {
    if (share->records_count == share->records_room) {
        share->records_room = share->records_room > 0 ? share->records_room * 2 : 1024;
        share->records = must_realloc(share->records, share->records_room * sizeof *share->records);
    }
    uint32_t i = share->records_count++;
    share->records[i] = (struct record){.what = *what, .next = NONE, .number = (uint32_t)share->at};
    unsigned owner = replay_owner(what);
    if (owner == REPLAY_OWNER_ALL) {
        owner = share->redo->workers;
        share->meetings++;
    }
    if (share->first[owner] == NONE) {
        share->first[owner] = i;
    } else {
        share->records[share->last[owner]].next = i;
    }
    share->last[owner] = i;
}

/* Takes the next record of a part. NULL, or what is wrong. `again`: another part has had a record
 * of the same command. */
static const char *read_record(struct redo_share *share, struct part *part, bool again) {
    static const struct parser_limits limits = {
        .bulk_len_max = INT64_MAX, .query_bytes_max = INT64_MAX, .authenticated = true};
    struct request request;
    size_t used;
    if (parser_run(&share->parser, &limits, part->records, &share->arena, &request, &used) !=
        PARSE_REQUEST) {
        return "a record is no command";
    }
    part->records = bytes_make(part->records.ptr + used, part->records.len - used);
    struct request_words words = {.argv = request.argv, .argc = request.argc};
    uint32_t db, order;
    if (!request_take_mark(&words, &db, &order)) {
        return "a record without a command";
    }
    if (again && replay_is_of_all(share->worker, words.argv, words.argc)) {
        share->passed++;
        return NULL;
    }
    if (db >= (uint32_t)config_databases(share->worker->config)) {
        text_appendf(&share->why, "a record of database %u, which there is not", db);
        return share->why.ptr;
    }
    struct replay_command what = {
        .argv = words.argv, .argc = words.argc, .db = db, .now_ms = part->now_ms};
    if (replay_look(share->worker, &share->arena, &what, &share->why) != REPLAY_DONE) {
        return share->why.ptr;
    }
    append(share, &what);
    return NULL;
}

/* All parts of one number, command by command. */
static const char *read_parts(struct redo_share *share, struct part *parts, size_t count) {
    const char *error = NULL;
    uint64_t few[4], *orders = count > 4 ? must_malloc(count * sizeof *orders) : few;
    struct log_order order = {0};
    while (error == NULL) {
        for (size_t i = 0; i < count; i++) {
            orders[i] = parts[i].records.len > 0 ? next_order(parts[i].records) : LOG_ORDER_NONE;
        }
        bool again;
        size_t next = log_order_next(&order, orders, count, &again);
        if (next == count) {
            break;
        }
        error = read_record(share, &parts[next], again);
    }
    if (orders != few) {
        free(orders);
    }
    return error;
}

/* So many places that have one number. */
static const char *read_number(struct redo_share *share, const struct log_place *places,
                               size_t count) {
    struct part few[4], *parts = count > 4 ? must_malloc(count * sizeof *parts) : few;
    const char *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        const struct opened *opened = &share->opened[places[i].file];
        error = open_block(share, &places[i]);
        if (error == NULL) {
            parts[i].records = log_index_records(&opened->block, places[i].run, opened->payload);
            parts[i].now_ms = (int64_t)opened->block.time_ms;
        }
    }
    error = error != NULL ? error : read_parts(share, parts, count);
    if (parts != few) {
        free(parts);
    }
    return error;
}

static void fails(struct redo_share *share, const struct log_place *place, const char *why) {
    share->failed = place;
    if (why != share->why.ptr) {
        text_clear(&share->why);
        text_append_text(&share->why, why);
    }
}

static bool read_some(struct redo_share *share, uint64_t end) {
    while (share->at < share->places_count && share->failed == NULL) {
        if (rt_ticks(share->worker->rt) >= end) {
            return false;
        }
        const struct log_place *place = &share->places[share->at];
        size_t count = 1;
        while (share->at + count < share->places_count && place[count].number == place->number) {
            count++;
        }
        const char *error = read_number(share, place, count);
        if (error != NULL) {
            fails(share, place, error);
        }
        share->at += count;
    }
    return true;
}

/* ---- Running ---- */

static struct record *record_at(const struct redo *redo, struct spot spot) {
    return &redo->shares[spot.share].records[spot.record];
}

/* From a spot on, whose record may be NONE: the first record of that owner. Behind all shares:
 * there is none. */
static struct spot find(const struct redo *redo, unsigned owner, struct spot spot) {
    while (spot.share < redo->workers && spot.record == NONE) {
        spot.share++;
        spot.record = spot.share < redo->workers ? redo->shares[spot.share].first[owner] : 0;
    }
    return spot;
}

static struct spot find_first(const struct redo *redo, unsigned owner) {
    return find(redo, owner, (struct spot){.record = redo->shares[0].first[owner]});
}

static struct spot behind(const struct redo *redo, unsigned owner, struct spot spot) {
    spot.record = record_at(redo, spot)->next;
    return find(redo, owner, spot);
}

/* False: it has failed. */
static bool run_record(struct redo_share *share, struct spot spot) {
    const struct redo *redo = share->redo;
    const struct record *record = record_at(redo, spot);
    if (replay_do(share->replay, &record->what, &share->why) == REPLAY_DONE) {
        return true;
    }
    share->failed_at = spot;
    fails(share, &redo->shares[spot.share].places[record->number], share->why.ptr);
    return false;
}

static bool run_some(struct redo_share *share, uint64_t end) {
    const struct redo *redo = share->redo;
    for (unsigned ran = 0; is_before(share->next, redo->limit); ran++) {
        if (ran % LOOK_EVERY == 0 && rt_ticks(share->worker->rt) >= end) {
            return false;
        }
        if (!run_record(share, share->next)) {
            return true;
        }
        share->next = behind(redo, share->worker->id, share->next);
    }
    return true;
}

static bool some(struct redo_share *share, uint64_t end) {
    return share->redo->phase == PHASE_READ ? read_some(share, end) : run_some(share, end);
}

/* ---- Others ---- */

struct redo_share *redo_share_of(struct message *message) {
    return (struct redo_share *)message;
}

bool redo_share_some(struct redo_share *share, uint64_t end) {
    if (!some(share, end)) {
        return false;
    }
    share->message.kind = MESSAGE_REDO_DONE;
    post_send(share->worker->server->office, share->worker->id, share->message.home,
              &share->message);
    return true;
}

void redo_share_home(struct message *message) {
    struct redo *redo = redo_share_of(message)->redo;
    check(redo->away > 0);
    redo->away--;
}

/* ---- Worker 0 ---- */

static void hand_out(struct redo *redo) {
    unsigned home = redo->worker->id;
    for (unsigned i = 0; i < redo->workers; i++) {
        struct redo_share *share = &redo->shares[i];
        bool has = redo->phase == PHASE_READ ? share->places_count > 0
                                             : is_before(share->next, redo->limit);
        if (has && i == home) {
            redo->own = true;
        } else if (has) {
            redo->away++;
            share->message = (struct message){.kind = MESSAGE_REDO, .home = (uint16_t)home};
            post_send(redo->worker->server->office, home, i, &share->message);
        }
    }
}

static void has_read(struct redo *redo) {
    uint32_t meetings = 0;
    for (unsigned i = 0; i < redo->workers; i++) {
        struct redo_share *share = &redo->shares[i];
        meetings += share->meetings;
        redo->records += share->records_count + share->passed;
        share->next = find_first(redo, i);
    }
    redo->limit = find_first(redo, redo->workers);
    redo->phase = meetings > MEETINGS_MAX ? PHASE_ONE_BY_ONE : PHASE_RUN;
    redo->next = (struct spot){0};
    if (redo->phase == PHASE_RUN) {
        hand_out(redo);
    }
}

/* What one thread would have come to first; NULL: nothing. While it is read shares have the order
 * of numbers, then their records. */
static const struct redo_share *find_failed(const struct redo *redo) {
    const struct redo_share *failed = NULL;
    for (unsigned i = 0; i < redo->workers; i++) {
        const struct redo_share *share = &redo->shares[i];
        if (share->failed != NULL &&
            (failed == NULL ||
             (redo->phase != PHASE_READ && is_before(share->failed_at, failed->failed_at)))) {
            failed = share;
        }
    }
    return failed;
}

/* All shares are home. */
static enum redo_step next_phase(struct redo *redo) {
    redo->failed = find_failed(redo);
    if (redo->failed != NULL) {
        return REDO_FAILED;
    }
    switch (redo->phase) {
    case PHASE_READ:
        has_read(redo);
        return REDO_GOES_ON;
    case PHASE_RUN:
        return redo->limit.share < redo->workers ? REDO_WANTS_ALL : REDO_DONE;
    case PHASE_MET:
        redo->phase = PHASE_RUN;
        hand_out(redo);
        return REDO_GOES_ON;
    case PHASE_ONE_BY_ONE:
        break;
    }
    while (redo->next.share < redo->workers &&
           redo->next.record == redo->shares[redo->next.share].records_count) {
        redo->next = (struct spot){.share = redo->next.share + 1};
    }
    return redo->next.share < redo->workers ? REDO_WANTS_ALL : REDO_DONE;
}

enum redo_step redo_step(struct redo *redo, uint64_t end) {
    enum redo_step step = REDO_GOES_ON;
    while (step == REDO_GOES_ON) {
        if (redo->own && !some(&redo->shares[redo->worker->id], end)) {
            return REDO_GOES_ON;
        }
        redo->own = false;
        step = redo->away > 0 ? REDO_WAITS : next_phase(redo);
    }
    return step;
}

void redo_alone(struct redo *redo, uint64_t end) {
    struct redo_share *share = &redo->shares[redo->worker->id];
    if (redo->phase == PHASE_RUN) {
        if (run_record(share, redo->limit)) {
            redo->limit = behind(redo, redo->workers, redo->limit);
            redo->phase = PHASE_MET;
        }
        return;
    }
    check(redo->phase == PHASE_ONE_BY_ONE);
    uint32_t count = redo->shares[redo->next.share].records_count;
    for (unsigned ran = 0; redo->next.record < count; ran++) {
        bool looks = ran % LOOK_EVERY == LOOK_EVERY - 1;
        if ((looks && rt_ticks(redo->worker->rt) >= end) || !run_record(share, redo->next)) {
            return;
        }
        redo->next.record++;
    }
}

const struct log_place *redo_failed(const struct redo *redo, const char **ret_why) {
    *ret_why = redo->failed->why.ptr;
    return redo->failed->failed;
}

uint64_t redo_records(const struct redo *redo) {
    return redo->records;
}

/* ---- Life ---- */

static void clear(struct redo_share *share) {
    const struct redo *redo = share->redo;
    share->places = NULL;
    share->places_count = share->at = 0;
    share->bytes = 0;
    arena_reset(&share->arena);
    for (size_t i = 0; i < share->rooms_used; i++) {
        if (share->rooms[i].len > ROOM_BYTES) {
            text_fini(&share->rooms[i]);
            text_init(&share->rooms[i]);
        }
    }
    share->rooms_used = 0;
    share->records_count = 0;
    share->meetings = 0;
    share->passed = 0;
    for (uint32_t i = 0; i < redo->files_count; i++) {
        share->opened[i].is = false;
    }
    for (unsigned i = 0; i <= redo->workers; i++) {
        share->first[i] = share->last[i] = NONE;
    }
}

static void clear_all(struct redo *redo) {
    for (unsigned i = 0; i < redo->workers; i++) {
        clear(&redo->shares[i]);
    }
    redo->filling = 0;
    redo->phase = PHASE_READ;
}

/* Each block counts once. */
static uint64_t weigh(struct redo *redo, const struct log_place *places, size_t count) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bool counted = redo->weighed[places[i].file] == places[i].offset;
        bytes += counted ? 0 : places[i].bytes;
        redo->weighed[places[i].file] = places[i].offset;
    }
    return bytes;
}

bool redo_take(struct redo *redo, const struct log_place *places, size_t count) {
    if (redo->phase != PHASE_READ) {
        clear_all(redo);
    }
    if (redo->shares[redo->filling].bytes >= SHARE_BYTES) {
        if (redo->filling + 1 == redo->workers) {
            return false;
        }
        redo->filling++;
    }
    struct redo_share *share = &redo->shares[redo->filling];
    share->places = share->places != NULL ? share->places : places;
    share->places_count += count;
    share->bytes += weigh(redo, places, count);
    return true;
}

void redo_begin(struct redo *redo) {
    hand_out(redo);
}

struct redo *redo_new(struct worker *worker, const struct redo_file *files, uint32_t files_count) {
    struct redo *redo = must_calloc(1, sizeof *redo);
    struct server *server = worker->server;
    redo->worker = worker;
    redo->workers = server->workers_count;
    redo->files = files;
    redo->files_count = files_count;
    redo->weighed = must_calloc(files_count, sizeof *redo->weighed); /* no block is at 0 */
    redo->shares = must_aligned(_Alignof(struct redo_share), redo->workers * sizeof *redo->shares);
    for (unsigned i = 0; i < redo->workers; i++) {
        struct redo_share *share = &redo->shares[i];
        *share = (struct redo_share){.redo = redo, .worker = server->workers[i]};
        share->replay = replay_new(share->worker);
        arena_init(&share->arena, ARENA_BYTES);
        parser_init(&share->parser);
        text_init(&share->why);
        share->opened = must_calloc(files_count, sizeof *share->opened);
        share->first = must_calloc(redo->workers + 1, sizeof *share->first);
        share->last = must_calloc(redo->workers + 1, sizeof *share->last);
    }
    clear_all(redo);
    return redo;
}

void redo_free(struct redo *redo) {
    if (redo == NULL) {
        return;
    }
    for (unsigned i = 0; i < redo->workers; i++) {
        struct redo_share *share = &redo->shares[i];
        for (size_t j = 0; j < share->rooms_count; j++) {
            text_fini(&share->rooms[j]);
        }
        free(share->rooms);
        replay_free(share->replay);
        arena_fini(&share->arena);
        parser_fini(&share->parser);
        text_fini(&share->why);
        free(share->opened);
        free(share->records);
        free(share->first);
        free(share->last);
    }
    free(redo->shares);
    free(redo->weighed);
    free(redo);
}
