/* SPDX-License-Identifier: BSD-3-Clause */
/* config: snapshots: made from defaults, copied, shown by CONFIG GET, changed by CONFIG SET.
 *
 * CONFIG SET works on a copy and gives it away whole or not at all, so nobody ever sees half of a
 * change and there is nothing to roll back. The one value with an effect outside of the snapshot,
 * `dir`, moves the process last, when all else has been accepted.
 */
#include "server/config/config_row.h"

#include "base/check.h"
#include "base/glob.h"
#include "base/must.h"

#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

/* ---- Life ---- */

/* Heap fields that no directive has. */
static const struct config_row unnamed_rows[] = {
    {.name = "", .heap = HEAP_BYTES, .offset = offsetof(struct config, config_file)},
    {.name = "", .heap = HEAP_BYTES, .offset = offsetof(struct config, renames)},
    {.name = "", .heap = HEAP_BYTES, .offset = offsetof(struct config, users)},
    {.name = NULL},
};

static void free_rows(struct config *config, const struct config_row *row) {
    for (; row->name != NULL; row++) {
        if (row->heap != HEAP_NONE) {
            void *ptr;
            memcpy(&ptr, config_field(row, config), sizeof(ptr));
            free(ptr);
        }
    }
}

/* The target's fields are bitwise copies of the source's: replaces what they share. */
static void unshare_rows(struct config *target, const struct config_row *row) {
    for (; row->name != NULL; row++) {
        if (row->heap != HEAP_NONE) {
            struct bytes field;
            void *nothing = NULL;
            memcpy(&field, config_field(row, target), sizeof(field));
            memcpy(config_field(row, target), &nothing, sizeof(nothing));
            config_row_keep(row, target, field.ptr, field.len);
        }
    }
}

struct config *config_defaults(void) {
    struct config *config = must_calloc(1, sizeof(*config));
    struct text reason;
    bool save_seen = false;
    text_init(&reason);
    struct config_input in = {.save_seen = &save_seen, .reason = &reason};
    for (const struct config_row *row = unnamed_rows; row->name != NULL; row++) {
        config_row_keep(row, config, "", 0);
    }
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        bool ok = config_row_parse_text(row, config, bytes_of_text(row->initial), &in);
        check(ok);
    }
    text_fini(&reason);
    return config;
}

struct config *config_copy(const struct config *config) {
    struct config *copy = must_malloc(sizeof(*copy));
    *copy = *config;
    unshare_rows(copy, unnamed_rows);
    unshare_rows(copy, config_rows);
    return copy;
}

void config_free(struct config *config) {
    if (config != NULL) {
        free_rows(config, unnamed_rows);
        free_rows(config, config_rows);
        free(config);
    }
}

/* ---- CONFIG GET ---- */

struct found {
    struct bytes name;
    const struct config_row *row;
};

static int compare_found(const void *a, const void *b) {
    return bytes_compare(((const struct found *)a)->name, ((const struct found *)b)->name);
}

static bool is_wildcard(char c) {
    return c == '*' || c == '?' || c == '[';
}

static bool has_wildcard(struct bytes pattern) {
    for (size_t i = 0; i < pattern.len; i++) {
        if (is_wildcard(pattern.ptr[i])) {
            return true;
        }
    }
    return false;
}

static size_t add_found(struct found *found, size_t count, struct bytes name,
                        const struct config_row *row) {
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_nocase(found[i].name, name)) {
            return count;
        }
    }
    found[count] = (struct found){name, row};
    return count + 1;
}

/* Tools compare what CONFIG GET * answers with what they know of Valkey, so our own names wait to
 * be asked for: by a pattern that begins with more than a wildcard. */
static bool is_shown(const struct config_row *row, struct bytes pattern) {
    return (row->flags & ROW_HIDDEN) == 0 &&
           ((row->flags & ROW_OWN) == 0 || !is_wildcard(pattern.ptr[0]));
}

static size_t find_pattern(struct bytes pattern, struct found *found, size_t count) {
    if (!has_wildcard(pattern)) {
        const struct config_row *row = config_row_find(pattern, NULL);
        return row != NULL ? add_found(found, count, pattern, row) : count;
    }
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        const char *names[] = {row->name, row->alias};
        for (int i = 0; is_shown(row, pattern) && i < 2 && names[i] != NULL; i++) {
            struct bytes name = bytes_of_text(names[i]);
            if (glob_match(pattern, name, true)) {
                count = add_found(found, count, name, row);
            }
        }
    }
    return count;
}

void config_get(const struct config *config, const struct bytes *patterns, size_t count,
                config_visit_fn *visit, void *arg) {
    size_t rows = 0;
    while (config_rows[rows].name != NULL) {
        rows++;
    }
    struct found *found = must_calloc(2 * rows, sizeof(*found));
    struct text value;
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n = find_pattern(patterns[i], found, n);
    }
    if (n > 0) {
        qsort(found, n, sizeof(*found), compare_found);
    }
    text_init(&value);
    for (size_t i = 0; i < n; i++) {
        text_clear(&value);
        config_row_print(found[i].row, config, &value);
        visit(arg, found[i].name, text_bytes(&value));
    }
    text_fini(&value);
    free(found);
}

/* ---- CONFIG SET ---- */

void config_set_failed(struct text *err, struct bytes name, const char *reason) {
    text_clear(err);
    text_append_text(err, "ERR CONFIG SET failed (possibly related to argument '");
    text_append_bytes(err, name);
    text_appendf(err, "') - %s", reason);
}

static bool may_set_protected(const struct config *config, const struct config_setting *setting) {
    return config->enable_protected_configs == CONFIG_PROTECTED_YES ||
           (config->enable_protected_configs == CONFIG_PROTECTED_LOCAL && setting->local);
}

/* The checks that need no value. The first thing that is wrong is what is told, but for a data set
 * being read: clients treat that one in a way of its own. */
static bool check_names(const struct config *old, const struct bytes *pairs, size_t count,
                        const struct config_setting *setting, const struct config_row **rows,
                        struct text *err) {
    const char *refusal = NULL;
    for (size_t i = 0; refusal == NULL && i < count; i++) {
        struct bytes name = pairs[2 * i];
        rows[i] = config_row_find(name, NULL);
        if (rows[i] == NULL) {
            text_clear(err);
            text_append_text(err, "ERR Unknown option or number of arguments for CONFIG SET - '");
            text_append_bytes(err, name);
            text_append_text(err, "'");
            return false;
        }
        if ((rows[i]->flags & ROW_IMMUTABLE) != 0 && !setting->by_server) {
            refusal = "can't set immutable config";
        } else if (config_is_by_node(rows[i], old)) {
            refusal = "can't set what each node of cluster-node-per-shard has its own of";
        } else if ((rows[i]->flags & ROW_PROTECTED) != 0 && !may_set_protected(old, setting)) {
            refusal = "can't set protected config";
        } else if ((rows[i]->flags & ROW_NO_LOADING) != 0 && setting->loading) {
            text_clear(err);
            text_append_text(err, "LOADING Valkey is loading the dataset in memory");
            return false;
        }
        for (size_t j = 0; refusal == NULL && j < i; j++) {
            if (bytes_equal_nocase(pairs[2 * j], name)) {
                refusal = "duplicate parameter";
            }
        }
        if (refusal != NULL) {
            config_set_failed(err, name, refusal);
        }
    }
    return refusal == NULL;
}

/* `dir` was only looked at so far. */
static bool move_to_dir(struct config *config, const struct config_setting *setting,
                        struct text *err) {
    char path[PATH_MAX];
    const struct config_row *row = config_row_find(BYTES("dir"), NULL);
    int rc = setting->fs->change_dir(setting->fs->arg, config->dir.ptr);
    if (rc == 0) {
        rc = setting->fs->current_dir(setting->fs->arg, path, sizeof(path));
    }
    if (rc < 0) {
        config_set_failed(err, BYTES("dir"), strerror(-rc));
        return false;
    }
    config_row_keep(row, config, path, strlen(path));
    return true;
}

static bool set_values(struct config *config, const struct bytes *pairs, size_t count,
                       const struct config_row **rows, const struct config_setting *setting,
                       struct text *err) {
    struct text reason;
    bool save_seen = false;
    bool ok = true;
    bool moves = false;
    text_init(&reason);
    struct config_input in = {.fs = setting->fs, .save_seen = &save_seen, .reason = &reason};
    for (size_t i = 0; ok && i < count; i++) {
        const char *name;
        (void)config_row_find(pairs[2 * i], &name);
        ok = config_row_parse_text(rows[i], config, pairs[2 * i + 1], &in);
        if (ok && config_row_refusal(rows[i], config) != NULL) {
            config_reason(&in, "%s", config_row_refusal(rows[i], config));
            ok = false;
        }
        if (!ok) {
            config_set_failed(err, bytes_of_text(name), reason.ptr);
        }
        moves = moves || rows[i]->offset == offsetof(struct config, dir);
    }
    text_fini(&reason);
    return ok && (!moves || move_to_dir(config, setting, err));
}

struct config *config_set(const struct config *old, const struct bytes *pairs, size_t count,
                          const struct config_setting *setting, struct text *err) {
    const struct config_row **rows = must_calloc(count + 1, sizeof(struct config_row *));
    struct config *config = NULL;
    if (check_names(old, pairs, count, setting, rows, err)) {
        config = config_copy(old);
        if (!set_values(config, pairs, count, rows, setting, err)) {
            config_free(config);
            config = NULL;
        }
    }
    free(rows);
    return config;
}

bool config_is_sensitive(struct bytes name) {
    const struct config_row *row = config_row_find(name, NULL);
    return row != NULL && (row->flags & ROW_SENSITIVE) != 0;
}

/* ---- What is not there yet ---- */

/* A directive may be kept without acting as long as nobody loses by believing in it. These would:
 * each promises to keep data or to keep others out. */
const char *config_row_refusal(const struct config_row *row, const struct config *config) {
    switch (row->offset) {
    case offsetof(struct config, cluster_enabled):
        return config->cluster_enabled && config->replicaof.len > 0
                   ? "replicaof directive not allowed in cluster mode"
                   : NULL;
    case offsetof(struct config, cluster_node_per_shard):
        return config->cluster_node_per_shard && !config->cluster_enabled
                   ? "nodes are a cluster's: it wants cluster-enabled yes"
                   : NULL;
    case offsetof(struct config, rdma_port):
        return config->rdma_port != 0 ? "No RDMA building support." : NULL;
    default:
        return NULL;
    }
}

bool config_refusals(const struct config *config, struct text *why) {
    bool any = false;
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        const char *refusal = config_row_refusal(row, config);
        if (refusal != NULL) {
            text_appendf(why, "%s ", row->name);
            config_row_print_line(row, config, why);
            text_appendf(why, ": %s\n", refusal);
            any = true;
        }
    }
    return any;
}

/* 0 is a processor in a list of them, and a limit that everything is over where -1 says none. */
static bool is_off(const struct config_row *row, struct bytes value) {
    if (row->kind == KIND_STRING) {
        return value.len == 0;
    }
    if (row->kind == KIND_INT && row->min < 0) {
        return bytes_is(value, "-1");
    }
    return value.len == 0 || bytes_is(value, "no") || bytes_is(value, "0");
}

void config_missed(const struct config *config, const struct config *before, struct text *names) {
    struct config *defaults = before == NULL ? config_defaults() : NULL;
    before = before == NULL ? defaults : before;
    struct text now, then;
    text_init(&now);
    text_init(&then);
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        if ((row->flags & ROW_MISSED) == 0) {
            continue;
        }
        text_clear(&now);
        text_clear(&then);
        config_row_print(row, config, &now);
        config_row_print(row, before, &then);
        if (!bytes_equal(text_bytes(&now), text_bytes(&then)) && !is_off(row, text_bytes(&now))) {
            text_appendf(names, "%s%s", names->len > 0 ? ", " : "", row->name);
        }
    }
    text_fini(&now);
    text_fini(&then);
    config_free(defaults);
}
