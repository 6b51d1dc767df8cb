/* SPDX-License-Identifier: BSD-3-Clause */
/* prefix: see the header. A change is held against all prefixes, as in Valkey: there are few. */
#include "server/tracking/prefix.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

/* Chosen by clients, who gain nothing by prefixes that fall into one bucket: changes go through all
 * of them anyway. */
static uint64_t hash_of(struct bytes text) {
    uint64_t hash = text.len;
    for (size_t i = 0; i < text.len; i++) {
        hash = hash * 31 + (unsigned char)text.ptr[i];
    }
    return links_hash(hash);
}

struct prefix *prefix_find(const struct trackers *trackers, struct bytes text) {
    uint64_t hash = hash_of(text);
    for (struct link *at = links_first(&trackers->prefixes, hash); at != NULL; at = at->next) {
        struct prefix *prefix = (struct prefix *)at;
        if (at->hash == hash && bytes_equal(prefix->text, text)) {
            return prefix;
        }
    }
    return NULL;
}

static struct prefix *prefix_make(struct trackers *trackers, unsigned workers, struct bytes text) {
    struct prefix *prefix =
        must_calloc(1, sizeof *prefix + workers * sizeof *prefix->counts + text.len);
    list_init(&prefix->clients);
    list_node_init(&prefix->node);
    char *copy = (char *)&prefix->counts[workers];
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    prefix->text = bytes_make(copy, text.len);
    prefix->link.hash = hash_of(text);
    links_add(&trackers->prefixes, &prefix->link);
    return prefix;
}

static void prefix_free(struct trackers *trackers, struct prefix *prefix) {
    prefix_forget(prefix);
    free(prefix->changed);
    links_remove(&trackers->prefixes, &prefix->link);
    free(prefix);
}

struct prefix *prefix_count(struct trackers *trackers, unsigned workers, struct bytes text,
                            unsigned of, int change) {
    struct prefix *prefix = prefix_find(trackers, text);
    prefix = prefix != NULL ? prefix : prefix_make(trackers, workers, text);
    check(change > 0 || prefix->counts[of] > 0);
    prefix->counts[of] += (uint32_t)change;
    prefix->total += (uint64_t)(int64_t)change;
    if (prefix->total == 0) {
        prefix_free(trackers, prefix);
        return NULL;
    }
    return prefix;
}

/* ---- Keys that have changed ---- */

static void add(struct prefix *prefix, struct bytes key, uint64_t by) {
    uint32_t n = prefix->changed_count;
    if (n > 0 && bytes_equal(prefix->changed[n - 1].name, key)) { /* one key again and again */
        prefix->changed[n - 1].by = by;
        return;
    }
    if (n == prefix->changed_capacity) {
        prefix->changed_capacity = n > 0 ? n * 2 : 16;
        prefix->changed =
            must_realloc(prefix->changed, prefix->changed_capacity * sizeof *prefix->changed);
    }
    char *copy = must_malloc(key.len + 1);
    if (key.len > 0) {
        memcpy(copy, key.ptr, key.len);
    }
    prefix->changed[prefix->changed_count++] =
        (struct changed_key){.by = by, .order = n, .name = bytes_make(copy, key.len)};
}

bool prefix_note(struct trackers *trackers, struct bytes key, uint64_t by) {
    bool any = false;
    for (size_t i = 0; i < trackers->prefixes.buckets_count; i++) {
        for (struct link *at = trackers->prefixes.buckets[i]; at != NULL; at = at->next) {
            struct prefix *prefix = (struct prefix *)at;
            struct bytes text = prefix->text;
            if (text.len > key.len || (text.len > 0 && memcmp(text.ptr, key.ptr, text.len) != 0)) {
                continue;
            }
            add(prefix, key, by);
            if (!list_node_linked(&prefix->node)) {
                list_push_back(&trackers->changed, &prefix->node);
            }
            any = true;
        }
    }
    return any;
}

static int compare(const void *a, const void *b) {
    const struct changed_key *left = a, *right = b;
    int order = bytes_compare(left->name, right->name);
    return order != 0 ? order : (left->order > right->order) - (left->order < right->order);
}

static void name_free(struct changed_key *key) {
    free((char *)(uintptr_t)key->name.ptr);
}

uint32_t prefix_changed(struct prefix *prefix, const struct changed_key **ret) {
    struct changed_key *list = prefix->changed;
    qsort(list, prefix->changed_count, sizeof *list, compare);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < prefix->changed_count; i++) {
        if (i + 1 < prefix->changed_count && bytes_equal(list[i].name, list[i + 1].name)) {
            name_free(&list[i]);
        } else {
            list[kept++] = list[i];
        }
    }
    prefix->changed_count = kept;
    *ret = list;
    return kept;
}

void prefix_forget(struct prefix *prefix) {
    for (uint32_t i = 0; i < prefix->changed_count; i++) {
        name_free(&prefix->changed[i]);
    }
    prefix->changed_count = 0;
    list_remove(&prefix->node);
}

void prefixes_free(struct trackers *trackers) {
    struct links *table = &trackers->prefixes;
    size_t i = 0;
    while (table->count > 0) { /* with the last one the buckets go */
        if (table->buckets[i] != NULL) {
            prefix_free(trackers, (struct prefix *)table->buckets[i]);
        } else {
            i++;
        }
    }
    links_fini(table);
}
