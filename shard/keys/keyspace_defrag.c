/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeps the heap's slabs full.
 *
 * Slabs with few live blocks come from deletes, and from growth itself: the slots of a database
 * grow together, all their leaves leave one size class for the next, and the slabs of the last
 * class stay because of some slots that are behind. When that costs more than a few per cent, a
 * walk over all slots moves entries and leaves out of sparse slabs, a little in each millisecond.
 * An entry is known by one word of its leaf only (the wheel names keys by hash), so moving it is a
 * copy and a store. A large value is moved a piece at a time, between the walk's slices. A walk
 * that moved little says what cannot be mended: the next one waits until there is more to gain.
 *
 * What stays is a slab of each size that is not full. With few keys and many sizes that is a good
 * part of all: then the pages behind the last blocks of these go, too. Else they do not: large
 * pages would have to be taken apart for them.
 */
#include "shard/keys/keyspace_private.h"

#include "base/must.h"

#include <stdlib.h>

/* A walk begins when slack exceeds what the last one left by this and by a 256th of the memory. */
#define SLACK_MIN (256u << 10)
/* When such a part of the memory is slack after a walk, pages go that lie in slabs in use. */
#define SLACK_PART 16
/* A slice ends after this many items looked at, or bytes copied; of a value, which is one piece,
 * more can be copied in the time that many entries take. */
#define SLICE_ITEMS 1536
#define SLICE_BYTES (16u << 10)
#define VALUE_SHARE 16
/* To look at a value outside of its entry, mostly not in the cache, costs as much as some items. */
#define VALUE_ITEMS 6
/* A value of more is moved in pieces of this size. */
#define VALUE_AT_ONCE_BYTES ((size_t)64 << 10)

struct slice {
    struct keyspace *ks;
    struct shard_heap *heap;
    uint64_t items;
    uint64_t bytes;
    uint64_t value_bytes; /* of what lies outside of entries */
};

/* A small one at once; a large one is noted. */
static void move_value(struct slice *slice, struct entry *entry) {
    struct value value = entry_get(entry);
    const struct form *form = forms_find(slice->ks->forms, &value);
    if (root_is_read(slice->ks, value.root)) {
        return;
    }
    if (form->memory(&value) > VALUE_AT_ONCE_BYTES) {
        struct defrag_value *noted = must_malloc(sizeof *noted);
        *noted = (struct defrag_value){
            .key = entry_make_key(slice->ks, entry, (uint16_t)slice->ks->defrag.slot),
            .db = slice->ks->defrag.db,
            .root = value.root,
        };
        noted->key.name = BYTES("");
        list_node_init(&noted->link);
        list_push_back(&slice->ks->defrag_values, &noted->link);
        return;
    }
    uint64_t cursor = 0;
    bool done = false;
    while (!done) {
        size_t budget = SIZE_MAX;
        done = form->relocate_some(slice->heap, &value, &cursor, &budget);
        slice->value_bytes += SIZE_MAX - budget;
    }
    entry_put_root(entry, value.root);
}

/* The entry that has the value still, or NULL. */
static struct entry *find_noted(const struct keyspace *ks, const struct defrag_value *noted) {
    const struct database *database = ks->databases[noted->db];
    if (!database) {
        return NULL;
    }
    struct table_probe probe =
        table_probe(&database->slots[noted->key.slot].table, noted->key.hash);
    struct entry *entry = table_probe_next(&probe);
    while (entry && !(entry_is_rooted(entry) && entry_root(entry) == noted->root)) {
        entry = table_probe_next(&probe);
    }
    return entry;
}

/* A piece of the first large value. */
static void move_noted(struct keyspace *ks, struct slice *slice) {
    struct defrag_value *noted =
        LIST_ENTRY(list_first(&ks->defrag_values), struct defrag_value, link);
    struct entry *entry = find_noted(ks, noted);
    bool done = true;
    if (entry && !entry_is_lent(ks, entry) && !root_is_read(ks, noted->root)) {
        struct value value = entry_get(entry);
        size_t budget = VALUE_AT_ONCE_BYTES;
        done =
            forms_find(ks->forms, &value)->relocate_some(ks->heap, &value, &noted->cursor, &budget);
        slice->value_bytes += VALUE_AT_ONCE_BYTES - budget;
        noted->root = value.root;
        entry_put_root(entry, value.root);
    }
    if (done) {
        list_remove(&noted->link);
        free(noted);
    }
}

static void count(struct keyspace_stats *stats, bool moved) {
    stats->defrag_hits += moved;
    stats->defrag_misses += !moved;
}

static void *move_entry(void *arg, void *item) {
    struct slice *slice = arg;
    struct keyspace_stats *stats = &slice->ks->stats;
    slice->items++;
    struct entry *entry = item;
    if (entry_is_lent(slice->ks, entry)) {
        return item;
    }
    uint64_t hits = stats->defrag_hits;
    if (entry_is_rooted(entry)) {
        slice->items += VALUE_ITEMS;
        size_t before = heap_relocated(slice->heap);
        move_value(slice, entry);
        count(stats, heap_relocated(slice->heap) != before);
    }
    size_t copied = 0;
    size_t bytes = entry_bytes(entry);
    if (bytes <= HEAP_SLAB_BLOCK_MAX) {
        item = heap_relocate(slice->heap, item, bytes, &copied);
        slice->bytes += copied;
    }
    count(stats, copied > 0);
    stats->defrag_key_hits += stats->defrag_hits != hits;
    stats->defrag_key_misses += stats->defrag_hits == hits;
    return item;
}

static bool slice_is_over(const struct slice *slice) {
    return slice->items >= SLICE_ITEMS ||
           slice->bytes + slice->value_bytes / VALUE_SHARE >= SLICE_BYTES;
}

/* The words of the leaf that comes after the one at hand. */
static void fetch_next(const struct database *database, uint32_t slot, uint64_t place) {
    uint32_t count = 0;
    table_leaf_at(&database->slots[slot].table, &place, &count);
    if (place >= TABLE_PLACE_END) {
        place = 0;
        slot++;
    }
    const uint64_t *words =
        slot < SLOTS ? table_leaf_at(&database->slots[slot].table, &place, &count) : NULL;
    for (uint32_t i = 0; words != NULL && i < count; i += 8) {
        __builtin_prefetch(words + i);
    }
}

/* False: the walk is at its end. */
static bool run_slice(struct keyspace *ks, struct slice *slice) {
    struct defrag *defrag = &ks->defrag;
    for (; defrag->db < ks->database_count; defrag->db++) {
        struct database *database = ks->databases[defrag->db];
        while (database && (defrag->slot = database_next_slot(database, defrag->slot)) < SLOTS) {
            if (slice_is_over(slice)) {
                return true;
            }
            struct table *table = &database->slots[defrag->slot].table;
            size_t copied;
            fetch_next(database, defrag->slot, defrag->place);
            defrag->place =
                table_relocate(table, ks->heap, defrag->place, move_entry, slice, &copied);
            slice->bytes += copied;
            if (defrag->place >= TABLE_PLACE_END) {
                defrag->place = 0;
                defrag->slot++;
            }
        }
        defrag->slot = 0;
        defrag->place = 0;
    }
    return false;
}

void defrag_forget(struct keyspace *ks) {
    struct list_node *node;
    while ((node = list_pop_front(&ks->defrag_values)) != NULL) {
        free(LIST_ENTRY(node, struct defrag_value, link));
    }
}

/* Only a walk that found little to move says what cannot be mended, and only of what was there when
 * it began: keys were deleted behind its back. */
static void walk_is_over(struct keyspace *ks) {
    struct defrag *defrag = &ks->defrag;
    size_t now = heap_slack(ks->heap), then = defrag->slack_then;
    size_t slack = now < then ? now : then;
    size_t moved = heap_relocated(ks->heap) - defrag->relocated_then;
    heap_settle(ks->heap, now > heap_used(ks->heap) / SLACK_PART);
    *defrag =
        (struct defrag){.slack_left = moved < slack / 8 ? slack : 0, .next_ms = defrag->next_ms};
    int64_t took_ms = ks->now_ms - ks->stats.defrag_since_ms;
    ks->stats.defrag_ms += took_ms > 0 ? took_ms : 0;
    ks->stats.defrag_since_ms = 0;
}

static bool is_worth_it(const struct keyspace *ks) {
    size_t slack = heap_slack(ks->heap);
    return slack > ks->defrag.slack_left + SLACK_MIN + heap_used(ks->heap) / 256;
}

bool keyspace_defrag_more(struct keyspace *ks) {
    if (!ks->defrag.running) {
        return false;
    }
    struct slice slice = {.ks = ks, .heap = ks->heap};
    bool more = true;
    ks->stats.defrag_slices++;
    if (!list_empty(&ks->defrag_values)) {
        move_noted(ks, &slice);
    } else {
        more = run_slice(ks, &slice) || !list_empty(&ks->defrag_values);
    }
    if (!more) {
        walk_is_over(ks);
    }
    return more;
}

size_t keyspace_slack(const struct keyspace *ks) {
    return heap_slack(ks->heap);
}

int64_t keyspace_defrag(struct keyspace *ks, int64_t now_ms) {
    struct defrag *defrag = &ks->defrag;
    if (!defrag->running) {
        /* What was left may have become less by itself. */
        size_t slack = heap_slack(ks->heap);
        defrag->slack_left = slack < defrag->slack_left ? slack : defrag->slack_left;
        if (LIKELY(!is_worth_it(ks))) {
            return INT64_MAX;
        }
        *defrag = (struct defrag){.running = true,
                                  .next_ms = now_ms,
                                  .slack_then = slack,
                                  .relocated_then = heap_relocated(ks->heap)};
        ks->stats.defrag_since_ms = now_ms;
    }
    /* Not yet; but a clock that was set back must not stop us. */
    if (now_ms < defrag->next_ms && defrag->next_ms <= now_ms + 1) {
        return defrag->next_ms;
    }
    keyspace_defrag_more(ks);
    defrag->next_ms = now_ms + 1;
    return defrag->next_ms;
}
