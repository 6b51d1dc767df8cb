/* SPDX-License-Identifier: BSD-3-Clause */
/* http_view: see the header. A part begins with what INFO asks of a worker; the page asks for a
 * little more: how many keys each range of slots has, the largest clients, hot keys, slow commands,
 * and the latencies of all commands in one histogram, whose growth between two looks the page makes
 * into percentiles of that time. Where the text of INFO has something, it is taken from there.
 */
#include "server/http/http_view.h"

#include "base/must.h"
#include "cluster/brain/map.h"
#include "net/rt.h"
#include "server/call/command_table.h"
#include "server/client/describe.h"
#include "server/commands/cluster/cluster.h"
#include "server/commands/server/info.h"
#include "server/config/config.h"
#include "server/http/http_ready.h"
#include "server/http/metrics.h"
#include "server/node.h"
#include "server/observe/commandlog_entry.h"
#include "server/observe/hotkeys.h"
#include "server/worker/view.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOTS         16384
#define RANGES        256 /* of slots, on the map */
#define RANGE_SLOTS   (SLOTS / RANGES)
#define CLIENTS_SHOWN 16
#define HOTKEYS_SHOWN 16

struct view_args {
    struct info_request request; /* first */
    bool state;
    scatter_done_fn *done;
};

struct view_part {
    struct totals_part totals; /* first */
    uint64_t keys[RANGES];
    struct text clients; /* lines of CLIENT LIST, the largest first */
    struct hotkeys_part hotkeys;
    struct commandlog_part slow;
    struct latency_part spikes;
};

const char *http_view_type(enum http_view view) {
    static const char *const types[] = {
        [HTTP_VIEW_METRICS] = "text/plain; version=0.0.4; charset=utf-8",
        [HTTP_VIEW_OPEN_METRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
        [HTTP_VIEW_STATE] = "application/json",
        [HTTP_VIEW_BIGKEYS] = "application/json",
    };
    return types[view];
}

/* ---- On each worker ---- */

static void take_clients(const struct worker *worker, struct text *ret_text) {
    const struct client *largest[CLIENTS_SHOWN];
    size_t count = 0;
    LIST_EACH(&worker->clients.all, node) {
        const struct client *client = LIST_ENTRY(node, struct client, node);
        size_t at = count;
        while (at > 0 && largest[at - 1]->memory < client->memory) {
            at--;
        }
        if (at < CLIENTS_SHOWN && !client_is_over(client)) {
            count += count < CLIENTS_SHOWN;
            memmove(largest + at + 1, largest + at, (count - at - 1) * sizeof largest[0]);
            largest[at] = client;
        }
    }
    for (size_t i = 0; i < count; i++) {
        client_describe(ret_text, largest[i], false, largest[i]->input.len, 0,
                        rt_wall_ms(worker->rt));
        text_append_char(ret_text, '\n');
    }
}

static bool take(struct worker *worker, const void *args, void *result) {
    const struct view_args *a = args;
    struct view_part *part = result;
    totals_take(worker, &a->request.totals, &part->totals);
    text_init(&part->clients);
    commandlog_take(worker, COMMANDLOG_SLOW, a->state ? HTTP_SLOW_SHOWN : 1, &part->slow);
    latency_take(worker, LATENCY_EVENTS, &part->spikes);
    if (a->state) {
        hotkeys_take(worker, &part->hotkeys);
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            part->keys[slot / RANGE_SLOTS] +=
                keyspace_slot_count(worker->shard.keyspace, (uint16_t)slot);
        }
        take_clients(worker, &part->clients);
    }
    return true;
}

static void cluster_told(struct exec *x, const struct scatter_result *result) {
    struct view_args args = *(const struct view_args *)result->args;
    args.request.cluster = cluster_info_take(result->parts[0]);
    scatter_all(x, take, sizeof(struct view_part), &args, sizeof args, args.done);
}

void http_view_gather(struct exec *x, bool state, scatter_done_fn *done) {
    struct view_args args = {.request = info_everything(), .state = state, .done = done};
    if (worker_map(x->worker) != NULL) {
        scatter_one(x, 0, cluster_info_part, sizeof(void *), &args, sizeof args, cluster_told);
    } else {
        scatter_all(x, take, sizeof(struct view_part), &args, sizeof args, done);
    }
}

/* ---- JSON ---- */

void http_json_text(struct text *out, struct bytes bytes) {
    text_append_char(out, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
            text_appendf(out, "\\u%04x", c);
        } else {
            text_append_char(out, (char)c);
        }
    }
    text_append_char(out, '"');
}

/* Each field of INFO, as text. */
static void json_info(struct text *out, struct bytes info) {
    const char *separator = "";
    text_append_text(out, "\"info\":{");
    while (info.len > 0) {
        const char *end = memchr(info.ptr, '\n', info.len);
        size_t len = end != NULL ? (size_t)(end - info.ptr) : info.len;
        size_t passed = end != NULL ? len + 1 : len;
        len -= len > 0 && info.ptr[len - 1] == '\r';
        const char *colon = memchr(info.ptr, ':', len);
        if (colon != NULL && info.ptr[0] != '#') {
            size_t name = (size_t)(colon - info.ptr);
            text_append_text(out, separator);
            http_json_text(out, bytes_make(info.ptr, name));
            text_append_char(out, ':');
            http_json_text(out, bytes_make(colon + 1, len - name - 1));
            separator = ",";
        }
        info = bytes_make(info.ptr + passed, info.len - passed);
    }
    text_append_char(out, '}');
}

static const struct view_part *part_of(const struct http_texts *texts, unsigned i) {
    return texts->result->parts[i];
}

/* In a cluster: who is there; of each range of slots which of them has its first slot (-1: nobody).
 */
static void json_cluster(struct text *out, const struct map *map) {
    text_append_text(out, ",\"nodes\":[");
    for (unsigned i = 0; i < map->nodes_count; i++) {
        const struct map_node *node = &map->nodes[i];
        const char *state = node->flags & MAP_FAIL    ? "fail"
                            : node->flags & MAP_PFAIL ? "pfail"
                                                      : "";
        text_append_text(out, i > 0 ? ",[" : "[");
        http_json_text(out, bytes_of_text(node->id));
        text_append_char(out, ',');
        http_json_text(out, bytes_of_text(node->ip));
        text_appendf(out, ",%u,%d,%u,\"%s\",%s]", node->port != 0 ? node->port : node->tls_port,
                     node->flags & MAP_PRIMARY || node->primary == MAP_NONE ? -1
                                                                            : (int)node->primary,
                     node->slots_count, state, i == map->myself ? "true" : "false");
    }
    text_append_text(out, "],\"owners\":[");
    for (unsigned range = 0; range < RANGES; range++) {
        uint16_t owner = map->owner[range * RANGE_SLOTS];
        text_appendf(out, "%s%d", range > 0 ? "," : "", owner == MAP_NONE ? -1 : (int)owner);
    }
    text_append_char(out, ']');
}

/* Of each range of slots: whose the first is, and how many keys there are. */
static void json_slots(struct text *out, const struct http_texts *texts) {
    text_append_text(out, ",\"slots\":[");
    for (unsigned range = 0; range < RANGES; range++) {
        uint64_t keys = 0;
        for (unsigned i = 0; i < texts->result->parts_count; i++) {
            keys += part_of(texts, i)->keys[range];
        }
        text_appendf(out, "%s[%u,%llu]", range > 0 ? "," : "",
                     node_owner(texts->worker->node, (uint16_t)(range * RANGE_SLOTS)),
                     (unsigned long long)keys);
    }
    text_append_char(out, ']');
}

/* Of all commands. Before the text of INFO is made, which adds up the parts' in place. */
static struct histogram *add_latencies(const struct http_texts *texts) {
    struct histogram *all = must_calloc(1, sizeof *all);
    unsigned commands = command_table_count(texts->worker->server->commands);
    for (unsigned i = 0; i < texts->result->parts_count; i++) {
        for (unsigned c = 0; c < commands; c++) {
            const struct histogram *one = part_of(texts, i)->totals.commands[c].latency;
            if (one != NULL) {
                histogram_add(all, one);
            }
        }
    }
    return all;
}

/* The upper end of each bucket that has something, and how many. */
static void json_latencies(struct text *out, const struct histogram *all) {
    const char *separator = "";
    text_append_text(out, ",\"latencies\":[");
    for (uint64_t ns = 0, seen = 0; seen < all->total;) {
        ns = histogram_highest_equivalent(ns + 1);
        uint64_t n = all->counts[histogram_bucket(ns)];
        if (n > 0) {
            text_appendf(out, "%s[%llu,%llu]", separator, (unsigned long long)ns,
                         (unsigned long long)n);
            separator = ",";
        }
        seen += n;
    }
    text_append_char(out, ']');
}

static void json_clients(struct text *out, const struct http_texts *texts) {
    const char *separator = "";
    text_append_text(out, ",\"clients\":[");
    for (unsigned i = 0; i < texts->result->parts_count; i++) {
        struct bytes rest = text_bytes(&part_of(texts, i)->clients);
        while (rest.len > 0) {
            const char *end = memchr(rest.ptr, '\n', rest.len);
            size_t len = (size_t)(end - rest.ptr);
            text_appendf(out, "%s[%u,", separator, i);
            http_json_text(out, bytes_make(rest.ptr, len));
            text_append_char(out, ']');
            separator = ",";
            rest = bytes_make(end + 1, rest.len - len - 1);
        }
    }
    text_append_char(out, ']');
}

static void json_hotkeys(struct text *out, const struct http_texts *texts) {
    text_append_text(out, ",\"hotkeys\":[");
    for (uint32_t i = 0; i < texts->hotkeys_count; i++) {
        const struct hotkey *hot = &texts->hotkeys[i];
        text_append_text(out, i > 0 ? ",[" : "[");
        http_json_text(out, hot->name);
        text_appendf(out, ",%u,%.1f,%u]", hot->db, hot->qps,
                     node_owner(texts->worker->node, key_slot(hot->name)));
    }
    text_append_char(out, ']');
}

static void json_slow(struct text *out, const struct http_texts *texts) {
    text_append_text(out, ",\"slow\":[");
    for (size_t i = 0; i < texts->slow_count; i++) {
        const struct commandlog_entry *entry = texts->slow[i];
        const char *at = (const char *)(entry + 1);
        text_appendf(out, "%s[%llu,%lld,%lld,[", i > 0 ? "," : "", (unsigned long long)entry->id,
                     (long long)entry->at_s, (long long)entry->value);
        for (uint32_t word = 0; word < entry->words; word++) {
            text_append_text(out, word > 0 ? "," : "");
            http_json_text(out, bytes_make(at, entry->lens[word]));
            at += entry->lens[word];
        }
        text_append_text(out, "],");
        http_json_text(out, bytes_of_text(entry->peer));
        text_append_char(out, ',');
        http_json_text(out, bytes_make(at, entry->lens[COMMANDLOG_WORDS_MAX]));
        text_append_char(out, ']');
    }
    text_append_char(out, ']');
}

static void json_state(struct text *out, const struct http_texts *texts) {
    const char *why = http_not_ready(texts->worker);
    text_append_char(out, '{');
    if (why != NULL) {
        text_appendf(out, "\"not_ready\":\"%s\",", why);
    }
    json_info(out, text_bytes(&texts->info));
    json_slots(out, texts);
    const struct map *map = worker_map(texts->worker);
    if (map != NULL) {
        json_cluster(out, map);
    }
    json_latencies(out, texts->latencies);
    json_clients(out, texts);
    json_hotkeys(out, texts);
    json_slow(out, texts);
    text_append_text(out, "}\n");
}

/* ---- Texts ---- */

/* What the parts have of the logs, the spikes and the hot keys; what is not shown goes. */
static void merge_parts(struct http_texts *texts, bool state) {
    unsigned count = texts->result->parts_count;
    struct commandlog_part **slow = must_malloc(count * sizeof *slow);
    struct latency_part **spikes = must_malloc(count * sizeof *spikes);
    struct hotkeys_part **hotkeys = must_malloc(count * sizeof *hotkeys);
    for (unsigned i = 0; i < count; i++) {
        struct view_part *part = texts->result->parts[i];
        slow[i] = &part->slow;
        spikes[i] = &part->spikes;
        hotkeys[i] = &part->hotkeys;
        texts->slow_there += part->slow.there;
    }
    for (struct commandlog_entry *entry; (entry = commandlog_take_newest(slow, count)) != NULL;) {
        if (texts->slow_count < HTTP_SLOW_SHOWN) {
            texts->slow[texts->slow_count++] = entry;
        } else {
            free(entry);
        }
    }
    latency_merge(spikes, count, &texts->spikes);
    if (state) {
        texts->hotkeys = hotkeys_merge(hotkeys, count, HOTKEYS_SHOWN, &texts->hotkeys_count);
    }
    free(slow);
    free(spikes);
    free(hotkeys);
}

static void metrics_text(struct http_texts *texts, bool open_metrics, struct text *text) {
    const struct config *config = texts->worker->config;
    struct metrics_spike spikes[LATENCY_EVENTS];
    struct metrics_form form = {
        .open_metrics = open_metrics,
        .databases = (unsigned)config_databases(config),
        .io_threads = config->io_threads,
        .slow_length = texts->slow_there,
        .spikes = spikes,
    };
    if (texts->slow_count > 0) {
        form.slow_last_id = texts->slow[0]->id;
        form.slow_last_us = texts->slow[0]->value;
    }
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        const struct spikes *from = texts->spikes.events[i];
        if (from != NULL) {
            const struct spike *newest = spikes_at(from, from->count - 1);
            spikes[form.spikes_count++] = (struct metrics_spike){
                .event = latency_event_name((enum latency_event)i),
                .at_s = newest->at_s,
                .ms = newest->ms,
            };
        }
    }
    metrics_write(text_bytes(&texts->info), &form, text);
}

void http_texts_begin(struct http_texts *texts, struct worker *worker,
                      const struct scatter_result *result) {
    *texts = (struct http_texts){.worker = worker, .result = result};
    text_init(&texts->info);
    for (int i = 0; i < HTTP_VIEWS; i++) {
        text_init(&texts->views[i]);
    }
    const struct view_args *args = result->args;
    texts->latencies = args->state ? add_latencies(texts) : NULL;
    merge_parts(texts, args->state);
    info_write(worker, result, &texts->info);
}

struct bytes http_texts_of(struct http_texts *texts, enum http_view view) {
    struct text *text = &texts->views[view];
    if (text->len == 0 && view == HTTP_VIEW_STATE) {
        json_state(text, texts);
    } else if (text->len == 0) {
        metrics_text(texts, view == HTTP_VIEW_OPEN_METRICS, text);
    }
    return text_bytes(text);
}

void http_texts_end(struct http_texts *texts) {
    for (unsigned i = 0; i < texts->result->parts_count; i++) {
        struct view_part *part = texts->result->parts[i];
        text_fini(&part->clients);
        free(part->slow.list);
        free(part->hotkeys.list);
    }
    for (size_t i = 0; i < texts->slow_count; i++) {
        free(texts->slow[i]);
    }
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        free(texts->spikes.events[i]);
    }
    free(texts->hotkeys);
    info_parts_fini(texts->worker, texts->result);
    free(((const struct view_args *)texts->result->args)->request.cluster);
    for (int i = 0; i < HTTP_VIEWS; i++) {
        text_fini(&texts->views[i]);
    }
    text_fini(&texts->info);
    free(texts->latencies);
}
