/* SPDX-License-Identifier: BSD-3-Clause */
/* config_special: directives whose value is more than one word or has rules of its own.
 *
 * What CONFIG REWRITE must write back without quotes (addresses) refuses at the door every byte
 * that would need them, so no value can grow into a second line of the file.
 */
#include "server/config/config_row.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Words ---- */

const char *config_word(struct config_words words, const char *previous) {
    const char *next = previous == NULL ? words.ptr : previous + strlen(previous) + 1;
    return words.ptr != NULL && next < words.ptr + words.len ? next : NULL;
}

size_t config_words_count(struct config_words words) {
    size_t count = 0;
    for (const char *word = config_word(words, NULL); word != NULL;
         word = config_word(words, word)) {
        count++;
    }
    return count;
}

static void print_words(struct config_words words, struct text *text) {
    const char *sep = "";
    for (const char *word = config_word(words, NULL); word != NULL;
         word = config_word(words, word)) {
        text_appendf(text, "%s%s", sep, word);
        sep = " ";
    }
}

static bool nothing(const struct bytes *words, size_t count) {
    return count == 0 || (count == 1 && words[0].len == 0);
}

/* ---- bind ---- */

static bool plain_word(struct bytes word) {
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        if (c <= ' ' || c >= 127 || c == '"' || c == '\'' || c == '\\') {
            return false;
        }
    }
    return word.len > 0;
}

bool config_parse_bind(const struct config_row *row, struct config *config,
                       const struct bytes *words, size_t count, const struct config_input *in) {
    struct text kept;
    if (count > CONFIG_BIND_MAX) {
        config_reason(in, "Too many bind addresses specified.");
        return false;
    }
    text_init(&kept);
    for (size_t i = 0; !nothing(words, count) && i < count; i++) {
        if (!plain_word(words[i])) {
            config_reason(in, "Failed to bind to specified addresses.");
            text_fini(&kept);
            return false;
        }
        text_append_bytes(&kept, words[i]);
        text_append_char(&kept, 0);
    }
    config_row_keep(row, config, kept.ptr, kept.len);
    text_fini(&kept);
    return true;
}

void config_print_bind(const struct config_row *row, const struct config *config,
                       struct text *text) {
    print_words(*(const struct config_words *)config_field_const(row, config), text);
}

bool config_parse_rdma_bind(const struct config_row *row, struct config *config,
                            const struct bytes *words, size_t count,
                            const struct config_input *in) {
    if (!nothing(words, count)) {
        config_reason(in, "No RDMA building support.");
        return false;
    }
    config_row_keep(row, config, "", 0);
    return true;
}

void config_print_rdma_bind(const struct config_row *row, const struct config *config,
                            struct text *text) {
    print_words(config->rdma_bind, text);
}

/* ---- dir ---- */

/* A file is read line by line, and what follows `dir` is relative to it, as it is in peers: so
 * reading the line moves there at once. CONFIG SET only looks; config_set moves when all else is
 * well. */
bool config_parse_dir(const struct config_row *row, struct config *config,
                      const struct bytes *words, size_t count, const struct config_input *in) {
    char path[PATH_MAX];
    if (in->fs == NULL) {
        config_row_keep(row, config, words[0].ptr, words[0].len);
        return true;
    }
    if (words[0].len >= sizeof(path)) {
        config_reason(in, "%s", strerror(ENAMETOOLONG));
        return false;
    }
    memcpy(path, words[0].ptr, words[0].len);
    path[words[0].len] = 0;
    int rc = in->loading_file ? in->fs->change_dir(in->fs->arg, path)
                              : in->fs->exists(in->fs->arg, path, true);
    if (rc == 0 && in->loading_file) {
        rc = in->fs->current_dir(in->fs->arg, path, sizeof(path));
    }
    if (rc < 0) {
        config_reason(in, "%s", strerror(-rc));
        return false;
    }
    config_row_keep(row, config, path, strlen(path));
    return true;
}

void config_print_dir(const struct config_row *row, const struct config *config,
                      struct text *text) {
    text_append_bytes(text, config->dir);
}

/* ---- save ---- */

bool config_parse_save(const struct config_row *row, struct config *config,
                       const struct bytes *words, size_t count, const struct config_input *in) {
    bool clear = nothing(words, count);
    bool add = in->loading_file && *in->save_seen && !clear;
    size_t old = add ? config->save.count : 0;
    size_t pairs = clear ? 0 : count / 2;
    struct config_save *points = must_calloc(old + pairs + 1, sizeof(*points));
    if (old > 0) {
        memcpy(points, config->save.items, old * sizeof(*points));
    }
    bool ok = clear || count % 2 == 0;
    for (size_t i = 0; ok && i < pairs; i++) {
        struct config_save *point = &points[old + i];
        ok = num_parse_i64(words[2 * i], &point->seconds) &&
             num_parse_i64(words[2 * i + 1], &point->changes) && point->seconds >= 1 &&
             point->changes >= 0 && point->changes <= INT_MAX;
    }
    if (ok) {
        config_row_keep(row, config, points, old + pairs);
        if (in->loading_file) {
            *in->save_seen = true;
        }
    } else {
        config_reason(in, "Invalid save parameters");
    }
    free(points);
    return ok;
}

void config_print_save(const struct config_row *row, const struct config *config,
                       struct text *text) {
    for (size_t i = 0; i < config->save.count; i++) {
        text_appendf(text, "%s%" PRId64 " %" PRId64, i == 0 ? "" : " ",
                     config->save.items[i].seconds, config->save.items[i].changes);
    }
}

/* ---- replicaof ---- */

bool config_parse_replicaof(const struct config_row *row, struct config *config,
                            const struct bytes *words, size_t count,
                            const struct config_input *in) {
    struct text kept;
    int64_t port;
    if (nothing(words, count) && !in->loading_file) {
        config_row_keep(row, config, "", 0);
        return true;
    }
    if (count != 2) {
        config_reason(in, "wrong number of arguments");
        return false;
    }
    if (bytes_is(words[0], "no") && bytes_is(words[1], "one")) {
        config_row_keep(row, config, "", 0);
        return true;
    }
    if (!num_parse_i64(words[1], &port) || port < 0 || port > 65535) {
        config_reason(in, "Invalid primary port");
        return false;
    }
    text_init(&kept);
    text_append_bytes(&kept, words[0]);
    text_appendf(&kept, " %" PRId64, port);
    config_row_keep(row, config, kept.ptr, kept.len);
    text_fini(&kept);
    return true;
}

void config_print_replicaof(const struct config_row *row, const struct config *config,
                            struct text *text) {
    text_append_bytes(text, config->replicaof);
}

/* ---- oom-score-adj-values ---- */

bool config_parse_oom_values(const struct config_row *row, struct config *config,
                             const struct bytes *words, size_t count,
                             const struct config_input *in) {
    int64_t values[3];
    if (count != 3) {
        config_reason(in, "wrong number of arguments");
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (!num_parse_i64(words[i], &values[i]) || values[i] < -2000 || values[i] > 2000) {
            config_reason(in,
                          "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
            return false;
        }
    }
    memcpy(config->oom_score_adj_values, values, sizeof(values));
    return true;
}

void config_print_oom_values(const struct config_row *row, const struct config *config,
                             struct text *text) {
    const int64_t *values = config->oom_score_adj_values;
    text_appendf(text, "%" PRId64 " %" PRId64 " %" PRId64, values[0], values[1], values[2]);
}

/* ---- latency-tracking-info-percentiles ---- */

bool config_parse_percentiles(const struct config_row *row, struct config *config,
                              const struct bytes *words, size_t count,
                              const struct config_input *in) {
    size_t kept = nothing(words, count) ? 0 : count;
    double *values = must_calloc(kept + 1, sizeof(*values));
    const char *refusal = NULL;
    for (size_t i = 0; refusal == NULL && i < kept; i++) {
        bool hex = words[i].len > 0 && (memchr(words[i].ptr, 'x', words[i].len) != NULL ||
                                        memchr(words[i].ptr, 'X', words[i].len) != NULL);
        if (hex || !num_parse_double(words[i], &values[i])) {
            refusal = "Invalid latency-tracking-info-percentiles parameters";
        } else if (!(values[i] >= 0.0 && values[i] <= 100.0)) {
            refusal = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        }
    }
    if (refusal == NULL) {
        config_row_keep(row, config, values, kept);
    } else {
        config_reason(in, "%s", refusal);
    }
    free(values);
    return refusal == NULL;
}

void config_print_percentiles(const struct config_row *row, const struct config *config,
                              struct text *text) {
    for (size_t i = 0; i < config->latency_tracking_info_percentiles.count; i++) {
        char buf[64];
        int n =
            snprintf(buf, sizeof(buf), "%.6f", config->latency_tracking_info_percentiles.items[i]);
        check(n > 0 && (size_t)n < sizeof(buf));
        while (buf[n - 1] == '0') {
            n--;
        }
        n -= buf[n - 1] == '.';
        text_append_text(text, i == 0 ? "" : " ");
        text_append(text, buf, (size_t)n);
    }
}

/* ---- notify-keyspace-events ---- */

/* Bits of the letters that A stands for: g$lshzxetd. */
#define NOTIFY_ALL 0x3ffu

bool config_parse_notify(const struct config_row *row, struct config *config,
                         const struct bytes *words, size_t count, const struct config_input *in) {
    unsigned flags = 0;
    for (size_t i = 0; i < words[0].len; i++) {
        char c = words[0].ptr[i];
        const char *at = c != 0 ? strchr(CONFIG_NOTIFY_LETTERS, c) : NULL;
        if (c == 'A') {
            flags |= NOTIFY_ALL;
        } else if (at != NULL) {
            flags |= 1u << (at - CONFIG_NOTIFY_LETTERS);
        } else {
            config_reason(in, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
            return false;
        }
    }
    config->notify_keyspace_events = flags;
    return true;
}

void config_print_notify(const struct config_row *row, const struct config *config,
                         struct text *text) {
    unsigned flags = config->notify_keyspace_events;
    bool all = (flags & NOTIFY_ALL) == NOTIFY_ALL;
    if (all) {
        text_append_char(text, 'A');
    }
    for (unsigned i = 0; CONFIG_NOTIFY_LETTERS[i] != 0; i++) {
        char c = CONFIG_NOTIFY_LETTERS[i];
        /* Valkey shows n only beside single classes. */
        bool covered = all && ((NOTIFY_ALL >> i & 1) != 0 || c == 'n');
        if ((flags >> i & 1) != 0 && !covered) {
            text_append_char(text, c);
        }
    }
}

/* ---- client-output-buffer-limit ---- */

int config_output_class_find(struct bytes name) {
    if (bytes_is(name, "normal")) {
        return CONFIG_OUTPUT_NORMAL;
    }
    if (bytes_is(name, "slave") || bytes_is(name, "replica")) {
        return CONFIG_OUTPUT_REPLICA;
    }
    return bytes_is(name, "pubsub") ? CONFIG_OUTPUT_PUBSUB : -1;
}

static const char *parse_output_limit(const struct bytes words[4],
                                      struct config_output_limit *limits) {
    struct config_output_limit limit = {0};
    int class = config_output_class_find(words[0]);
    if (class < 0) {
        return "Invalid client class specified in buffer limit configuration.";
    }
    if ((words[1].len > 0 && !num_parse_memory(words[1], &limit.hard_bytes)) ||
        (words[2].len > 0 && !num_parse_memory(words[2], &limit.soft_bytes)) ||
        !num_parse_i64(words[3], &limit.soft_seconds) || limit.soft_seconds < 0 ||
        limit.soft_seconds > INT_MAX) {
        return "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
    }
    limits[class] = limit;
    return NULL;
}

bool config_parse_output_limits(const struct config_row *row, struct config *config,
                                const struct bytes *words, size_t count,
                                const struct config_input *in) {
    struct config_output_limit limits[CONFIG_OUTPUT_CLASSES];
    const char *refusal = NULL;
    memcpy(limits, config->client_output_buffer_limit, sizeof(limits));
    if (count % 4 != 0) {
        refusal = "Wrong number of arguments in buffer limit configuration.";
    }
    for (size_t i = 0; refusal == NULL && i < count; i += 4) {
        refusal = parse_output_limit(words + i, limits);
    }
    if (refusal != NULL) {
        config_reason(in, "%s", refusal);
        return false;
    }
    memcpy(config->client_output_buffer_limit, limits, sizeof(limits));
    return true;
}

void config_print_output_limit(const struct config *config, enum config_output_class class,
                               bool line, struct text *text) {
    static const char *const shown[] = {"normal", "slave", "pubsub"};
    static const char *const written[] = {"normal", "replica", "pubsub"};
    const struct config_output_limit *limit = &config->client_output_buffer_limit[class];
    if (!line) {
        text_appendf(text, "%s %" PRIu64 " %" PRIu64, shown[class], limit->hard_bytes,
                     limit->soft_bytes);
    } else {
        text_appendf(text, "%s ", written[class]);
        config_print_memory(limit->hard_bytes, text);
        text_append_char(text, ' ');
        config_print_memory(limit->soft_bytes, text);
    }
    text_appendf(text, " %" PRId64, limit->soft_seconds);
}

void config_print_output_limits(const struct config_row *row, const struct config *config,
                                struct text *text) {
    for (int class = 0; class < CONFIG_OUTPUT_CLASSES; class ++) {
        text_append_text(text, class == 0 ? "" : " ");
        config_print_output_limit(config, class, false, text);
    }
}
