/* SPDX-License-Identifier: BSD-3-Clause */
/* waiters: see the header. Why so: a client has to be found by each of its keys, in the order of
 * arrival, and must be gone from all of them at once when it is served. So a line of clients hangs
 * on each key that somebody waits for, and what stands in the lines is the home's memory, lent: to
 * join and to leave allocates nothing but the line itself.
 *
 *     lines    [db, name] --- key --- key          the line: first come, first served
 *                              |       |
 *     parts                 part   part --- key --- key --- ...
 *
 * A part that somebody else has claimed stands on until it is called back or found in a line; it
 * is passed over, and nobody behind it waits for longer.
 *
 * Invariants
 *  1. A line is in the table as long as somebody stands in it, and in `ready` at most once.
 *  2. A part stands in a line once, however often the command names its key.
 *  3. A part that is not lent, or was served, stands in no line.
 *  4. The claim is taken last, when the value is known to serve: who has taken it and does not
 * serve has lost the client.
 *  5. Who tries has the claim; his parts stay in their lines, and where something has come that he
 * may take nobody behind him is looked at.
 */
#include "shard/watchers/waiters.h"

#include "base/must.h"

#include <stdlib.h>
#include <string.h>

struct waiter_line {
    struct link link; /* first; of waiters->lines */
    struct list keys; /* that stand here */
    struct list_node ready_node;
    uint32_t when_gone; /* how many of them are served when the key has gone */
    uint32_t db;
    struct bytes name;
    bool serving; /* it goes when that is over, not before */
    bool as_one;  /* not all were asked since something has come so */
    char text[];  /* of the name */
};

/* ---- Home ---- */

static int name_compare(const void *a, const void *b) {
    const struct waiter_name *left = *(const struct waiter_name *const *)a;
    const struct waiter_name *right = *(const struct waiter_name *const *)b;
    if (left->shard != right->shard) {
        return left->shard < right->shard ? -1 : 1;
    }
    return (left > right) - (left < right); /* in one array, in its order */
}

static char *copy_name(struct waiter_key *key, char *at) {
    if (key->key.name.len > 0) {
        memcpy(at, key->key.name.ptr, key->key.name.len);
    }
    key->key.name.ptr = at;
    return at + key->key.name.len;
}

struct waiter *waiter_new(const struct waiter_name *names, uint32_t count, void *arg) {
    check(count > 0);
    const struct waiter_name **sorted = must_malloc(count * sizeof(*sorted));
    size_t text_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = &names[i];
        text_bytes += names[i].key.name.len;
    }
    qsort(sorted, count, sizeof(*sorted), name_compare);
    unsigned parts = 1;
    for (uint32_t i = 1; i < count; i++) {
        parts += sorted[i]->shard != sorted[i - 1]->shard;
    }
    size_t bytes = sizeof(struct waiter) + parts * sizeof(struct waiter_part) +
                   count * sizeof(struct waiter_key) + text_bytes;
    struct waiter *waiter = must_calloc(1, bytes);
    claim_init(&waiter->claim);
    waiter->arg = arg;
    waiter->bytes = bytes;
    waiter->parts = (struct waiter_part *)(waiter + 1);
    struct waiter_key *keys = (struct waiter_key *)(waiter->parts + parts);
    char *text = (char *)(keys + count);
    struct waiter_part *part = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (part == NULL || part->shard != sorted[i]->shard) {
            part = &waiter->parts[waiter->parts_count++];
            *part =
                (struct waiter_part){.waiter = waiter, .shard = sorted[i]->shard, .keys = &keys[i]};
        }
        part->keys_count++;
        keys[i] = (struct waiter_key){.part = part,
                                      .db = sorted[i]->db,
                                      .key = sorted[i]->key,
                                      .index = (uint32_t)(sorted[i] - names),
                                      .when_gone = sorted[i]->when_gone};
        list_node_init(&keys[i].node);
        text = copy_name(&keys[i], text);
    }
    free(sorted);
    return waiter;
}

void waiter_free(struct waiter *waiter) {
    check(waiter->away == 0);
    free(waiter);
}

void waiter_lend(struct waiter_part *part) {
    check(part->state == PART_HOME);
    part->state = PART_LENT;
    part->waiter->away++;
}

bool waiter_returned(struct waiter_part *part) {
    check(part->state != PART_HOME);
    part->state = PART_HOME;
    return --part->waiter->away == 0;
}

bool waiter_cancel(struct waiter *waiter) {
    return claim_take(&waiter->claim, CLAIM_TAKEN) == CLAIM_FREE;
}

struct waiter_part *waiter_call_back(struct waiter *waiter) {
    check(claim_look(&waiter->claim) != CLAIM_FREE);
    for (unsigned i = 0; i < waiter->parts_count; i++) {
        struct waiter_part *part = &waiter->parts[i];
        if (part->state == PART_LENT) {
            part->state = PART_CALLED;
            return part;
        }
    }
    return NULL;
}

/* ---- Lines ---- */

static uint64_t line_hash(uint32_t db, const struct key *key) {
    return key->hash ^ key->hash >> 32 ^ db * UINT64_C(0x9E3779B97F4A7C15);
}

static struct waiter_line *line_find(const struct waiters *waiters, uint32_t db,
                                     const struct key *key) {
    uint64_t hash = line_hash(db, key);
    for (struct link *at = links_first(&waiters->lines, hash); at != NULL; at = at->next) {
        struct waiter_line *line = (struct waiter_line *)at;
        if (at->hash == hash && line->db == db && bytes_equal(line->name, key->name)) {
            return line;
        }
    }
    return NULL;
}

static struct waiter_line *line_get(struct waiters *waiters, uint32_t db, const struct key *key) {
    struct waiter_line *line = line_find(waiters, db, key);
    if (line != NULL) {
        return line;
    }
    size_t bytes = sizeof *line + key->name.len;
    line = must_calloc(1, bytes);
    waiters->bytes += bytes;
    list_init(&line->keys);
    list_node_init(&line->ready_node);
    line->db = db;
    line->name = bytes_make(line->text, key->name.len);
    if (key->name.len > 0) {
        memcpy(line->text, key->name.ptr, key->name.len);
    }
    line->link.hash = line_hash(db, key);
    links_add(&waiters->lines, &line->link);
    return line;
}

static void line_free_if_empty(struct waiters *waiters, struct waiter_line *line) {
    if (!list_empty(&line->keys) || line->serving) {
        return;
    }
    list_remove(&line->ready_node);
    links_remove(&waiters->lines, &line->link);
    waiters->bytes -= sizeof *line + line->name.len;
    free(line);
}

static void line_note(struct waiters *waiters, struct waiter_line *line) {
    if (!list_node_linked(&line->ready_node)) {
        list_push_back(&waiters->ready, &line->ready_node);
    }
}

void waiters_init(struct waiters *waiters) {
    links_init(&waiters->lines);
    list_init(&waiters->ready);
    waiters->lines_when_gone = 0;
    waiters->bytes = 0;
}

void waiters_fini(struct waiters *waiters) {
    check(waiters->lines.count == 0 && waiters->lines_when_gone == 0 && waiters->bytes == 0);
    links_fini(&waiters->lines);
}

static void join_again(struct waiters *waiters, struct waiter_part *part) {
    part->tries = false;
    for (uint32_t i = 0; i < part->keys_count; i++) {
        if (part->keys[i].line != NULL) {
            line_note(waiters, part->keys[i].line);
        }
    }
}

void waiters_join(struct waiters *waiters, struct waiter_part *part) {
    if (part->keys[0].line != NULL) { /* inv. 5 */
        join_again(waiters, part);
        return;
    }
    for (uint32_t i = 0; i < part->keys_count; i++) {
        struct waiter_key *key = &part->keys[i];
        check_slow(key->line == NULL);
        struct waiter_line *line = line_get(waiters, key->db, &key->key);
        const struct list_node *last = list_last(&line->keys);
        if (last != NULL && LIST_ENTRY(last, struct waiter_key, node)->part == part) {
            continue; /* inv. 2: nobody else has come meanwhile */
        }
        key->line = line;
#ifdef SHOAL_UNSAFE_WAITS_ORDER /* for the test that users of the simulator notice */
        list_push_front(&line->keys, &key->node);
#else
        list_push_back(&line->keys, &key->node);
#endif
        line_note(waiters, line);
        waiters->lines_when_gone += key->when_gone && line->when_gone++ == 0;
    }
}

void waiters_leave(struct waiters *waiters, struct waiter_part *part) {
    for (uint32_t i = 0; i < part->keys_count; i++) {
        struct waiter_key *key = &part->keys[i];
        if (key->line != NULL) {
            list_remove(&key->node);
            waiters->lines_when_gone -= key->when_gone && --key->line->when_gone == 0;
            if (part->tries) { /* the next in line may be served again */
                line_note(waiters, key->line);
            }
            line_free_if_empty(waiters, key->line);
            key->line = NULL;
        }
    }
    part->tries = false;
}

/* ---- Serving ---- */

void waiters_note_key(struct waiters *waiters, uint32_t db, const struct key *key) {
    struct waiter_line *line = line_find(waiters, db, key);
    if (line != NULL) {
        line_note(waiters, line);
    }
}

void waiters_note_database(struct waiters *waiters, uint32_t db) {
    for (size_t i = 0; i < waiters->lines.buckets_count; i++) {
        for (struct link *at = waiters->lines.buckets[i]; at != NULL; at = at->next) {
            struct waiter_line *line = (struct waiter_line *)at;
            if (line->db == db || db == UINT32_MAX) {
                line_note(waiters, line);
            }
        }
    }
}

/* How the turn of one in a line ends. */
enum turn {
    TURN_OVER,
    TURN_IS_LAST, /* there is nothing for those behind it */
    TURN_HOLDS,   /* they are asked when it has tried */
    TURN_LATER,   /* it is asked again, and they behind it */
};

static enum turn key_holds(struct waiter_key *key, const struct waiters_server *server) {
    key->part->tries = true;
    return server->hold(server->arg, key) ? TURN_HOLDS : TURN_OVER;
}

static enum turn key_serve(struct waiters *waiters, struct waiter_key *key,
                           const struct waiters_server *server) {
    struct waiter_part *part = key->part;
    struct claim *claim = &part->waiter->claim;
    enum claim_state state = claim_look(claim);
    if (part->tries || state == CLAIM_TRIED) {
        return key_holds(key, server);
    }
#ifndef SHOAL_UNSAFE_WAITS_CLAIM
    if (state == CLAIM_TAKEN) {
        waiters_leave(waiters, part);
        return TURN_OVER;
    }
#endif
    enum waiter_answer answer = server->answer(server->arg, key, key->line->as_one);
    if (answer == WAITER_EMPTY || answer == WAITER_LATER) {
        return answer == WAITER_EMPTY ? TURN_IS_LAST : TURN_LATER;
    }
    if (answer == WAITER_PASSES) {
        return TURN_OVER;
    }
    state = claim_take(claim, answer == WAITER_TRIES ? CLAIM_TRIED : CLAIM_TAKEN); /* inv. 4 */
    bool mine = state == CLAIM_FREE;
#ifdef SHOAL_UNSAFE_WAITS_CLAIM /* for the test that users of the simulator notice */
    mine = true;
#endif
    if (mine && answer == WAITER_TRIES) {
        enum turn turn = key_holds(key, server);
        server->try(server->arg, key);
        return turn;
    }
    if (!mine && state == CLAIM_TRIED) { /* by another shard, just now */
        return key_holds(key, server);
    }
    waiters_leave(waiters, part);
    if (mine) {
        server->serve(server->arg, key);
    }
    return TURN_OVER;
}

/* False: it is to be asked again. */
static bool line_serve(struct waiters *waiters, struct waiter_line *line,
                       const struct waiters_server *server) {
    enum turn turn = TURN_OVER;
    line->serving = true;
    line->as_one |= server->as_one;
    LIST_EACH_SAFE(&line->keys, node) { /* no part stands here twice: the next one stays */
        turn = key_serve(waiters, LIST_ENTRY(node, struct waiter_key, node), server);
        if (turn != TURN_OVER) {
            break;
        }
    }
    line->serving = false;
    line->as_one &= turn == TURN_HOLDS || turn == TURN_LATER;
    line_free_if_empty(waiters, line);
    return turn != TURN_LATER;
}

void waiters_serve_ready(struct waiters *waiters, const struct waiters_server *server) {
    struct list later;
    list_init(&later);
    struct list_node *node;
    while ((node = list_pop_front(&waiters->ready)) != NULL) {
        if (!line_serve(waiters, LIST_ENTRY(node, struct waiter_line, ready_node), server) &&
            !list_node_linked(node)) { /* else what was served has noted it: its turn comes again */
            list_push_back(&later, node);
        }
    }
    list_splice_back(&waiters->ready, &later);
}

size_t waiters_memory(const struct waiters *waiters) {
    return waiters->bytes + links_memory(&waiters->lines);
}
