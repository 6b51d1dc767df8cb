/* SPDX-License-Identifier: BSD-3-Clause */
/* bigkeys: see the header. Each value knows its memory and its count, so a key costs as much as it
 * takes to fetch its head from memory, whatever its size. Most keys are smaller than the smallest
 * of the lists by then, and only compared with it.
 */
#include "server/observe/bigkeys.h"

#include "base/must.h"
#include "net/rt.h"
#include "server/config/config.h"
#include "server/worker/worker.h"
#include "shard/types/string.h"

#include <stdlib.h>

/* Keys a turn. */
#define KEYS_A_SLICE 256

struct bigkeys_part {
    struct bigkeys big; /* first */
    const struct keyspace *keyspace;
    struct bigkeys_request request;
    uint64_t cursor;
    uint32_t db;
};

static uint64_t size_by(const struct bigkey *key, enum bigkeys_order order) {
    return order == BIGKEYS_BY_MEMORY ? key->memory : key->elements;
}

/* Of names that are cut their sizes have to tell. */
static bool same(const struct bigkey *a, const struct bigkey *b) {
    bool alike =
        a->db == b->db && a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
    return alike && (a->name_len < BIGKEYS_NAME_MAX ||
                     (a->memory == b->memory && a->elements == b->elements));
}

/* Where in the list it belongs; `max`: nowhere. */
static unsigned place_of(const struct bigkeys_list *list, const struct bigkey *key,
                         enum bigkeys_order order, unsigned max) {
    unsigned at = list->count;
    uint64_t size = size_by(key, order);
    if (at == max && size <= size_by(&list->keys[at - 1], order)) {
        return max;
    }
    while (at > 0 && size > size_by(&list->keys[at - 1], order)) {
        at--;
    }
    return at;
}

/* The name is taken over. */
static void put(struct bigkeys_list *list, unsigned at, const struct bigkey *key, unsigned max) {
    if (list->keys == NULL) {
        list->keys = must_malloc(max * sizeof list->keys[0]);
    }
    if (list->count == max) {
        free(list->keys[--list->count].name);
    }
    memmove(list->keys + at + 1, list->keys + at, (list->count - at) * sizeof list->keys[0]);
    list->keys[at] = *key;
    list->count++;
}

static void consider(struct bigkeys_list *list, const struct bigkey *key, struct bytes name,
                     enum bigkeys_order order, unsigned max) {
    unsigned at = place_of(list, key, order, max);
    if (at == max) {
        return;
    }
    struct bigkey own = *key;
    own.name_len = name.len < BIGKEYS_NAME_MAX ? name.len : BIGKEYS_NAME_MAX;
    own.name = must_malloc(own.name_len + 1);
    memcpy(own.name, name.ptr, own.name_len);
    put(list, at, &own, max);
}

static void look(void *arg, struct entry *entry) {
    struct bigkeys_part *part = arg;
    enum value_type type = entry_type(entry);
    if ((part->request.type >= 0 && type != (unsigned)part->request.type) ||
        keyspace_hides(part->keyspace, entry)) {
        return;
    }
    struct value value = entry_value_of(entry);
    struct bigkey key = {
        .memory = entry_memory(part->keyspace, entry),
        .elements = type == TYPE_STRING ? string_length(entry)
                                        : forms_find(&value_forms, &value)->count(&value),
        .db = part->db,
    };
    struct bigkeys_type *of_type = &part->big.types[type];
    of_type->keys++;
    of_type->memory += key.memory;
    of_type->elements += key.elements;
    for (int order = 0; order < BIGKEYS_ORDERS; order++) {
        consider(&of_type->lists[order], &key, entry_key(entry), order, part->request.count);
    }
}

static bool walk(struct worker *worker, const void *args, void *result) {
    struct bigkeys_part *part = result;
    struct keyspace *keyspace = worker->shard.keyspace;
    part->keyspace = keyspace;
    part->request = *(const struct bigkeys_request *)args;
    for (; part->db < (uint32_t)config_databases(worker->config); part->db++) {
        if (part->cursor == 0 && keyspace_count(keyspace, part->db) == 0) {
            continue;
        }
        part->cursor = keyspace_scan(keyspace, part->db, part->cursor, KEYS_A_SLICE,
                                     rt_wall_ms(worker->rt), look, part);
        if (part->cursor != 0) {
            return worker->loop.stopping;
        }
    }
    return true;
}

void bigkeys_walk(struct exec *x, const struct bigkeys_request *request, scatter_done_fn *done) {
    scatter_all(x, walk, sizeof(struct bigkeys_part), request, sizeof *request, done);
}

/* ---- Of all workers ---- */

static bool has(const struct bigkeys_list *list, const struct bigkey *key) {
    for (unsigned i = 0; i < list->count; i++) {
        if (same(&list->keys[i], key)) {
            return true;
        }
    }
    return false;
}

/* While slots move a key may be in the lists of two workers. */
static void merge_list(struct bigkeys_list *into, struct bigkeys_list *from,
                       enum bigkeys_order order, unsigned max, bool moved) {
    for (unsigned i = 0; i < from->count; i++) {
        struct bigkey *key = &from->keys[i];
        unsigned at = place_of(into, key, order, max);
        if (at == max || (moved && has(into, key))) {
            free(key->name);
        } else {
            put(into, at, key, max);
        }
    }
    free(from->keys);
}

void bigkeys_merge(const struct scatter_result *result, struct bigkeys *ret) {
    *ret = (struct bigkeys){0};
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct bigkeys_part *part = result->parts[i];
        for (int type = 0; type < TYPE_COUNT; type++) {
            struct bigkeys_type *into = &ret->types[type], *from = &part->big.types[type];
            into->keys += from->keys;
            into->memory += from->memory;
            into->elements += from->elements;
            for (int order = 0; order < BIGKEYS_ORDERS; order++) {
                merge_list(&into->lists[order], &from->lists[order], order, part->request.count,
                           result->moved);
            }
        }
    }
}

void bigkeys_fini(struct bigkeys *big) {
    for (int type = 0; type < TYPE_COUNT; type++) {
        for (int order = 0; order < BIGKEYS_ORDERS; order++) {
            struct bigkeys_list *list = &big->types[type].lists[order];
            for (unsigned i = 0; i < list->count; i++) {
                free(list->keys[i].name);
            }
            free(list->keys);
        }
    }
}
