/* SPDX-License-Identifier: BSD-3-Clause */
/* The graph has an edge or two per read and write. What would be an edge from each to all later
 * ones goes through chains of helper nodes: one for time over the whole history, a node per turn
 * from returns to calls; and one per register through its writes as they were called, so that "all
 * who wrote after this one had returned" is one edge into the chain.
 *
 * An operation that reads a version and writes the next cannot point at "all who write after that
 * version", for it is one of them. It gets edges of its own (exclude_self): into the chain behind
 * itself, and one by one to those that were called before it and yet must follow, who are few
 * unless much is wrong.
 */
#include "test/checker/serial.h"

#include "test/checker/graph.h"
#include "test/checker/grow.h"

#define DIRECT_EDGES_MAX 64  /* of one read-modify-write, see above */
#define SEARCHES_MAX     100 /* starts of a cycle that are tried in one component */
#define CYCLE_EDGES_MAX  400
#define REPORTS_MAX      100 /* components that are looked into */
#define NODE_NONE        GRAPH_NODE_NONE

struct serial {
    const struct versions *versions;
    const struct history *history;
    struct graph graph;
    const struct access **by_key; /* all accesses */
    uint32_t *after_write;        /* [write]: node behind which are all who wrote later, if any */
    uint32_t *after_nil;          /* [key]: the same for the time before the first write */
};

static const struct op *op_of(const struct serial *serial, uint32_t op) {
    return &serial->history->ops[op];
}

static void edge(struct serial *serial, uint32_t from, uint32_t to, enum edge_kind kind,
                 uint32_t key) {
    if (from != to) {
        graph_add_edge(&serial->graph, from, to, kind, key);
    }
}

/* ---- Time and connections ------------------------------------------------------------------ */

struct moment {
    int64_t time_ns;
    uint32_t op;
    bool returns;
};

/* Calls before returns at one time: those count as concurrent. */
static int by_time(const void *a, const void *b) {
    const struct moment *x = a, *y = b;
    if (x->time_ns != y->time_ns) {
        return x->time_ns < y->time_ns ? -1 : 1;
    }
    if (x->returns != y->returns) {
        return x->returns ? 1 : -1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static void add_time(struct serial *serial) {
    struct moment *moments = zeroed(serial->history->op_count * 2, sizeof(*moments));
    size_t count = 0;
    for (uint32_t i = 0; i < serial->history->op_count; i++) {
        const struct op *op = op_of(serial, i);
        if (!serial->versions->committed[i]) {
            continue;
        }
        moments[count++] = (struct moment){op->call_ns, i, false};
        if (op->return_ns != OP_NEVER_RETURN) {
            moments[count++] = (struct moment){op->return_ns, i, true};
        }
    }
    qsort(moments, count, sizeof(*moments), by_time);
    uint32_t barrier = NODE_NONE;
    bool called = true; /* since the barrier was made */
    for (size_t i = 0; i < count; i++) {
        if (!moments[i].returns) {
            if (barrier != NODE_NONE) {
                edge(serial, barrier, moments[i].op, EDGE_LINK, 0);
            }
            called = true;
            continue;
        }
        if (called) {
            uint32_t next = graph_add_node(&serial->graph);
            if (barrier != NODE_NONE) {
                edge(serial, barrier, next, EDGE_LINK, 0);
            }
            barrier = next;
            called = false;
        }
        edge(serial, moments[i].op, barrier, EDGE_TIME, 0);
    }
    free(moments);
}

static int by_process(const void *a, const void *b, void *arg) {
    const struct access *x = *(const struct access *const *)a;
    const struct access *y = *(const struct access *const *)b;
    const struct history *history = arg;
    const struct op *ops = history->ops;
    if (ops[x->op].process != ops[y->op].process) {
        return ops[x->op].process < ops[y->op].process ? -1 : 1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static int by_process_and_key(const void *a, const void *b, void *arg) {
    const struct access *x = *(const struct access *const *)a;
    const struct access *y = *(const struct access *const *)b;
    const struct op *ops = ((const struct history *)arg)->ops;
    if (ops[x->op].process == ops[y->op].process && x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return by_process(a, b, arg);
}

/* Edges between neighbours of one connection, and perhaps of one key only. */
static void chain_accesses(struct serial *serial, const struct access **accesses, size_t count,
                           bool of_one_key) {
    qsort_r(accesses, count, sizeof(*accesses), of_one_key ? by_process_and_key : by_process,
            (void *)serial->history);
    for (size_t i = 1; i < count; i++) {
        const struct access *x = accesses[i - 1], *y = accesses[i];
        if ((!of_one_key || x->key == y->key) &&
            op_of(serial, x->op)->process == op_of(serial, y->op)->process &&
            op_of(serial, x->op)->return_ns >= op_of(serial, y->op)->call_ns) {
            edge(serial, x->op, y->op, EDGE_ORDER, x->key);
        }
    }
}

/* A pipeline's operations overlap in time, but those that share a key happen as they were sent; all
 * that write where the order of those is kept; all of them where it is strict. */
static void add_process_order(struct serial *serial) {
    enum history_order order = serial->history->order;
    size_t count = serial->versions->access_count, in_order = 0;
    const struct access **sorted = zeroed(count, sizeof(*sorted));
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &serial->versions->accesses[i];
    }
    chain_accesses(serial, sorted, count, true);
    for (size_t i = 0; i < count; i++) {
        const struct access *access = &serial->versions->accesses[i];
        if (order == HISTORY_STRICT || (order == HISTORY_WRITES && access->writes)) {
            sorted[in_order++] = access;
        }
    }
    chain_accesses(serial, sorted, in_order, false);
    free(sorted);
}

/* ---- Lists and counters -------------------------------------------------------------------- */

static uint32_t op_at(const struct serial *serial, const struct places *places, uint32_t place) {
    return places->steps[place] == VERSION_NONE ? OP_NONE
                                                : serial->versions->step_ops[places->steps[place]];
}

/* The next operation behind a place that is known and not `self`, from the tables of neighbours. */
static uint32_t op_behind(const struct serial *serial, const struct places *places, uint32_t place,
                          uint32_t self) {
    while (place < places->max) {
        place++;
        uint32_t op = op_at(serial, places, place);
        if (op != OP_NONE && op != self) {
            return op;
        }
    }
    return OP_NONE;
}

static uint32_t op_before(const struct serial *serial, const struct places *places,
                          uint32_t place) {
    for (place = place > places->max ? places->max : place; place > 0; place--) {
        uint32_t op = op_at(serial, places, place);
        if (op != OP_NONE) {
            return op;
        }
    }
    return OP_NONE;
}

/* Appends that were answered without a place and that the longest read does not show. */
static void add_unseen(struct serial *serial, const struct places *places,
                       const struct access **accesses, size_t count) {
    uint32_t last = op_before(serial, places, places->longest);
    uint32_t behind = NODE_NONE;
    for (size_t i = 0; i < count; i++) {
        if (!accesses[i]->writes || accesses[i]->after != 0 || accesses[i]->op == last) {
            continue;
        }
        if (behind == NODE_NONE) {
            behind = graph_add_node(&serial->graph);
        }
        edge(serial, behind, accesses[i]->op, EDGE_LINK, accesses[i]->key);
    }
    if (behind == NODE_NONE) {
        return;
    }
    if (last != OP_NONE) {
        edge(serial, last, behind, EDGE_WW, accesses[0]->key);
    }
    for (size_t i = 0; i < count; i++) {
        /* A reader that appended as well is ordered by its own append. */
        if (accesses[i]->reads && !accesses[i]->writes && accesses[i]->before == places->longest) {
            edge(serial, accesses[i]->op, behind, EDGE_RW, accesses[i]->key);
        }
    }
}

static void add_sequence(struct serial *serial, uint32_t key, const struct access **accesses,
                         size_t count) {
    const struct places *places = &serial->versions->places[key];
    uint32_t last = OP_NONE;
    for (uint32_t place = 1; place <= places->max; place++) {
        uint32_t op = op_at(serial, places, place);
        if (op != OP_NONE && last != OP_NONE) {
            edge(serial, last, op, EDGE_WW, key);
        }
        last = op != OP_NONE ? op : last;
    }
    for (size_t i = 0; i < count; i++) {
        const struct access *access = accesses[i];
        if (!access->reads || access->before == VERSION_NONE) {
            continue;
        }
        uint32_t writer = op_before(serial, places, access->before);
        if (writer != OP_NONE) {
            edge(serial, writer, access->op, EDGE_WR, key);
        }
        uint32_t behind = op_behind(serial, places, access->before, access->op);
        if (behind != OP_NONE) {
            edge(serial, access->op, behind, EDGE_RW, key);
        }
    }
    if (history_key_kind(serial->history, key) == KEY_LIST) {
        add_unseen(serial, places, accesses, count);
    }
}

/* ---- Registers ----------------------------------------------------------------------------- */

/* The writes of one register, as they were called, and the chain through them. */
struct chain {
    const struct access **writers;
    uint32_t *nodes;
    size_t count;
};

static int by_call(const void *a, const void *b, void *arg) {
    const struct access *x = *(const struct access *const *)a;
    const struct access *y = *(const struct access *const *)b;
    const struct op *ops = arg;
    if (ops[x->op].call_ns != ops[y->op].call_ns) {
        return ops[x->op].call_ns < ops[y->op].call_ns ? -1 : 1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static struct chain make_chain(struct serial *serial, const struct access **accesses,
                               size_t count) {
    struct chain chain = {.writers = zeroed(count, sizeof(*chain.writers)),
                          .nodes = zeroed(count, sizeof(*chain.nodes))};
    for (size_t i = 0; i < count; i++) {
        if (accesses[i]->writes) {
            chain.writers[chain.count++] = accesses[i];
        }
    }
    qsort_r(chain.writers, chain.count, sizeof(*chain.writers), by_call, serial->history->ops);
    for (size_t i = 0; i < chain.count; i++) {
        chain.nodes[i] = graph_add_node(&serial->graph);
        edge(serial, chain.nodes[i], chain.writers[i]->op, EDGE_LINK, accesses[0]->key);
        if (i > 0) {
            edge(serial, chain.nodes[i - 1], chain.nodes[i], EDGE_LINK, accesses[0]->key);
        }
    }
    return chain;
}

static void chain_fini(struct chain *chain) {
    free(chain->writers);
    free(chain->nodes);
}

/* The first write that was called after the version's writer had returned; all are after nil. */
static size_t chain_after(const struct serial *serial, const struct chain *chain,
                          uint32_t version) {
    if (version == VERSION_NIL) {
        return 0;
    }
    int64_t time_ns = op_of(serial, serial->versions->writes[version].op)->return_ns;
    size_t low = 0, high = chain->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (op_of(serial, chain->writers[middle]->op)->call_ns > time_ns) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Where a write is in the chain. */
static size_t chain_index(const struct serial *serial, const struct chain *chain,
                          const struct access *access) {
    size_t low = 0, high = chain->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_call(&chain->writers[middle], &access, serial->history->ops) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    check(chain->writers[low] == access);
    return low;
}

/* The node behind which all are that are known to have written after a version. */
static uint32_t *after_node(struct serial *serial, uint32_t key, uint32_t version) {
    return version == VERSION_NIL ? &serial->after_nil[key] : &serial->after_write[version];
}

/* Who only read a version comes before all who wrote later. */
static void add_reader(struct serial *serial, const struct chain *chain,
                       const struct access *access) {
    uint32_t *after = after_node(serial, access->key, access->before);
    if (*after == NODE_NONE) {
        *after = graph_add_node(&serial->graph);
        size_t first = chain_after(serial, chain, access->before);
        if (first < chain->count) {
            edge(serial, *after, chain->nodes[first], EDGE_LINK, access->key);
        }
    }
    edge(serial, access->op, *after, EDGE_RW, access->key);
}

/* Who read a version and wrote the next comes before all others that wrote after that version, and
 * after those who only read it. */
static void exclude_self(struct serial *serial, const struct chain *chain,
                         const struct access *access) {
    uint32_t after = *after_node(serial, access->key, access->before);
    if (after != NODE_NONE) {
        edge(serial, after, access->op, EDGE_LINK, access->key);
    }
    size_t own = chain_index(serial, chain, access);
    size_t first = chain_after(serial, chain, access->before);
    for (size_t i = first; i < own && i < first + DIRECT_EDGES_MAX; i++) {
        edge(serial, access->op, chain->writers[i]->op, EDGE_WW, access->key);
    }
    size_t next = first > own ? first : own + 1;
    if (next < chain->count) {
        edge(serial, access->op, chain->nodes[next], EDGE_WW, access->key);
    }
}

static void add_register(struct serial *serial, uint32_t key, const struct access **accesses,
                         size_t count) {
    struct chain chain = make_chain(serial, accesses, count);
    for (size_t i = 0; i < count; i++) {
        const struct access *access = accesses[i];
        if (!access->reads || access->before == VERSION_NONE) {
            continue;
        }
        uint32_t writer = versions_writer(serial->versions, key, access->before);
        if (writer != OP_NONE) {
            edge(serial, writer, access->op, EDGE_WR, key);
        }
        if (!access->writes) {
            add_reader(serial, &chain, access);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (accesses[i]->reads && accesses[i]->writes && accesses[i]->before != VERSION_NONE) {
            exclude_self(serial, &chain, accesses[i]);
        }
    }
    chain_fini(&chain);
}

/* `shows` is a read of a version by T1, which wrote the key of `other` as well; what was read there
 * is of T2, who must have come after T1, and after all who read T1's write. */
static void add_inferred(struct serial *serial, const struct access *shows,
                         const struct access *other) {
    if (!shows->reads || !other->reads || other->before >= VERSION_NIL ||
        history_key_kind(serial->history, other->key) != KEY_REGISTER ||
        shows->before == VERSION_NONE) {
        return;
    }
    uint32_t first = versions_writer(serial->versions, shows->key, shows->before);
    uint32_t second = serial->versions->writes[other->before].op;
    if (first == OP_NONE || first == second || first == shows->op) {
        return;
    }
    const struct access *wrote = versions_access(serial->versions, first, other->key);
    if (wrote == NULL || !wrote->writes) {
        return;
    }
    edge(serial, first, second, EDGE_WW, other->key);
    if (serial->after_write[wrote->after] != NODE_NONE) {
        edge(serial, serial->after_write[wrote->after], second, EDGE_LINK, other->key);
    }
}

static void add_all_inferred(struct serial *serial) {
    const struct versions *versions = serial->versions;
    for (size_t op = 0; op < serial->history->op_count; op++) {
        for (size_t i = versions->access_first[op]; i < versions->access_first[op + 1]; i++) {
            for (size_t j = versions->access_first[op]; j < versions->access_first[op + 1]; j++) {
                if (i != j) {
                    add_inferred(serial, &versions->accesses[i], &versions->accesses[j]);
                }
            }
        }
    }
}

/* ---- Building ------------------------------------------------------------------------------ */

static int by_key(const void *a, const void *b) {
    const struct access *x = *(const struct access *const *)a;
    const struct access *y = *(const struct access *const *)b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static uint32_t *no_nodes(size_t count) {
    uint32_t *nodes = zeroed(count, sizeof(*nodes));
    for (size_t i = 0; i < count; i++) {
        nodes[i] = NODE_NONE;
    }
    return nodes;
}

static void serial_init(struct serial *serial, const struct versions *versions) {
    const struct history *history = versions->history;
    *serial = (struct serial){.versions = versions, .history = history};
    graph_init(&serial->graph, (uint32_t)history->op_count);
    serial->by_key = zeroed(versions->access_count, sizeof(*serial->by_key));
    for (size_t i = 0; i < versions->access_count; i++) {
        serial->by_key[i] = &versions->accesses[i];
    }
    qsort(serial->by_key, versions->access_count, sizeof(*serial->by_key), by_key);
    serial->after_write = no_nodes(versions->write_count);
    serial->after_nil = no_nodes(history_key_count(history));
    for (size_t i = 0; i < versions->access_count;) {
        uint32_t key = serial->by_key[i]->key;
        size_t end = i;
        while (end < versions->access_count && serial->by_key[end]->key == key) {
            end++;
        }
        if (history_key_kind(history, key) == KEY_REGISTER) {
            add_register(serial, key, &serial->by_key[i], end - i);
        } else {
            add_sequence(serial, key, &serial->by_key[i], end - i);
        }
        i = end;
    }
    add_all_inferred(serial);
    add_time(serial);
    add_process_order(serial);
    graph_seal(&serial->graph);
}

static void serial_fini(struct serial *serial) {
    graph_fini(&serial->graph);
    free(serial->by_key);
    free(serial->after_write);
    free(serial->after_nil);
}

/* ---- Telling a cycle ----------------------------------------------------------------------- */

/* A cycle of operations: edges[i] leads from ops[i] to ops[i + 1], the last back to ops[0]. */
struct cycle {
    uint32_t ops[CYCLE_EDGES_MAX];
    struct edge edges[CYCLE_EDGES_MAX];
    size_t count;
};

/* Links and helper nodes belong to the edge that led to them. The path starts at an operation. */
static void cycle_from_path(struct cycle *cycle, const struct serial *serial, const size_t *path,
                            size_t length) {
    cycle->count = 0;
    for (size_t i = 0; i < length; i++) {
        const struct edge *e = &serial->graph.edges[path[i]];
        if (e->kind != EDGE_LINK) {
            cycle->ops[cycle->count] = e->from;
            cycle->edges[cycle->count++] = *e;
        }
    }
}

static size_t count_kind(const struct cycle *cycle, unsigned mask) {
    size_t count = 0;
    for (size_t i = 0; i < cycle->count; i++) {
        count += (cycle->edges[i].kind & mask) != 0;
    }
    return count;
}

/* No read shows what the operation appended to the key, or wrote. */
static bool is_unseen(const struct serial *serial, uint32_t op, uint32_t key) {
    const struct access *access = versions_access(serial->versions, op, key);
    if (access == NULL || !access->writes) {
        return false;
    }
    switch (history_key_kind(serial->history, key)) {
    case KEY_REGISTER:
        return !serial->versions->writes[access->after].seen;
    case KEY_LIST:
        return access->after == 0 || access->after > serial->versions->places[key].longest;
    default:
        return false;
    }
}

/* One read overtaken, and the reader was called after the overtaker (or one after it) had returned:
 * everything else in the circle is time. */
static const char *stale_name(const struct serial *serial, const struct cycle *cycle) {
    for (size_t i = 0; i < cycle->count; i++) {
        size_t before = (i + cycle->count - 1) % cycle->count;
        if (cycle->edges[i].kind == EDGE_RW &&
            (cycle->edges[before].kind & (EDGE_TIME | EDGE_ORDER)) != 0) {
            uint32_t writer = cycle->ops[(i + 1) % cycle->count];
            return cycle->count == 2 && is_unseen(serial, writer, cycle->edges[i].key)
                       ? "lost write"
                       : "stale read";
        }
    }
    return NULL;
}

static const char *cycle_name(const struct serial *serial, const struct cycle *cycle) {
    size_t overtaken = count_kind(cycle, EDGE_RW);
    bool read = count_kind(cycle, EDGE_WR) > 0;
    if (count_kind(cycle, EDGE_TIME | EDGE_ORDER) == 0) {
        return overtaken > 1 ? "G2" : overtaken == 1 ? "G-single" : read ? "G1c" : "G0";
    }
    const char *stale = overtaken == 1 ? stale_name(serial, cycle) : NULL;
    if (stale != NULL) {
        return stale;
    }
    return overtaken > 1    ? "G2-realtime"
           : overtaken == 1 ? "G-single-realtime"
           : read           ? "G1c-realtime"
                            : "G0-realtime";
}

static void describe_edge(struct text *text, const struct serial *serial, const struct edge *e,
                          size_t from, size_t to) {
    const char *key = e->kind == EDGE_TIME ? "" : history_key_name(serial->history, e->key);
    text_appendf(text, "    T%zu before T%zu: ", from, to);
    switch (e->kind) {
    case EDGE_WW:
        text_appendf(text, "T%zu wrote %s later\n", to, key);
        break;
    case EDGE_WR:
        text_appendf(text, "T%zu read %s as T%zu left it, or later\n", to, key, from);
        break;
    case EDGE_RW:
        text_appendf(text, "T%zu read %s as it was before T%zu wrote it\n", from, key, to);
        break;
    case EDGE_TIME:
        text_appendf(text, "T%zu had returned when T%zu was called\n", from, to);
        break;
    case EDGE_ORDER:
        text_append_text(text, "the same connection sent it first");
        text_appendf(text,
                     serial->history->order == HISTORY_RELAXED  ? ", and both touch %s\n"
                     : serial->history->order == HISTORY_WRITES ? ", and both touch %s, or write\n"
                                                                : "\n",
                     key);
        break;
    case EDGE_LINK:
        break;
    }
}

static void tell(const struct serial *serial, struct verdict *verdict, const struct cycle *cycle) {
    const char *name = cycle_name(serial, cycle);
    struct text text;
    text_init(&text);
    if (verdict_wants(verdict, name)) {
        text_appendf(&text, "  %zu operations of which each must come before the next:\n",
                     cycle->count);
        for (size_t i = 0; i < cycle->count; i++) {
            char title[24];
            snprintf(title, sizeof(title), "T%zu", i + 1);
            verdict_describe(&text, serial->history, title, cycle->ops[i]);
        }
        for (size_t i = 0; i < cycle->count; i++) {
            describe_edge(&text, serial, &cycle->edges[i], i + 1, (i + 1) % cycle->count + 1);
        }
    }
    verdict_take(verdict, name, &text);
    text_fini(&text);
}

/* ---- Searching ----------------------------------------------------------------------------- */

struct search {
    const struct serial *serial;
    uint32_t *component; /* [node] */
    bool *told;          /* [node]: a cycle of its component was told, by a smaller mask perhaps */
    size_t *seen;
    size_t *path;
    struct cycle cycle; /* the best so far */
    struct cycle candidate;
};

/* The cycle that an edge closes, by the kinds of the mask; kept when it is the shortest. */
static void try_edge(struct search *search, size_t number, unsigned mask) {
    const struct serial *serial = search->serial;
    const struct edge *e = &serial->graph.edges[number];
    size_t length = graph_path(&serial->graph, mask, search->component, e->to, e->from,
                               search->path + 1, CYCLE_EDGES_MAX, search->seen);
    if (length == 0) {
        return;
    }
    search->path[0] = number;
    cycle_from_path(&search->candidate, serial, search->path, length + 1);
    if (search->cycle.count == 0 || search->candidate.count < search->cycle.count) {
        search->cycle = search->candidate;
    }
}

/* A short cycle of one component. With reads that were overtaken the one with a single such edge
 * says most: it is looked for first. */
static void search_component(struct search *search, const uint32_t *nodes, size_t count,
                             unsigned mask) {
    const struct graph *graph = &search->serial->graph;
    search->cycle.count = 0;
    for (int round = 0; round < 2 && search->cycle.count == 0; round++) {
        bool single = round == 0 && (mask & EDGE_RW) != 0;
        size_t tries = 0;
        for (size_t i = 0; i < count && tries < SEARCHES_MAX; i++) {
            for (size_t j = graph->first[nodes[i]]; j < graph->first[nodes[i] + 1]; j++) {
                const struct edge *e = &graph->edges[j];
                if ((e->kind & mask) == 0 || (single && e->kind != EDGE_RW) ||
                    search->component[e->to] != search->component[e->from]) {
                    continue;
                }
                try_edge(search, j, single ? mask & ~(unsigned)EDGE_RW : mask);
                tries++;
            }
        }
    }
}

static void search_mask(struct search *search, struct verdict *verdict, unsigned mask) {
    const struct graph *graph = &search->serial->graph;
    uint32_t n = graph->node_count;
    if (!graph_components(graph, mask, search->component)) {
        return;
    }
    size_t *start = zeroed((size_t)n + 2, sizeof(*start));
    uint32_t *members = zeroed(n, sizeof(*members));
    for (uint32_t node = 0; node < n; node++) {
        start[search->component[node] + 2]++;
    }
    for (size_t i = 2; i < (size_t)n + 2; i++) {
        start[i] += start[i - 1];
    }
    for (uint32_t node = 0; node < n; node++) {
        members[start[search->component[node] + 1]++] = node;
    }
    size_t reports = 0;
    for (uint32_t c = 0; c < n && reports < REPORTS_MAX; c++) {
        size_t count = start[c + 1] - start[c];
        bool told = count < 2;
        for (size_t i = 0; i < count && !told; i++) {
            told = search->told[members[start[c] + i]];
        }
        if (told) {
            continue;
        }
        search_component(search, members + start[c], count, mask);
        if (search->cycle.count == 0) {
            continue; /* longer than can be told: a larger mask finds a shorter one, or the end does
                       */
        }
        tell(search->serial, verdict, &search->cycle);
        reports++;
        for (size_t i = 0; i < count; i++) {
            search->told[members[start[c] + i]] = true;
        }
    }
    free(start);
    free(members);
}

static void search_cycles(const struct serial *serial, struct verdict *verdict) {
    static const unsigned masks[] = {
        EDGE_WW,
        EDGE_WW | EDGE_WR,
        EDGE_WW | EDGE_WR | EDGE_RW,
        EDGE_WW | EDGE_TIME | EDGE_ORDER,
        EDGE_WW | EDGE_WR | EDGE_TIME | EDGE_ORDER,
        EDGE_WW | EDGE_WR | EDGE_RW | EDGE_TIME | EDGE_ORDER,
    };
    size_t n = serial->graph.node_count;
    struct search *search = zeroed(1, sizeof(*search));
    search->serial = serial;
    search->component = zeroed(n, sizeof(*search->component));
    const size_t last = sizeof(masks) / sizeof(masks[0]) - 1;
    /* Nearly always there is no cycle at all, and this is the only pass. */
    if (graph_components(&serial->graph, masks[last], search->component)) {
        size_t before = verdict_count(verdict, NULL);
        search->told = zeroed(n, sizeof(*search->told));
        search->seen = zeroed(n, sizeof(*search->seen));
        search->path = zeroed(CYCLE_EDGES_MAX + 1, sizeof(*search->path));
        for (size_t i = 0; i <= last; i++) {
            search_mask(search, verdict, masks[i]);
        }
        if (verdict_count(verdict, NULL) == before) {
            verdict_add(verdict, "cycle", serial->history, NULL, 0,
                        "there is a cycle, longer than %d steps", CYCLE_EDGES_MAX);
        }
        free(search->told);
        free(search->seen);
        free(search->path);
    }
    free(search->component);
    free(search);
}

void serial_check(const struct versions *versions, struct verdict *verdict) {
    struct serial serial;
    serial_init(&serial, versions);
    search_cycles(&serial, verdict);
    serial_fini(&serial);
}
