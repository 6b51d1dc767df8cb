/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster_ask: CLUSTER subcommands that the brain answers: their words go to the cluster's thread,
 * with what only shards know, and the reply comes back when all that it tells of is on the disk and
 * known to every worker (cluster/cluster.h).
 *
 *     all workers: how many keys (of some commands) -> home: ask, sleep --- answered --> reply
 */
#include "base/must.h"
#include "base/text.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/call.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/cluster/cluster.h"
#include "server/cluster/imports.h"
#include "server/commands/cluster/cluster.h"
#include "server/config/config.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <stdlib.h>
#include <string.h>

/* ---- The question ---- */

/* The words of a request, in one piece with their bytes: they outlive the client's input. */
struct words {
    uint32_t count;
    struct bytes list[];
};

static struct words *copy_words(const struct bytes *argv, uint32_t count) {
    size_t bytes = sizeof(struct words) + count * sizeof *argv;
    for (uint32_t i = 0; i < count; i++) {
        bytes += argv[i].len;
    }
    struct words *words = must_malloc(bytes + 1);
    char *at = (char *)(words->list + count);
    words->count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (argv[i].len > 0) {
            memcpy(at, argv[i].ptr, argv[i].len);
        }
        words->list[i] = bytes_make(at, argv[i].len);
        at += argv[i].len;
    }
    return words;
}

struct question {
    struct words *words;
    uint64_t keys, slot_keys;
    int slot; /* whose keys are wanted, or -1 */
    char my_ip[48];
    bool is_tls, is_ipv6, from_primary, establishes, at_once, told;
    uint8_t resp;
    uint64_t client;
};

/* ---- Asked, and answered ---- */

struct asking {
    struct cluster_asked asked; /* first */
    struct worker *worker;
    struct text reply;
    bool over;
};

static void answered(struct cluster_asked *asked, struct bytes reply) {
    struct asking *asking = (struct asking *)asked;
    text_append_bytes(&asking->reply, reply);
    asking->over = true;
    scatter_wake(asking->worker);
}

static bool ask_words(struct worker *worker, const struct bytes *list, uint32_t count,
                      const struct question *question, struct asking **asking) {
    if (*asking == NULL) {
        *asking = must_calloc(1, sizeof **asking);
        (*asking)->asked = (struct cluster_asked){
            .done = answered,
            .keys = question->keys,
            .slot_keys = question->slot_keys,
            .is_tls = question->is_tls,
            .is_ipv6 = question->is_ipv6,
            .from_primary = question->from_primary,
            .at_once = question->at_once,
            .told = question->told,
            .client = question->client,
            .resp = question->resp,
        };
        memcpy((*asking)->asked.my_ip, question->my_ip, sizeof question->my_ip);
        (*asking)->worker = worker;
        text_init(&(*asking)->reply);
        cluster_ask(worker, list, count, &(*asking)->asked);
    }
    if (!(*asking)->over) {
        scatter_sleep(worker);
    }
    return (*asking)->over;
}

static bool ask_part(struct worker *worker, const void *args, void *part) {
    const struct question *question = args;
    return ask_words(worker, question->words->list, question->words->count, question, part);
}

static void count_then_ask(struct exec *x, const struct question *question);

static void ask_done(struct exec *x, const struct scatter_result *result) {
    const struct question *question = result->args;
    struct asking *asking = *(struct asking **)result->parts[0];
    struct bytes reply = text_bytes(&asking->reply);
    /* If who gave the order has gone nothing is done of it here. */
    if (bytes_equal(reply, BYTES(CLUSTER_TOLD)) && x->client != NULL) {
        struct question again = *question;
        again.told = true;
        again.keys = again.slot_keys = 0;
        text_fini(&asking->reply);
        free(asking);
        count_then_ask(x, &again);
        return;
    }
    if (reply.len > 3 && reply.ptr[0] == '-') { /* so that it counts as one */
        reply_error_bytes(x->reply, bytes_make(reply.ptr + 1, reply.len - 3));
    } else {
        reply_raw(x->reply, reply);
    }
    if (question->establishes && x->client != NULL) { /* else its connection has ended by now */
        import_answered(x->client, reply.len > 0 && reply.ptr[0] == '+');
    }
    text_fini(&asking->reply);
    free(asking);
    free(question->words);
}

static void ask(struct exec *x, const struct question *question) {
    scatter_one(x, worker_id(x->worker), ask_part, sizeof(struct asking *), question,
                sizeof *question, ask_done);
}

/* ---- CLUSTER INFO for others ---- */

bool cluster_info_part(struct worker *worker, const void *args, void *part) {
    (void)args;
    const struct bytes word = BYTES("INFO");
    const struct question question = {.slot = -1, .resp = 2};
    return ask_words(worker, &word, 1, &question, part);
}

/* It came as a bulk string. */
char *cluster_info_take(void *part) {
    struct asking *asking = *(struct asking **)part;
    struct bytes reply = text_bytes(&asking->reply);
    const char *begin = memchr(reply.ptr, '\n', reply.len);
    size_t len =
        begin != NULL && reply.ptr[0] == '$' ? reply.len - (size_t)(begin + 1 - reply.ptr) : 0;
    char *text = must_calloc(1, len + 1);
    if (len >= 2) {
        memcpy(text, begin + 1, len - 2);
    }
    text_fini(&asking->reply);
    free(asking);
    return text;
}

/* ---- How many keys there are ---- */

struct counted {
    uint64_t keys, slot_keys;
};

/* Of all pairs of slots in the words; what is none the brain refuses. */
static uint64_t count_ranges(const struct keyspace *ks, const struct words *words) {
    uint64_t keys = 0;
    int64_t first, last, asked = 0; /* slots: more than there are is refused anyway */
    for (uint32_t i = 0; i + 1 < words->count && asked <= SLOTS; i++) {
        if (num_parse_i64(words->list[i], &first) && num_parse_i64(words->list[i + 1], &last)) {
            for (; first >= 0 && first <= last && last < SLOTS && asked <= SLOTS; first++) {
                keys += keyspace_slot_count(ks, (uint16_t)first);
                asked++;
            }
            i++;
        }
    }
    return keys;
}

static bool count_part(struct worker *worker, const void *args, void *part) {
    const struct question *question = args;
    struct counted *counted = part;
    const struct keyspace *ks = worker_shard(worker)->keyspace;
    uint32_t databases = (uint32_t)config_databases(worker_config(worker));
    for (uint32_t db = 0; db < databases; db++) {
        counted->keys += keyspace_count(ks, db);
    }
    if (question->establishes) {
        counted->slot_keys = count_ranges(ks, question->words);
    } else if (question->slot >= 0) {
        counted->slot_keys = keyspace_slot_count(ks, (uint16_t)question->slot);
    }
    return true;
}

static void count_done(struct exec *x, const struct scatter_result *result) {
    struct question question = *(const struct question *)result->args;
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct counted *counted = result->parts[i];
        question.keys += counted->keys;
        question.slot_keys += counted->slot_keys;
    }
    ask(x, &question);
}

static void count_then_ask(struct exec *x, const struct question *question) {
    scatter_all(x, count_part, sizeof(struct counted), question, sizeof *question, count_done);
}

/* ---- Which facts a command needs ---- */

static bool needs_keys(const struct command *row) {
    return strcmp(row->name, "flushslots") == 0 || strcmp(row->name, "replicate") == 0 ||
           strcmp(row->name, "reset") == 0 || strcmp(row->name, "setslot") == 0;
}

/* The address by which the client has reached this node, without its port. */
static void note_my_ip(const struct client *client, char ret[48]) {
    const char *local = client->local, *end = local != NULL ? strrchr(local, ':') : NULL;
    bool six = end != NULL && local[0] == '[';
    if (end == NULL || client->flags & CLIENT_UNIX) {
        return;
    }
    const char *begin = local + six;
    size_t length = (size_t)(end - begin) - six;
    if (length < 48) {
        memcpy(ret, begin, length);
    }
}

void command_cluster_asked(struct exec *x) {
    if (cluster_map_or_error(x) == NULL) {
        return;
    }
    if (x->client == NULL) {
        /* A script has all shards in view, or one of them, and waits for nobody. */
        reply_error(x->reply, "ERR This Valkey command is not allowed from script");
        return;
    }
    int64_t slot = -1;
    if (strcmp(x->command->name, "setslot") == 0 && x->argc > 2 &&
        !(num_parse_i64(x->argv[2], &slot) && slot >= 0 && slot < SLOTS)) {
        slot = -1; /* the brain says so */
    }
    struct question question = {
        .words = copy_words(x->argv + 1, x->argc - 1),
        .slot = (int)slot,
        .is_tls = x->client->flags & CLIENT_TLS,
        .is_ipv6 = x->client->flags & CLIENT_IPV6,
        .from_primary = x->client->upstream != NULL,
        .at_once = x->client->txn != NULL,
        .client = x->client->id,
        .resp = x->reply->resp,
    };
    if (strcmp(x->command->name, "syncslots") == 0 && !question.from_primary &&
        bytes_is(x->argv[2], "establish")) {
        question.establishes = import_asks(x->client);
        if (!question.establishes) {
            free(question.words);
            reply_error(x->reply, "ERR Slots do not come within MULTI");
            return;
        }
    }
    note_my_ip(x->client, question.my_ip);
    if (needs_keys(x->command) || question.establishes) {
        count_then_ask(x, &question);
    } else {
        ask(x, &question);
    }
}
