/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: see the header. A turn of the thread:
 *
 *     runtime    packets go to the brain; what it sends is noted at the wires
 *     mail       questions of clients, the state of this node, settings
 *     tick       ten times a second
 *     disk       one file is written at a time; what changed meanwhile goes into the next
 *     map        made and published once a turn, if something of it has changed
 *     answers    those whose change is on the disk and in every worker's map
 *     wires      what was sent leaves
 */
#include "server/cluster/cluster.h"

#include "base/check.h"
#include "base/must.h"
#include "net/file.h"
#include "net/rt_file.h"
#include "net/tls.h"
#include "server/call/errors.h"
#include "server/cluster/cluster_map.h"
#include "server/cluster/letters.h"
#include "server/cluster/shared_fate.h"
#include "server/cluster/wires.h"
#include "server/observe/line.h"
#include "server/pubsub/pubsub.h"
#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS          100
#define MAIL_A_TURN      64
#define SAVE_AGAIN_MS    100 /* after one that failed */
#define STOP_TURN_NS     (1000 * 1000)
#define VISITED_BLOCK_NS 1000

struct saving {
    struct rt_file_op op;
    struct text text; /* what is being written */
    uint64_t version; /* of it */
    uint64_t wanted, done;
    int64_t again_ms; /* not before, after a failure */
    bool under_way, fails;
};

struct cluster {
    struct server *server;
    struct rt *rt;
    unsigned thread;
    struct brain *brain;
    struct brain_now now;
    struct cluster_settings *settings;
    struct wires *wires;
    struct saving saving;
    struct cluster_maps *maps;
    uint64_t maps_made, maps_taken; /* published, and those that every worker has */
    uint64_t map_version;           /* of the last that was published */
    bool map_changed;
    unsigned fate; /* enum shared_fate, as it was said last */
    struct list asked;
    struct list telling; /* those that replicas are to know first */
    uint64_t tellings;
    int64_t tick_ms;
    bool stopping, asleep;
};

static void say(struct cluster *cluster, enum log_level level, const char *text) {
    log_line(cluster->settings->config, cluster->server->fs, rt_wall_us(cluster->rt), level, "%s",
             text);
}

static const struct brain_now *now(struct cluster *cluster) {
    cluster->now.mono_ms = rt_mono_ms(cluster->rt);
    cluster->now.wall_ms = rt_wall_ms(cluster->rt);
    const struct shared_counters *shared = cluster->server->shared;
    struct shared_place place = shared_place(shared);
    cluster->now.offset = place.offset;
    cluster->now.primary_age_ms = place.age_ms;
    cluster->now.has_keys = shared_has_keys(shared);
    cluster->now.is_loaded = !shared_loading(shared);
    cluster->now.breaks = (struct brain_breaks){
        .errors = shared_import_breaks(shared, IMPORT_BREAK_ERROR),
        .full = shared_import_breaks(shared, IMPORT_BREAK_FULL),
        .flushes = shared_import_breaks(shared, IMPORT_BREAK_FLUSH),
    };
    return &cluster->now;
}

/* ---- What the brain wants ---- */

static void want_link(void *arg, struct brain_link *link, const char *host, uint16_t bus_port) {
    struct cluster *cluster = arg;
    brain_link_set_wire(
        link, wire_connect(cluster->wires, cluster->settings->config, host, bus_port, link));
}

static void want_send(void *arg, struct brain_link *link, const void *packet, size_t bytes) {
    (void)arg;
    struct wire *wire = brain_link_wire(link);
    if (wire != NULL) {
        wire_send(wire, packet, bytes);
    }
}

static void want_close(void *arg, struct brain_link *link) {
    (void)arg;
    struct wire *wire = brain_link_wire(link);
    if (wire != NULL) {
        wire_set_link(wire, NULL);
        wire_close(wire);
    }
}

static void want_persist(void *arg, uint64_t version) {
    struct cluster *cluster = arg;
    cluster->saving.wanted = version;
}

static void want_map(void *arg) {
    ((struct cluster *)arg)->map_changed = true;
}

static void send_errand(struct cluster *cluster, const struct errand *errand) {
    struct errand *copy = must_malloc(sizeof *copy);
    *copy = *errand;
    copy->message = (struct message){.kind = MESSAGE_CLUSTER_ERRAND, .home = POST_ONE_WAY};
    list_node_init(&copy->node);
    post_send(cluster->server->office, cluster->thread, 0, &copy->message);
}

static void want_role(void *arg, const char *ip, uint16_t port, uint16_t tls_port, bool foreign) {
    struct errand errand = {.kind = ERRAND_FOLLOW, .role.foreign = foreign};
    if (ip != NULL) {
        errand.role.replica = true;
        errand.role.port = port > 0 ? port : tls_port;
        errand.tls_port = tls_port;
        snprintf(errand.role.host, sizeof errand.role.host, "%s", ip);
    }
    send_errand(arg, &errand);
}

static void want_drop(void *arg, const uint8_t slots[MAP_SLOTS / 8]) {
    struct errand errand = {.kind = ERRAND_DROP,
                            .map_version = ((struct cluster *)arg)->map_version};
    memcpy(errand.slots, slots, sizeof errand.slots);
    send_errand(arg, &errand);
}

static void want_pause(void *arg, int64_t until_mono_ms) {
    send_errand(arg, &(struct errand){.kind = ERRAND_PAUSE, .until_mono_ms = until_mono_ms});
}

/* What a letter's array of words needs, and the texts behind it. */
static size_t words_bytes(const struct bytes *words, unsigned count) {
    size_t bytes = count * sizeof *words;
    for (unsigned i = 0; i < count; i++) {
        bytes += words[i].len;
    }
    return bytes;
}

static void copy_words(struct bytes *to, const struct bytes *words, unsigned count) {
    char *text = (char *)(to + count);
    for (unsigned i = 0; i < count; i++) {
        memcpy(text, words[i].ptr, words[i].len);
        to[i] = bytes_make(text, words[i].len);
        text += words[i].len;
    }
}

/* To a client's home, or (0) for replicas to worker 0. */
static void send_import(struct cluster *cluster, unsigned worker, uint64_t client,
                        const struct bytes *words, unsigned count, bool holds) {
    struct import_letter *letter = must_calloc(1, sizeof *letter + words_bytes(words, count));
    copy_words(letter->words, words, count);
    letter->holds = holds;
    letter->message = (struct message){.kind = MESSAGE_CLUSTER_IMPORT, .home = POST_ONE_WAY};
    letter->client = client;
    letter->count = count;
    post_send(cluster->server->office, cluster->thread, worker, &letter->message);
}

static void want_say_source(void *arg, const struct brain_asker *source, const char *word) {
    struct bytes words[] = {word != NULL ? bytes_of_text(word) : BYTES("")};
    send_import(arg, source->worker, source->client, words, word != NULL, false);
}

static void want_hold_import(void *arg, const struct brain_asker *source) {
    send_import(arg, source->worker, source->client, NULL, 0, true);
}

static void want_tell_replicas(void *arg, const struct bytes *words, unsigned count) {
    send_import(arg, 0, 0, words, count, false);
}

static void want_drop_import(void *arg, const char *name, const uint8_t slots[MAP_SLOTS / 8]) {
    struct errand errand = {.kind = ERRAND_DROP_IMPORT};
    memcpy(errand.slots, slots, sizeof errand.slots);
    snprintf(errand.job, sizeof errand.job, "%.40s", name);
    send_errand(arg, &errand);
}

static struct export_letter *export_letter(const char *name, enum export_wish wish,
                                           const struct bytes *words, unsigned count) {
    struct export_letter *letter = must_calloc(1, sizeof *letter + words_bytes(words, count));
    copy_words(letter->words, words, count);
    letter->message = (struct message){.kind = MESSAGE_CLUSTER_EXPORT, .home = POST_ONE_WAY};
    letter->wish = wish;
    letter->count = count;
    snprintf(letter->name, sizeof letter->name, "%.40s", name);
    return letter;
}

static void send_export(struct cluster *cluster, struct export_letter *letter) {
    post_send(cluster->server->office, cluster->thread, 0, &letter->message);
}

static void want_export_open(void *arg, const struct brain_export *export) {
    struct export_letter *letter =
        export_letter(export->name, EXPORT_OPEN, export->words, export->count);
    snprintf(letter->ip, sizeof letter->ip, "%s", export->ip);
    letter->port = export->port;
    memcpy(letter->slots, export->slots, sizeof letter->slots);
    send_export(arg, letter);
}

static void want_export_say(void *arg, const char *name, const char *word) {
    struct bytes said = bytes_of_text(word);
    send_export(arg, export_letter(name, EXPORT_SAY, &said, 1));
}

static void want_export_walk(void *arg, const char *name) {
    send_export(arg, export_letter(name, EXPORT_WALK, NULL, 0));
}

static void want_export_wait(void *arg, const char *name, int64_t bytes) {
    struct export_letter *letter = export_letter(name, EXPORT_WAIT, NULL, 0);
    letter->bytes = bytes;
    send_export(arg, letter);
}

static void want_export_drain(void *arg, const char *name, const uint8_t slots[MAP_SLOTS / 8]) {
    struct errand errand = {.kind = ERRAND_DRAIN_EXPORT};
    memcpy(errand.slots, slots, sizeof errand.slots);
    snprintf(errand.job, sizeof errand.job, "%.40s", name);
    send_errand(arg, &errand);
}

static void want_export_close(void *arg, const char *name) {
    send_export(arg, export_letter(name, EXPORT_CLOSE, NULL, 0));
}

static void want_flush(void *arg) {
    send_errand(arg, &(struct errand){.kind = ERRAND_FLUSH});
}

static struct publish_letter *publish_letter(struct bytes channel, struct bytes message,
                                             bool sharded) {
    struct publish_letter *letter = must_malloc(sizeof *letter + channel.len + message.len);
    char *text = (char *)(letter + 1);
    memcpy(text, channel.ptr, channel.len);
    memcpy(text + channel.len, message.ptr, message.len);
    *letter = (struct publish_letter){
        .sharded = sharded,
        .channel = bytes_make(text, channel.len),
        .message = bytes_make(text + channel.len, message.len),
    };
    return letter;
}

static void want_publish(void *arg, struct bytes channel, struct bytes message, bool sharded) {
    struct cluster *cluster = arg;
    struct publish_letter *letter = publish_letter(channel, message, sharded);
    letter->letter.message = (struct message){.kind = MESSAGE_CLUSTER_HEARD, .home = POST_ONE_WAY};
    post_send(cluster->server->office, cluster->thread, 0, &letter->letter.message);
}

static void want_random(void *arg, void *ret, size_t bytes) {
    rt_random(((struct cluster *)arg)->rt, ret, bytes);
}

static void want_log(void *arg, int level, const char *text) {
    say(arg, (enum log_level)level, text);
}

static const struct brain_world world = {
    .connect = want_link,
    .send = want_send,
    .close = want_close,
    .persist = want_persist,
    .changed = want_map,
    .follow = want_role,
    .drop_slots = want_drop,
    .pause = want_pause,
    .flush = want_flush,
    .say_source = want_say_source,
    .hold_import = want_hold_import,
    .tell_replicas = want_tell_replicas,
    .drop_import = want_drop_import,
    .export_open = want_export_open,
    .export_say = want_export_say,
    .export_walk = want_export_walk,
    .export_wait = want_export_wait,
    .export_drain = want_export_drain,
    .export_close = want_export_close,
    .publish = want_publish,
    .random = want_random,
    .log = want_log,
};

/* ---- What becomes of its links ---- */

static void on_accepted(void *arg, struct wire *wire, const char *peer_ip, const char *local_ip) {
    struct cluster *cluster = arg;
    wire_set_link(wire, brain_link_accepted(cluster->brain, wire, peer_ip, local_ip, now(cluster)));
}

static void on_connected(void *arg, struct wire *wire, const char *peer_ip, const char *local_ip) {
    struct cluster *cluster = arg;
    if (wire_link(wire) != NULL) {
        brain_link_connected(cluster->brain, wire_link(wire), peer_ip, local_ip, now(cluster));
    }
}

static size_t packet_bytes(const struct wire *wire, const void *head) {
    return wire_link(wire) != NULL ? brain_packet_bytes(wire_link(wire), head) : 0;
}

static void on_packet(void *arg, struct wire *wire, const void *packet, size_t bytes) {
    struct cluster *cluster = arg;
    if (wire_link(wire) != NULL) {
        brain_packet(cluster->brain, wire_link(wire), packet, bytes, now(cluster));
    }
}

static void on_lost(void *arg, struct wire *wire) {
    struct cluster *cluster = arg;
    struct brain_link *link = wire_link(wire);
    wire_set_link(wire, NULL);
    if (link != NULL) {
        brain_link_set_wire(link, NULL);
        brain_link_lost(cluster->brain, link, now(cluster));
    }
}

static void on_unsafe(void *arg, const char *peer_ip, bool accepted, const char *why) {
    struct text text;
    text_init(&text);
    text_appendf(&text,
                 accepted ? "Error accepting cluster node at %s: %s"
                          : "Connection with the node at %s failed: %s",
                 peer_ip, why);
    say(arg, LOG_VERBOSE, text.ptr);
    text_fini(&text);
}

static const struct wires_user wires_user = {
    .packet_bytes = packet_bytes,
    .accepted = on_accepted,
    .connected = on_connected,
    .packet = on_packet,
    .unsafe = on_unsafe,
    .lost = on_lost,
};

/* A peer that does not read costs no more than the limit. */
static void tell_queued(void *arg, struct wire *wire) {
    struct cluster *cluster = arg;
    if (wire_link(wire) != NULL) {
        brain_link_queued(cluster->brain, wire_link(wire), wire_queued(wire), now(cluster));
    }
}

static void add_memory(void *arg, struct wire *wire) {
    *(size_t *)arg += wire_memory(wire);
}

static void tell_memory(struct cluster *cluster) {
    size_t bytes = 0;
    wires_each(cluster->wires, add_memory, &bytes);
    shared_set_links_bytes(cluster->server->shared, bytes);
}

/* ---- nodes.conf ---- */

static int64_t write_file(void *arg) {
    struct cluster *cluster = arg;
    const struct fs *fs = cluster->server->fs;
    return fs->replace(fs->arg, cluster->settings->config->cluster_config_file.ptr,
                       text_bytes(&cluster->saving.text), 0644);
}

static void on_saved(struct rt_file_op *op, int64_t result) {
    struct saving *saving = (struct saving *)op;
    struct cluster *cluster = (struct cluster *)((char *)saving - offsetof(struct cluster, saving));
    saving->under_way = false;
    text_clear(&saving->text);
    if (result < 0) {
        if (!saving->fails) {
            struct text why;
            text_init(&why);
            text_appendf(&why,
                         "Could not write %s: %s. Until it can be, this node votes for nobody and "
                         "claims nothing.",
                         cluster->settings->config->cluster_config_file.ptr,
                         strerror((int)-result));
            say(cluster, LOG_WARNING, why.ptr);
            text_fini(&why);
        }
        saving->fails = true;
        saving->again_ms = rt_mono_ms(cluster->rt) + SAVE_AGAIN_MS;
        if (cluster->settings->save_must_succeed) {
            return;
        }
    } else if (saving->fails) {
        saving->fails = false;
        say(cluster, LOG_NOTICE, "The file of the cluster can be written again.");
    }
    saving->done = saving->version;
    brain_persisted(cluster->brain, saving->version, now(cluster));
}

static void save(struct cluster *cluster) {
    struct saving *saving = &cluster->saving;
    if (saving->under_way || saving->wanted <= saving->done ||
        (saving->fails && rt_mono_ms(cluster->rt) < saving->again_ms)) {
        return;
    }
    saving->under_way = true;
    saving->version = saving->wanted;
    saving->op.done = on_saved;
    brain_file(cluster->brain, &saving->text);
    rt_file_beside(cluster->rt, &saving->op, write_file, cluster);
}

/* ---- Map ---- */

static void on_map_taken(void *arg) {
    struct cluster *cluster = arg;
    cluster->maps_taken++;
    if (cluster->maps_taken == cluster->maps_made && !cluster->map_changed) {
        brain_map_taken(cluster->brain, now(cluster));
    }
}

/* Once each, when it comes about. What is true of all siblings the first of them says. */
static void warn_of_shared_fate(struct cluster *cluster, const struct map *map) {
    const struct config *config = cluster->server->at_start;
    unsigned fate =
        config->nodes_count > 0 ? shared_fate(map, config->node_index, config->nodes_count) : 0;
    unsigned added = fate & ~cluster->fate;
    cluster->fate = fate;
    if (added & FATE_REPLICA) {
        say(cluster, LOG_WARNING,
            "This node and its primary were started together (cluster-node-per-shard) and end "
            "together: there is no copy of these keys elsewhere. Let a node of another machine "
            "follow that primary.");
    }
    if ((added & FATE_VOTES) && config->node_index == 0) {
        say(cluster, LOG_WARNING,
            "Half of the votes of this cluster, or more, are of nodes that were started together "
            "(cluster-node-per-shard) and end together: without them nobody takes over. Give "
            "slots to nodes of other machines.");
    }
}

static void publish_map(struct cluster *cluster) {
    if (cluster->map_changed && !cluster->stopping) {
        cluster->map_changed = false;
        cluster->maps_made++;
        struct map *map = brain_map(cluster->brain);
        cluster->map_version = map->version;
        warn_of_shared_fate(cluster, map);
        cluster_maps_publish(cluster->maps, map, on_map_taken, cluster);
    }
}

/* ---- Questions ---- */

static struct brain_asks asks_of(const struct ask_letter *letter) {
    return (struct brain_asks){
        .keys = letter->asked->keys,
        .slot_keys = letter->asked->slot_keys,
        .my_ip = letter->asked->my_ip[0] != 0 ? letter->asked->my_ip : NULL,
        .is_tls = letter->asked->is_tls,
        .is_ipv6 = letter->asked->is_ipv6,
        .from_primary = letter->asked->from_primary,
        .told = letter->asked->told,
        .asker = {letter->asked->client, letter->letter.message.home},
    };
}

static void run(struct cluster *cluster, struct ask_letter *letter) {
    struct outbuf out;
    struct reply reply;
    struct brain_asks asks = asks_of(letter);
    uint64_t before = brain_version(cluster->brain);
    outbuf_init(&out);
    reply_init(&reply, &out, letter->asked->resp);
    brain_command(cluster->brain, letter->words, letter->count, &asks, &reply, now(cluster));
    for (const struct outbuf_chunk *chunk = out.head; chunk != NULL; chunk = chunk->next) {
        text_append(&letter->reply, chunk->bytes, chunk->used);
    }
    outbuf_fini(&out);
    letter->version = brain_version(cluster->brain);
    letter->changes = letter->version != before;
    letter->map_number = cluster->maps_made + cluster->map_changed;
    list_push_back(&cluster->asked, &letter->node);
}

/* ---- SETSLOT ---- */

/* Replicas are sent the words, if there are any that understand them; then those that have them are
 * waited for. Two letters: what the first had sent is in the stream when the second one comes. */
static void send_telling(struct cluster *cluster, uint64_t telling, const struct bytes *words,
                         unsigned count, bool forgets) {
    struct import_letter *letter = must_calloc(1, sizeof *letter + words_bytes(words, count));
    copy_words(letter->words, words, count);
    letter->message = (struct message){.kind = MESSAGE_CLUSTER_IMPORT, .home = POST_ONE_WAY};
    letter->telling = telling;
    letter->forgets = forgets;
    letter->count = count;
    post_send(cluster->server->office, cluster->thread, 0, &letter->message);
}

static bool tells_first(struct cluster *cluster, struct ask_letter *letter) {
    struct brain_asks asks = asks_of(letter);
    struct bytes words[8] = {BYTES("CLUSTER")};
    int64_t timeout_ms;
    if (letter->asked->at_once || letter->asked->told || letter->count >= 8 || cluster->stopping ||
        !brain_setslot_waits(cluster->brain, letter->words, letter->count, &asks, &timeout_ms)) {
        return false;
    }
    memcpy(words + 1, letter->words, letter->count * sizeof *words);
    letter->telling = ++cluster->tellings;
    letter->until_ms = timeout_ms == 0 || timeout_ms > INT32_MAX
                           ? INT64_MAX
                           : rt_mono_ms(cluster->rt) + timeout_ms;
    list_push_back(&cluster->telling, &letter->node);
    send_telling(cluster, letter->telling, words, letter->count + 1, false);
    return true;
}

/* Nothing is done. */
static void answer_told(struct cluster *cluster, struct ask_letter *letter, const char *reply) {
    text_append_text(&letter->reply, reply);
    letter->version = cluster->saving.done;
    letter->map_number = cluster->maps_taken;
    list_push_back(&cluster->asked, &letter->node);
}

static void was_told(struct cluster *cluster, uint64_t telling, enum telling what) {
    LIST_EACH_SAFE(&cluster->telling, node) {
        struct ask_letter *letter = LIST_ENTRY(node, struct ask_letter, node);
        if (letter->telling == telling && what == TELLING_SENT) {
            send_telling(cluster, telling, NULL, 0, false);
        } else if (letter->telling == telling && what == TELLING_NOBODY) {
            list_remove(&letter->node);
            run(cluster, letter);
        } else if (letter->telling == telling) {
            list_remove(&letter->node);
            answer_told(cluster, letter, CLUSTER_TOLD);
        }
    }
}

static void give_up_telling(struct cluster *cluster) {
    LIST_EACH_SAFE(&cluster->telling, node) {
        struct ask_letter *letter = LIST_ENTRY(node, struct ask_letter, node);
        if (cluster->stopping || rt_mono_ms(cluster->rt) >= letter->until_ms) {
            list_remove(&letter->node);
            send_telling(cluster, letter->telling, NULL, 0, true);
            answer_told(cluster, letter, "-" ERR_NO_REPLICAS "\r\n");
        }
    }
}

/* What it changes stays, and is told to nobody before it is on the disk; whoever has asked for it
 * is not kept waiting for that, and those who only look even less. */
static void not_saved(struct cluster *cluster, struct ask_letter *letter) {
    if (letter->changes && letter->reply.len > 0 && letter->reply.ptr[0] != '-') {
        text_clear(&letter->reply);
        text_appendf(&letter->reply,
                     "-ERR %s could not be written. This node has made the change, and tells it to "
                     "others when it can be\r\n",
                     cluster->settings->config->cluster_config_file.ptr);
    }
}

/* The oldest ones whose change has been made everywhere. */
static void answer(struct cluster *cluster) {
    while (!list_empty(&cluster->asked)) {
        struct ask_letter *letter = LIST_ENTRY(cluster->asked.ring.next, struct ask_letter, node);
        bool saved =
            letter->version <= cluster->saving.done || letter->version > cluster->saving.wanted;
        bool fails = !saved && cluster->saving.fails;
        if (fails && !cluster->settings->save_must_succeed) {
            saved = true; /* as far as anybody wants it to be */
            fails = false;
        }
        if (!cluster->stopping &&
            ((!saved && !fails) || (int64_t)(letter->map_number - cluster->maps_taken) > 0)) {
            return;
        }
        if (fails) {
            not_saved(cluster, letter);
        }
        list_remove(&letter->node);
        letter->letter.message.kind = MESSAGE_CLUSTER_ANSWER;
        post_send(cluster->server->office, cluster->thread, letter->letter.message.home,
                  &letter->letter.message);
    }
}

/* ---- Mail ---- */

static void choose_tls(struct cluster *cluster) {
    bool tls = cluster->settings->brain.tls_cluster;
    wires_use_tls(cluster->wires, tls ? cluster->server->tls : NULL);
}

static void take_settings(struct cluster *cluster, struct cluster_settings *settings) {
    cluster_settings_free(cluster->settings);
    cluster->settings = settings;
    choose_tls(cluster);
    brain_configure(cluster->brain, &settings->brain, now(cluster));
}

static void take_letter(struct cluster *cluster, struct cluster_letter *letter) {
    switch (letter->kind) {
    case LETTER_ASK:
        if (!tells_first(cluster, (struct ask_letter *)letter)) {
            run(cluster, (struct ask_letter *)letter);
        }
        return;
    case LETTER_TOLD: {
        const struct told_letter *told = (const struct told_letter *)letter;
        was_told(cluster, told->telling, told->what);
        break;
    }
    case LETTER_SETTINGS:
        take_settings(cluster, ((struct settings_letter *)letter)->settings);
        break;
    case LETTER_PAUSED:
        brain_paused(cluster->brain, ((const struct paused_letter *)letter)->offset, now(cluster));
        break;
    case LETTER_PUBLISH: {
        const struct publish_letter *publish = (const struct publish_letter *)letter;
        brain_publish(cluster->brain, publish->channel, publish->message, publish->sharded,
                      now(cluster));
        break;
    }
    case LETTER_GONE: {
        const struct gone_letter *gone = (const struct gone_letter *)letter;
        brain_import_gone(cluster->brain, gone->client, gone->silent, now(cluster));
        break;
    }
    case LETTER_HELD:
        brain_import_held(cluster->brain, ((const struct held_letter *)letter)->client,
                          now(cluster));
        break;
    case LETTER_DROPPED:
        brain_import_dropped(cluster->brain, ((const struct dropped_letter *)letter)->name,
                             now(cluster));
        break;
    case LETTER_EXPORT: {
        const struct export_told_letter *told = (const struct export_told_letter *)letter;
        if (told->measures) {
            brain_export_left(cluster->brain, told->name, told->left);
        } else {
            brain_export_tell(cluster->brain, told->name, told->news, told->text, now(cluster));
        }
        break;
    }
    case LETTER_FOLLOWED:
        brain_followed(cluster->brain, now(cluster));
        break;
    case LETTER_SYNCED:
        brain_synced(cluster->brain, ((const struct synced_letter *)letter)->opens, now(cluster));
        break;
    case LETTER_RESET:
        brain_reset_stats(cluster->brain);
        break;
    case LETTER_STOP:
        cluster->stopping = true;
        break;
    }
    free(letter);
}

static bool take_mail(struct cluster *cluster) {
    struct message *messages[MAIL_A_TURN];
    size_t n = post_receive(cluster->server->office, cluster->thread, messages, MAIL_A_TURN);
    for (size_t i = 0; i < n; i++) {
        if (messages[i]->kind == MESSAGE_CLUSTER_MAP_TAKEN) {
            cluster_map_home(NULL, messages[i]);
        } else {
            check(messages[i]->kind == MESSAGE_CLUSTER);
            take_letter(cluster, (struct cluster_letter *)messages[i]);
        }
    }
    return n == MAIL_A_TURN;
}

/* ---- Turns ---- */

static bool sleeps(void *arg) {
    struct cluster *cluster = arg;
    cluster->asleep = post_sleep(cluster->server->office, cluster->thread);
    return cluster->asleep;
}

static void woke(void *arg) {
    struct cluster *cluster = arg;
    while (cluster->asleep && !post_awake(cluster->server->office, cluster->thread)) {
        rt_block(cluster->rt, VISITED_BLOCK_NS);
    }
    cluster->asleep = false;
}

static int64_t wait_ns(const struct cluster *cluster, bool more) {
    if (more) {
        return 0;
    }
    if (cluster->stopping) {
        return STOP_TURN_NS;
    }
    int64_t left_ms = cluster->tick_ms + TICK_MS - rt_mono_ms(cluster->rt);
    return left_ms > 0 ? left_ms * 1000000 : 0;
}

bool cluster_turn(struct cluster *cluster) {
    bool more = take_mail(cluster);
    int64_t mono_ms = rt_mono_ms(cluster->rt);
    if (mono_ms - cluster->tick_ms >= TICK_MS && !cluster->stopping) {
        cluster->tick_ms = mono_ms;
        wires_each(cluster->wires, tell_queued, cluster);
        tell_memory(cluster);
        tls_tick(cluster->rt);
        brain_tick(cluster->brain, now(cluster));
    }
    give_up_telling(cluster);
    save(cluster);
    publish_map(cluster);
    answer(cluster);
    wires_turn(cluster->wires);
    bool left = post_publish(cluster->server->office, cluster->thread, cluster->thread, false);
    bool gone = cluster->stopping && wires_stop(cluster->wires);
    if (gone && !cluster->saving.under_way && list_empty(&cluster->asked) && !left) {
        return false;
    }
    rt_turn(cluster->rt, wait_ns(cluster, more || left));
    return true;
}

void cluster_run(struct cluster *cluster) {
    rt_on_sleep(cluster->rt, sleeps, woke, cluster);
    while (cluster_turn(cluster)) {
    }
    rt_turn(cluster->rt, 0); /* the last wake-ups leave while all runtimes are still there */
}

/* ---- Life ---- */

static bool read_file(struct cluster *cluster, struct text *err) {
    const struct fs *fs = cluster->server->fs;
    const char *path = cluster->settings->config->cluster_config_file.ptr;
    char *data = NULL;
    size_t len = 0;
    int rc = fs->read_all(fs->arg, path, &data, &len);
    if (rc < 0 && rc != -ENOENT) {
        text_appendf(err, "Could not read %s: %s", path, strerror(-rc));
        return false;
    }
    struct text why;
    text_init(&why);
    cluster->brain = brain_new(&cluster->settings->brain, &world, cluster,
                               bytes_make(data != NULL ? data : "", len), now(cluster), &why);
    if (cluster->brain == NULL) {
        text_appendf(err, "Unrecoverable error: corrupted cluster config file %s: %s", path,
                     why.ptr);
    }
    text_fini(&why);
    free(data);
    return cluster->brain != NULL;
}

struct cluster *cluster_new(struct server *server, struct rt *rt, struct text *err) {
    struct cluster *cluster = must_calloc(1, sizeof *cluster);
    cluster->server = server;
    cluster->rt = rt;
    cluster->thread = server->workers_count;
    cluster->settings = cluster_settings_new(server->at_start);
    cluster->now.primary_age_ms = -1;
    cluster->maps = cluster_maps_new(&server->nodes[0], cluster->thread);
    cluster->wires = wires_new(rt, &wires_user, cluster);
    choose_tls(cluster);
    list_init(&cluster->asked);
    list_init(&cluster->telling);
    text_init(&cluster->saving.text);
    server->threads[cluster->thread] = rt;
    const struct config *config = server->at_start;
    if (!read_file(cluster, err) ||
        wires_listen(cluster->wires, config, cluster_bus_port(config), err) != 0) {
        cluster_free(cluster);
        return NULL;
    }
    cluster->map_changed = true;
    publish_map(cluster); /* workers have it before their first client */
    post_publish(server->office, cluster->thread, cluster->thread, false);
    return cluster;
}

/* What came after the last turn. */
static void end_mail(struct cluster *cluster) {
    struct message *message;
    while (post_receive(cluster->server->office, cluster->thread, &message, 1) == 1) {
        if (message->kind == MESSAGE_CLUSTER) {
            struct cluster_letter *letter = (struct cluster_letter *)message;
            if (letter->kind == LETTER_SETTINGS) {
                cluster_settings_free(((struct settings_letter *)letter)->settings);
            } else if (letter->kind == LETTER_ASK) {
                text_fini(&((struct ask_letter *)letter)->reply);
            }
            free(letter);
        }
    }
}

void cluster_free(struct cluster *cluster) {
    if (cluster == NULL) {
        return;
    }
    end_mail(cluster);
    brain_free(cluster->brain);
    wires_stop(cluster->wires);
    rt_free(cluster->rt);
    wires_free(cluster->wires);
    cluster_maps_free(cluster->maps);
    cluster_settings_free(cluster->settings);
    text_fini(&cluster->saving.text);
    free(cluster);
}

/* ---- Workers ---- */

static void send_letter(struct worker *worker, struct cluster_letter *letter,
                        enum cluster_letter_kind kind, unsigned home) {
    letter->kind = kind;
    letter->message = (struct message){.kind = MESSAGE_CLUSTER, .home = (uint16_t)home};
    const struct server *server = worker->server;
    post_send(server->office, worker->id, server->workers_count, &letter->message);
}

void cluster_ask(struct worker *worker, const struct bytes *words, unsigned count,
                 struct cluster_asked *asked) {
    struct ask_letter *letter = must_calloc(1, sizeof *letter + words_bytes(words, count));
    copy_words(letter->words, words, count);
    letter->count = count;
    letter->asked = asked;
    text_init(&letter->reply);
    send_letter(worker, &letter->letter, LETTER_ASK, worker->id);
}

void cluster_answer_arrived(struct worker *worker, struct message *message) {
    (void)worker;
    struct ask_letter *letter = (struct ask_letter *)message;
    letter->asked->done(letter->asked, text_bytes(&letter->reply));
    text_fini(&letter->reply);
    free(letter);
}

void cluster_heard(struct worker *worker, struct message *message) {
    struct publish_letter *letter = (struct publish_letter *)message;
    pubsub_publish(worker, letter->sharded ? TOPIC_SHARD_CHANNEL : TOPIC_CHANNEL, letter->channel,
                   letter->message);
    free(letter);
}

void cluster_tell_paused(struct worker *worker, uint64_t offset) {
    struct paused_letter *letter = must_calloc(1, sizeof *letter);
    letter->offset = offset;
    send_letter(worker, &letter->letter, LETTER_PAUSED, POST_ONE_WAY);
}

void cluster_tell_import_gone(struct worker *worker, uint64_t client, bool silent) {
    struct gone_letter *letter = must_calloc(1, sizeof *letter);
    letter->client = client;
    letter->silent = silent;
    send_letter(worker, &letter->letter, LETTER_GONE, POST_ONE_WAY);
}

void cluster_tell_told(struct worker *worker, uint64_t telling, unsigned what) {
    struct told_letter *letter = must_calloc(1, sizeof *letter);
    letter->telling = telling;
    letter->what = (enum telling)what;
    send_letter(worker, &letter->letter, LETTER_TOLD, POST_ONE_WAY);
}

void cluster_tell_import_held(struct worker *worker, uint64_t client) {
    struct held_letter *letter = must_calloc(1, sizeof *letter);
    letter->client = client;
    send_letter(worker, &letter->letter, LETTER_HELD, POST_ONE_WAY);
}

void cluster_tell_import_dropped(struct worker *worker, const char *name) {
    struct dropped_letter *letter = must_calloc(1, sizeof *letter);
    snprintf(letter->name, sizeof letter->name, "%s", name);
    send_letter(worker, &letter->letter, LETTER_DROPPED, POST_ONE_WAY);
}

void cluster_tell_export(struct worker *worker, const char *name, enum brain_export_news news,
                         struct bytes text) {
    struct export_told_letter *letter = must_calloc(1, sizeof *letter + text.len + 1);
    snprintf(letter->name, sizeof letter->name, "%s", name);
    letter->news = news;
    memcpy(letter + 1, text.len > 0 ? text.ptr : "", text.len);
    letter->text = bytes_make((const char *)(letter + 1), text.len);
    send_letter(worker, &letter->letter, LETTER_EXPORT, POST_ONE_WAY);
}

void cluster_tell_export_left(struct worker *worker, const char *name, uint64_t left) {
    struct export_told_letter *letter = must_calloc(1, sizeof *letter);
    snprintf(letter->name, sizeof letter->name, "%s", name);
    letter->measures = true;
    letter->left = left;
    send_letter(worker, &letter->letter, LETTER_EXPORT, POST_ONE_WAY);
}

void cluster_publish(struct worker *worker, struct bytes channel, struct bytes message,
                     bool sharded) {
    struct publish_letter *letter = publish_letter(channel, message, sharded);
    send_letter(worker, &letter->letter, LETTER_PUBLISH, POST_ONE_WAY);
}

void cluster_configure(struct worker *worker, const struct config *config) {
    if (config->cluster_enabled) {
        struct settings_letter *letter = must_calloc(1, sizeof *letter);
        letter->settings = cluster_settings_new(config);
        send_letter(worker, &letter->letter, LETTER_SETTINGS, POST_ONE_WAY);
    }
}

static void send_word(struct worker *worker, enum cluster_letter_kind kind) {
    if (worker->config->cluster_enabled) {
        struct cluster_letter *letter = must_calloc(1, sizeof *letter);
        send_letter(worker, letter, kind, POST_ONE_WAY);
    }
}

void cluster_reset_stats(struct worker *worker) {
    send_word(worker, LETTER_RESET);
}

void cluster_tell_followed(struct worker *worker) {
    send_word(worker, LETTER_FOLLOWED);
}

void cluster_tell_synced(struct worker *worker, struct bytes opens) {
    if (worker->config->cluster_enabled) {
        struct synced_letter *letter = must_calloc(1, sizeof *letter + opens.len + 1);
        memcpy(letter + 1, opens.len > 0 ? opens.ptr : "", opens.len);
        letter->opens = bytes_make((const char *)(letter + 1), opens.len);
        send_letter(worker, &letter->letter, LETTER_SYNCED, POST_ONE_WAY);
    }
}

void cluster_stop(struct worker *worker) {
    send_word(worker, LETTER_STOP);
}
