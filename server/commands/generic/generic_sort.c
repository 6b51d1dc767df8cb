/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_sort: SORT and SORT_RO: the elements of a list, set or sorted set in another order, which
 * other keys may say, with what other keys hold.
 *
 * BY and GET make names of elements, so which keys they read is known only when the elements are.
 * Where there are several shards, such a call asks for those keys when it has the elements, and
 * runs once more with their locks (exec_has_named). That is a guess: if the elements are others by
 * then, it asks again. Where that cannot be done, or is in vain, all shards are put in view for it
 * (generic_sort_view.c).
 *
 * Elements are copied before anything is looked up. The sort is stable: what is equal stays in the
 * order of its collection.
 */
#include "base/arena.h"
#include "base/must.h"
#include "base/text.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/rights.h"
#include "server/commands/generic/generic.h"
#include "server/commands/list/list_change.h"
#include "server/config/config.h"
#include "shard/shard.h"
#include "shard/types/hash.h"
#include "shard/types/packed.h"
#include "shard/types/zset.h"

#include <locale.h>
#include <stdlib.h>

#define TEXTS_BLOCK_BYTES ((size_t)64 << 10)

/* ---- The call ---- */

struct sort {
    int64_t limit_first, limit_count;
    struct bytes by;
    bool has_by;
    bool keeps_order;   /* BY something without a star */
    const char *leaves; /* an option that may need another node of the cluster, or NULL */
    const char *denied; /* one that its user may not use, or NULL */
    bool descending, alpha;
    uint32_t gets_count;
    uint32_t store;       /* where its key stands in argv; 0: nowhere */
    struct pattern *gets; /* once the options are read */
};

/* Patterns are read as C strings. */
static size_t pattern_length(struct bytes pattern) {
    const char *nul = memchr(pattern.ptr, 0, pattern.len);
    return nul != NULL ? (size_t)(nul - pattern.ptr) : pattern.len;
}

static bool names_keys(struct bytes pattern) {
    return memchr(pattern.ptr, '*', pattern_length(pattern)) != NULL;
}

/* In a cluster: whether what the pattern names may be in other slots than what is sorted. */
static bool leaves_slot(const struct exec *x, struct bytes pattern) {
    return exec_is_in_cluster(x) && !bytes_equal(pattern, BYTES("#")) &&
           pattern_slot(pattern) != key_slot(x->argv[1]);
}

/* Reads one option; its words are counted in *words. False: there is no such option, or a word is
 * missing. */
static bool option_read(const struct exec *x, uint32_t at, struct sort *sort, uint32_t *words) {
    struct bytes word = x->argv[at];
    uint32_t rest = x->argc - at - 1;
    *words = 1;
    if (bytes_is(word, "asc")) {
        sort->descending = false;
    } else if (bytes_is(word, "desc")) {
        sort->descending = true;
    } else if (bytes_is(word, "alpha")) {
        sort->alpha = true;
    } else if (bytes_is(word, "limit") && rest >= 2) {
        *words = 3;
    } else if (bytes_is(word, "store") && rest >= 1 && x->command->flags & CMD_WRITE) {
        *words = 2;
        sort->store = at + 1;
    } else if (bytes_is(word, "by") && rest >= 1) {
        *words = 2;
        sort->has_by = true;
        sort->by = x->argv[at + 1];
        sort->keeps_order |= !names_keys(sort->by);
        sort->leaves = names_keys(sort->by) && leaves_slot(x, sort->by) ? "BY" : NULL;
        sort->denied = names_keys(sort->by) && !rights_read_all(x) ? "BY" : NULL;
    } else if (bytes_is(word, "get") && rest >= 1) {
        *words = 2;
        sort->gets_count++;
        sort->leaves = leaves_slot(x, x->argv[at + 1]) ? "GET" : NULL;
        sort->denied = rights_read_all(x) ? NULL : "GET";
    } else {
        return false;
    }
    return true;
}

static bool options_read(const struct exec *x, struct sort *sort) {
    *sort = (struct sort){.limit_count = -1};
    for (uint32_t at = 2, words; at < x->argc; at += words) {
        if (!option_read(x, at, sort, &words)) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        if (UNLIKELY(sort->leaves != NULL)) {
            reply_errorf(x->reply,
                         "ERR %s option of SORT denied in Cluster mode when keys formed by the "
                         "pattern may be in different slots.",
                         sort->leaves);
            return false;
        }
        if (UNLIKELY(sort->denied != NULL)) {
            reply_errorf(x->reply,
                         "ERR %s option of SORT denied due to insufficient ACL permissions.",
                         sort->denied);
            return false;
        }
        if (words == 3 && (!exec_arg_i64(x, at + 1, &sort->limit_first) ||
                           !exec_arg_i64(x, at + 2, &sort->limit_count))) {
            return false;
        }
    }
    return true;
}

/* How many words follow an option, for who looks for another: Valkey's way through arguments that
 * may make no sense. */
static uint32_t words_after(struct bytes option) {
    return bytes_is(option, "limit")                           ? 2
           : bytes_is(option, "get") || bytes_is(option, "by") ? 1
                                                               : 0;
}

int sort_find_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                   struct key_ref *ret, int max) {
    struct key_ref store = {0};
    for (uint32_t i = 2; i < argc && command->flags & CMD_WRITE; i++) {
        if (bytes_is(argv[i], "store") && i + 1 < argc) {
            store = (struct key_ref){++i, KEY_OW | KEY_UPDATE, KEY_DB_SELECTED};
        } else {
            i += words_after(argv[i]);
        }
    }
    int n = 1 + (store.index > 0);
    if (max >= n) {
        ret[0] = (struct key_ref){1, KEY_RO | KEY_ACCESS, KEY_DB_SELECTED};
        ret[n - 1] = n == 2 ? store : ret[0];
    }
    return n;
}

bool sort_reads_everywhere(const struct bytes *argv, uint32_t argc) {
    for (uint32_t i = 2; i + 1 < argc; i++) {
        bool pattern = bytes_is(argv[i], "by") || bytes_is(argv[i], "get");
        if (pattern && names_keys(argv[i + 1])) {
            return true;
        }
        i += bytes_is(argv[i], "store") ? 1 : words_after(argv[i]);
    }
    return false;
}

/* ---- Keys ---- */

static bool find_input(const struct exec *x, struct value *ret) {
    struct loan loan;
    if (exec_sees_all(x)) {
        struct key key = exec_key(x, 1);
        loan = entry_loan(keyspace_find(exec_keyspace(x, &key), x->db, &key, x->now_ms,
                                        exec_lookup_flags(x, LOOKUP_READ)));
    } else {
        exec_input(x, 1, LOOKUP_READ, &loan);
    }
    *ret = loan.value;
    return loan.present;
}

/* What BY or GET says: the element itself, or what a key has whose name is made with it. */
struct pattern {
    struct bytes before, after; /* the star of the key's name */
    struct bytes field;         /* of a hash */
    bool is_element, has_star, has_field;
};

static struct pattern pattern_read(struct bytes text) {
    size_t length = pattern_length(text);
    const char *star = memchr(text.ptr, '*', length), *end = text.ptr + text.len;
    struct pattern pattern = {
        .is_element = length == 1 && text.ptr[0] == '#',
        .has_star = star != NULL,
    };
    if (star != NULL) {
        size_t tail = length - (size_t)(star + 1 - text.ptr);
        const char *arrow = memmem(star + 1, tail, "->", 2);
        pattern.has_field = arrow != NULL && arrow + 2 < text.ptr + length;
        pattern.before = bytes_make(text.ptr, (size_t)(star - text.ptr));
        const char *after_end = pattern.has_field ? arrow : end;
        pattern.after = bytes_make(star + 1, (size_t)(after_end - star - 1));
        if (pattern.has_field) {
            pattern.field = bytes_make(arrow + 2, (size_t)(end - arrow - 2));
        }
    }
    return pattern;
}

/* Memory to be freed. */
static void gets_read(const struct exec *x, struct sort *sort) {
    sort->gets = must_malloc((sort->gets_count + 1) * sizeof *sort->gets);
    uint32_t n = 0;
    for (uint32_t at = 2; n < sort->gets_count; at++) {
        if (bytes_is(x->argv[at], "get")) {
            sort->gets[n++] = pattern_read(x->argv[at + 1]);
        }
        at += bytes_is(x->argv[at], "store") ? 1 : words_after(x->argv[at]);
    }
}

/* A look at the keys that elements name. What was found lasts until the next one. */
struct lookup {
    const struct exec *x;
    struct text name;
    char scratch[NUMBER_TEXT_BYTES];
    struct hash_found field;
};

static struct bytes name_for(struct lookup *lookup, const struct pattern *pattern,
                             struct bytes element) {
    text_clear(&lookup->name);
    text_append_bytes(&lookup->name, pattern->before);
    text_append_bytes(&lookup->name, element);
    text_append_bytes(&lookup->name, pattern->after);
    return text_bytes(&lookup->name);
}

static bool look_at(struct lookup *lookup, const struct pattern *pattern, struct bytes element,
                    struct bytes *ret) {
    const struct exec *x = lookup->x;
    if (pattern->is_element) {
        *ret = element;
        return true;
    }
    struct loan loan;
    enum value_type type = pattern->has_field ? TYPE_HASH : TYPE_STRING;
    if (!pattern->has_star || !exec_named(x, name_for(lookup, pattern, element), &loan) ||
        loan.value.type != type) {
        return false;
    }
    if (!pattern->has_field) {
        *ret = string_value_bytes(&loan.value, lookup->scratch);
        return true;
    }
    struct hash_look look = hash_look(loan.value, exec_alive_ms(x));
    bool found = hash_find(&look, pattern->field, &lookup->field);
    if (look.hidden_to > 0) {
        keyspace_hid(x->keyspace, look.hidden_to);
    }
    *ret = lookup->field.value;
    return found;
}

struct item {
    struct bytes text;
    union {
        double score;
        struct bytes weight; /* ALPHA */
    };
    bool is_missing; /* ALPHA: there is no weight */
};

struct items {
    struct item *list;
    uint64_t count;
    struct arena texts;
};

/* Whether the keys may be looked at that this pattern names with these elements. */
static bool has_keys(struct lookup *lookup, const struct pattern *pattern, const struct item *list,
                     uint64_t count) {
    bool all = true;
    for (uint64_t i = 0; pattern->has_star && i < count; i++) {
        all &= exec_has_named(lookup->x, name_for(lookup, pattern, list[i].text));
    }
    return all;
}

/* ---- Elements ---- */

static struct bytes keep(struct arena *texts, struct bytes text) {
    char *copy = arena_alloc(texts, text.len + 1);
    memcpy(copy, text.len > 0 ? text.ptr : "", text.len);
    copy[text.len] = 0; /* for strxfrm */
    return bytes_make(copy, text.len);
}

static void add(struct items *items, struct bytes text) {
    items->list[items->count++] = (struct item){.text = keep(&items->texts, text)};
}

static void add_visited(void *arg, const struct value_element *element) {
    add(arg, element->first);
}

static void load_all(struct items *items, const struct value *value) {
    const struct form *form = forms_find(&value_forms, value);
    uint64_t cursor = 0;
    do {
        cursor = form->walk(value, cursor, UINT64_MAX, add_visited, items);
    } while (cursor != 0);
}

/* Of what is in an order by itself and keeps it: only those that are wanted. */
static void load_some(struct items *items, const struct value *value, uint64_t first,
                      uint64_t count, bool down) {
    if (count == 0) {
        return;
    }
    if (value->type == TYPE_LIST) {
        struct quicklist_iter iter;
        char scratch[NUM_I64_BYTES];
        list_iter_open(&iter, value, down ? list_count(value) - 1 - first : first, down);
        for (; items->count < count; quicklist_iter_next(&iter)) {
            add(items, quicklist_iter_text(&iter, scratch));
        }
        quicklist_iter_close(&iter);
        return;
    }
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, value, down ? zset_count(value) - 1 - first : first, down);
    while (items->count < count && zset_walk_next(&walk, &item)) {
        add(items, item.member);
    }
}

/* The elements from *first on that are told, of `total`. */
static void limit_read(const struct sort *sort, uint64_t total, uint64_t *first, uint64_t *count) {
    uint64_t from = sort->limit_first > 0 ? (uint64_t)sort->limit_first : 0;
    *first = from < total ? from : total;
    *count = total - *first;
    if (sort->limit_count >= 0 && (uint64_t)sort->limit_count < *count) {
        *count = (uint64_t)sort->limit_count;
    }
}

/* ---- Weights ---- */

/* How texts are compared that go to a client: as the locale says; those that are stored, byte by
 * byte. */
struct collation {
    bool by_bytes;
    locale_t locale; /* or 0: C, and up to the first NUL */
};

static struct collation collation_open(const struct exec *x, const struct sort *sort) {
    struct collation collation = {.by_bytes = sort->store > 0};
    if (!collation.by_bytes) {
        const struct config *config = exec_config(x);
        struct text name;
        text_init(&name);
        text_append_bytes(&name, config->locale_collate);
        text_append_char(&name, '\0');
        collation.locale = newlocale(LC_COLLATE_MASK, name.ptr, (locale_t)0);
        locale_t plain = newlocale(LC_COLLATE_MASK, "C", (locale_t)0);
        if (collation.locale == plain) { /* there is one such object for all */
            collation.locale = (locale_t)0;
        }
        freelocale(plain);
        text_fini(&name);
    }
    return collation;
}

static void collation_close(const struct collation *collation) {
    if (collation->locale != (locale_t)0) {
        freelocale(collation->locale);
    }
}

/* Bytes that compare as the collation wants it of a text with a NUL behind it. */
static struct bytes collate(const struct collation *collation, struct arena *texts,
                            struct bytes text) {
    if (collation->by_bytes) {
        return text;
    }
    if (collation->locale == (locale_t)0) {
        return bytes_make(text.ptr, strlen(text.ptr));
    }
    size_t length = strxfrm_l(NULL, text.ptr, 0, collation->locale);
    char *to = arena_alloc(texts, length + 1);
    strxfrm_l(to, text.ptr, length + 1, collation->locale);
    return bytes_make(to, length);
}

static bool score_read(struct bytes text, double *ret) {
    return num_parse_double(bytes_make(text.ptr, pattern_length(text)), ret);
}

static struct pattern weight_pattern(const struct sort *sort) {
    return sort->has_by ? pattern_read(sort->by) : (struct pattern){.is_element = true};
}

/* False: one that should be a number is none. */
static bool weigh(const struct exec *x, const struct sort *sort, struct lookup *lookup,
                  struct items *items) {
    struct pattern by = weight_pattern(sort);
    struct collation collation = {.by_bytes = true};
    bool sound = true;
    if (sort->alpha) {
        collation = collation_open(x, sort);
    }
    for (uint64_t i = 0; i < items->count; i++) {
        struct item *item = &items->list[i];
        struct bytes weight;
        if (!look_at(lookup, &by, item->text, &weight)) {
            item->is_missing = true;
        } else if (sort->alpha) {
            weight = by.is_element ? weight : keep(&items->texts, weight);
            item->weight = collate(&collation, &items->texts, weight);
        } else {
            sound &= score_read(weight, &item->score);
        }
    }
    collation_close(&collation);
    return sound;
}

/* ---- Order ---- */

static inline __attribute__((always_inline)) int compare(const struct item *a, const struct item *b,
                                                         bool alpha) {
    if (alpha) {
        if (a->is_missing || b->is_missing) {
            return b->is_missing - a->is_missing;
        }
        return bytes_compare(a->weight, b->weight);
    }
    int c = (a->score > b->score) - (a->score < b->score);
    return c != 0 ? c : bytes_compare(a->text, b->text);
}

/* Two runs that lie side by side become one, in `to`. */
static inline __attribute__((always_inline)) void merge(const struct item *from, struct item *to,
                                                        uint64_t left, uint64_t right, bool alpha,
                                                        int sign) {
    const struct item *a = from, *b = from + left, *a_end = b, *b_end = b + right;
    while (a < a_end && b < b_end) {
        *to++ = compare(a, b, alpha) * sign <= 0 ? *a++ : *b++;
    }
    memcpy(to, a, (size_t)(a_end - a) * sizeof *a);
    memcpy(to + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

/* Runs of 1, 2, 4 ... are merged; returns where the result is, which is the list or the room. */
static inline __attribute__((always_inline)) struct item *
merge_all(struct item *list, struct item *room, uint64_t count, bool alpha, int sign) {
    for (uint64_t run = 1; run < count; run *= 2) {
        for (uint64_t at = 0; at < count; at += 2 * run) {
            uint64_t rest = count - at, left = run < rest ? run : rest;
            uint64_t right = rest - left < run ? rest - left : run;
            merge(list + at, room + at, left, right, alpha, sign);
        }
        struct item *other = list;
        list = room;
        room = other;
    }
    return list;
}

/* Which comes first; of equal ones the first of the collection. */
static bool is_before(const struct sort *sort, const struct item *a, const struct item *b) {
    int c = compare(a, b, sort->alpha) * (sort->descending ? -1 : 1);
    return c != 0 ? c < 0 : a < b;
}

/* A heap whose root comes last: the root has become another, and goes down to its place. */
static void sink(const struct sort *sort, const struct item **heap, uint64_t count) {
    const struct item *item = heap[0];
    uint64_t at = 0, child;
    while ((child = 2 * at + 1) < count) {
        child += child + 1 < count && is_before(sort, heap[child], heap[child + 1]);
        if (!is_before(sort, item, heap[child])) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

static void raise(const struct sort *sort, const struct item **heap, uint64_t at) {
    const struct item *item = heap[at];
    for (; at > 0 && is_before(sort, heap[(at - 1) / 2], item); at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = item;
}

/* Only the first `count` of them, in order; the others are left out. */
static void order_first(const struct sort *sort, struct items *items, uint64_t count) {
    const struct item **heap = must_malloc(count * sizeof *heap);
    for (uint64_t i = 0; i < items->count; i++) {
        if (i < count) {
            heap[i] = &items->list[i];
            raise(sort, heap, i);
        } else if (is_before(sort, &items->list[i], heap[0])) {
            heap[0] = &items->list[i];
            sink(sort, heap, count);
        }
    }
    struct item *sorted = must_malloc(count * sizeof *sorted);
    for (uint64_t left = count; left > 0; left--) {
        sorted[left - 1] = *heap[0];
        heap[0] = heap[left - 1];
        sink(sort, heap, left - 1);
    }
    free(heap);
    free(items->list);
    items->list = sorted;
    items->count = count;
}

static void order_all(const struct sort *sort, struct items *items) {
    struct item *room = must_malloc(items->count * sizeof *room);
    int sign = sort->descending ? -1 : 1;
    struct item *sorted = sort->alpha ? merge_all(items->list, room, items->count, true, sign)
                                      : merge_all(items->list, room, items->count, false, sign);
    free(sorted == room ? items->list : room);
    items->list = sorted;
}

/* Few of many are cheaper to find than to put all in order. */
#define FEW_PART 8

/* Puts the first `wanted` in their places, at least. */
static void order(const struct sort *sort, struct items *items, uint64_t wanted) {
    if (wanted > 0 && wanted < items->count / FEW_PART) {
        order_first(sort, items, wanted);
    } else if (wanted > 0 && items->count > 1) {
        order_all(sort, items);
    }
}

/* ---- What comes of it ---- */

typedef void tell_fn(void *arg, const struct bytes *value);

/* Tells of each element itself, or what each GET says (NULL: nothing). */
static void tell_all(const struct sort *sort, struct lookup *lookup, const struct item *list,
                     uint64_t count, tell_fn *tell, void *arg) {
    for (uint64_t i = 0; i < count; i++) {
        if (sort->gets_count == 0) {
            tell(arg, &list[i].text);
        }
        for (uint32_t j = 0; j < sort->gets_count; j++) {
            struct bytes value;
            tell(arg, look_at(lookup, &sort->gets[j], list[i].text, &value) ? &value : NULL);
        }
    }
}

static void tell_reply(void *arg, const struct bytes *value) {
    struct reply *reply = arg;
    if (value == NULL) {
        reply_null(reply);
    } else {
        reply_bulk(reply, *value);
    }
}

/* What is to be stored, copied: it may come from the key that it is stored at. */
struct results {
    struct bytes *list;
    uint64_t count;
    struct arena *texts;
};

static void tell_results(void *arg, const struct bytes *value) {
    struct results *results = arg;
    results->list[results->count++] = value == NULL ? BYTES("") : keep(results->texts, *value);
}

/* A quicklist of one node becomes a listpack, and has one node as long as each element had room in
 * it with Valkey's allowance. */
static bool needs_nodes(const struct list_rules *rules, const struct results *results) {
    const size_t allowance = 8;
    size_t bytes = LISTPACK_EMPTY_BYTES;
    bool exceeds = false;
    for (uint64_t i = 0; i < results->count && !exceeds; i++) {
        struct bytes text = results->list[i];
        exceeds = quicklist_exceeds(rules->fill, bytes + text.len + allowance, i + 1);
        bytes += listpack_new(text).bytes;
    }
    return exceeds;
}

static struct entry *put_list(const struct exec *x, const struct key *to,
                              const struct results *results) {
    struct entry *entry = keyspace_find(x->keyspace, x->db, to, x->now_ms, LOOKUP_WRITE);
    struct list_rules rules = list_rules_of(x);
    struct change change;
    change_open(&change, x->keyspace, x->db, to, entry, x->now_ms);
    packed_make(&change, TYPE_LIST);
    change_element(&change, NULL);
    if (needs_nodes(&rules, results)) {
        /* More than any listpack takes. */
        list_grow(&change, &rules, &(struct bytes){NULL, SIZE_MAX / 2}, 1);
    }
    for (uint64_t i = 0; i < results->count; i++) {
        list_push(&change, results->list[i], true);
    }
    return change_close(&change, EVENT_SORTSTORE);
}

static void store(const struct exec *x, const struct sort *sort, const struct results *results) {
    struct key to = exec_key(x, sort->store);
    struct entry *entry = results->count > 0 ? put_list(x, &to, results) : NULL;
    bool changed =
        entry != NULL || keyspace_delete(x->keyspace, x->db, &to, x->now_ms, true, EVENT_DEL);
    if (changed && (exec_is_apart(x) || exec_sees_all(x))) {
        effect_state_key(x, x->db, to.name, entry);
    }
}

static void finish(const struct exec *x, const struct sort *sort, struct lookup *lookup,
                   struct items *items, uint64_t first, uint64_t count) {
    uint64_t replies = count * (sort->gets_count > 0 ? sort->gets_count : 1);
    const struct item *list = items->list + first;
    if (sort->store == 0) {
        reply_array(x->reply, replies);
        tell_all(sort, lookup, list, count, tell_reply, x->reply);
        return;
    }
    struct results results = {.texts = &items->texts};
    results.list = must_malloc((replies + 1) * sizeof *results.list);
    tell_all(sort, lookup, list, count, tell_results, &results);
    store(x, sort, &results);
    keyspace_count_elements(x->keyspace, replies);
    free(results.list);
    reply_int(x->reply, (int64_t)replies);
}

/* ---- Keys that elements name ---- */

static bool has_results(const struct sort *sort, struct lookup *lookup, const struct item *list,
                        uint64_t count) {
    bool all = true;
    for (uint32_t i = 0; i < sort->gets_count; i++) {
        all &= has_keys(lookup, &sort->gets[i], list, count);
    }
    return all;
}

/* If they are missing, what all results need is asked for with them; of some it is not known yet
 * which they are. */
static bool has_weights(const struct sort *sort, struct lookup *lookup, const struct items *items,
                        uint64_t wanted) {
    struct pattern by = weight_pattern(sort);
    bool all = has_keys(lookup, &by, items->list, items->count);
    if (!all && wanted == items->count) {
        has_results(sort, lookup, items->list, wanted);
    }
    return all;
}

/* ---- The command ---- */

static void run(const struct exec *x, struct sort *sort) {
    struct value value;
    bool present = find_input(x, &value);
    if (present && value.type != TYPE_LIST && value.type != TYPE_SET && value.type != TYPE_ZSET) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return;
    }
    if (present && value.type == TYPE_SET && sort->keeps_order &&
        (sort->store > 0 || exec_is_of_script(x))) {
        /* A set has no order that would be the same elsewhere. */
        sort->keeps_order = sort->has_by = false;
        sort->alpha = true;
    }
    uint64_t total = present ? forms_find(&value_forms, &value)->count(&value) : 0, first, count;
    limit_read(sort, total, &first, &count);
    struct items items = {.list = must_malloc((total + 1) * sizeof *items.list)};
    struct lookup lookup = {.x = x};
    arena_init(&items.texts, TEXTS_BLOCK_BYTES);
    text_init(&lookup.name);
    bool has_all = true, sound = true;
    if (total > 0 && sort->keeps_order && value.type != TYPE_SET) {
        load_some(&items, &value, first, count, sort->descending);
        first = 0;
    } else if (total > 0) {
        load_all(&items, &value);
        if (!sort->keeps_order) {
            has_all = has_weights(sort, &lookup, &items, count);
            sound = has_all && weigh(x, sort, &lookup, &items);
            order(sort, &items, sound && count > 0 ? first + count : 0);
        }
    }
    has_all = has_all && (!sound || has_results(sort, &lookup, items.list + first, count));
    if (has_all && sound) {
        finish(x, sort, &lookup, &items, first, count);
    } else if (has_all) {
        reply_error(x->reply, "ERR One or more scores can't be converted into double");
    }
    text_fini(&lookup.name);
    arena_fini(&items.texts);
    free(items.list);
}

void sort_run(struct exec *x) {
    struct sort sort;
    if (options_read(x, &sort)) {
        gets_read(x, &sort);
        run(x, &sort);
        free(sort.gets);
    }
}
