/* SPDX-License-Identifier: BSD-3-Clause */
/* Members in an area: GEOSEARCH, and GEORADIUS, which came before it; and what they store.
 *
 * The area becomes a few ranges of scores (geohash.h), in which each member is looked at. Without
 * an order they are told in that of the ranges; COUNT without ANY wants the nearest.
 */
#include "base/arena.h"
#include "base/must.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/geo/geo.h"
#include "server/commands/sorted_set/sorted_set.h"

#include <math.h>
#include <stdlib.h>

enum search_kind {
    RADIUS, /* GEORADIUS */
    RADIUS_BY_MEMBER,
    SEARCH,
    SEARCH_STORE,
};

enum search_order { ORDER_NONE, ORDER_ASCENDING, ORDER_DESCENDING };

struct found {
    struct bytes member;
    struct geo_point point;
    double distance, score;
};

struct search {
    enum search_kind kind;
    bool reads_only;    /* ..._RO: no STORE */
    struct value value; /* of the source */
    bool present;
    struct geo_shape shape;
    bool from_member, from_point, has_shape;
    struct geo_point *vertices; /* malloc, or NULL */
    bool with_coordinates, with_distance, with_hash;
    enum search_order order;
    bool any;
    int64_t count;   /* at most; 0: all */
    uint32_t target; /* in argv: the key to store in; 0: none */
    bool stores_distance;
    struct found *found;
    uint64_t found_count, found_room;
    struct arena arena; /* texts that stand nowhere else */
};

/* ---- Arguments ---- */

static bool arg_number(const struct exec *x, uint32_t i, const char *error, double *ret) {
    if (!num_parse_double(x->argv[i], ret)) {
        reply_error(x->reply, error);
        return false;
    }
    return true;
}

static bool arg_circle(const struct exec *x, uint32_t i, struct geo_shape *shape) {
    shape->type = GEO_CIRCLE;
    if (!arg_number(x, i, "ERR need numeric radius", &shape->radius)) {
        return false;
    }
    if (shape->radius < 0) {
        reply_error(x->reply, "ERR radius cannot be negative");
        return false;
    }
    return geo_arg_unit(x, i + 1, &shape->unit);
}

static bool arg_box(const struct exec *x, uint32_t i, struct geo_shape *shape) {
    shape->type = GEO_BOX;
    if (!arg_number(x, i, "ERR need numeric width", &shape->width) ||
        !arg_number(x, i + 1, "ERR need numeric height", &shape->height)) {
        return false;
    }
    if (shape->width < 0 || shape->height < 0) {
        reply_error(x->reply, "ERR height or width cannot be negative");
        return false;
    }
    return geo_arg_unit(x, i + 2, &shape->unit);
}

#define VERTICES_MIN 3

/* Returns how many arguments it took; 0: an error was written. */
static uint32_t arg_polygon(const struct exec *x, uint32_t i, struct search *search) {
    int64_t count;
    if (!exec_arg_range(x, i, INT32_MIN, INT32_MAX, "ERR invalid number of vertices", &count)) {
        return 0;
    }
    if (count < VERTICES_MIN || count * 2 > (int64_t)x->argc - i - 1) {
        reply_error(x->reply, "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices");
        return 0;
    }
    free(search->vertices);
    search->vertices = must_malloc((size_t)count * sizeof *search->vertices);
    for (uint32_t n = 0; n < (uint32_t)count; n++) {
        if (!geo_arg_point(x, i + 1 + 2 * n, &search->vertices[n])) {
            return 0;
        }
    }
    struct geo_shape *shape = &search->shape;
    shape->type = GEO_POLYGON;
    shape->unit = 1;
    shape->vertices = search->vertices;
    shape->vertex_count = (uint32_t)count;
    shape->centre = geo_polygon_centre(search->vertices, shape->vertex_count);
    return 1 + 2 * (uint32_t)count;
}

static bool arg_member(const struct exec *x, uint32_t i, struct search *search) {
    double score;
    if (!zset_score(&search->value, x->argv[i], &score)) {
        struct bytes member = x->argv[i];
        reply_errorf(x->reply, "ERR member %.*s does not exist", bytes_precision(member),
                     member.ptr);
        return false;
    }
    search->shape.centre = geohash_decode(score);
    return true;
}

static bool arg_count(const struct exec *x, uint32_t i, struct search *search) {
    if (!exec_arg_i64(x, i, &search->count)) {
        return false;
    }
    if (search->count <= 0) {
        reply_error(x->reply, "ERR COUNT must be > 0");
        return false;
    }
    return true;
}

static bool is_search(const struct search *search) {
    return search->kind == SEARCH || search->kind == SEARCH_STORE;
}

/* A word that stands alone. */
static bool read_flag(struct search *search, struct bytes word) {
    if (bytes_is(word, "withdist")) {
        search->with_distance = true;
    } else if (bytes_is(word, "withhash")) {
        search->with_hash = true;
    } else if (bytes_is(word, "withcoord")) {
        search->with_coordinates = true;
    } else if (bytes_is(word, "any")) {
        search->any = true;
    } else if (bytes_is(word, "asc")) {
        search->order = ORDER_ASCENDING;
    } else if (bytes_is(word, "desc")) {
        search->order = ORDER_DESCENDING;
    } else if (search->kind == SEARCH_STORE && bytes_is(word, "storedist")) {
        search->stores_distance = true;
    } else {
        return false;
    }
    return true;
}

/* Where GEOSEARCH looks, and in what. Returns how many arguments it took, 0: it is none of these;
 * UINT32_MAX: an error was written. */
static uint32_t read_area(const struct exec *x, uint32_t i, struct search *search) {
    struct bytes word = x->argv[i];
    uint32_t left = x->argc - i - 1;
    bool polygon = search->has_shape && search->shape.type == GEO_POLYGON;
    bool other = search->has_shape && !polygon, from = search->from_member || search->from_point;
    bool sound = true;
    uint32_t taken = 0;
    if (left >= 1 && bytes_is(word, "frommember") && !search->from_point && !polygon) {
        sound = !search->present || arg_member(x, i + 1, search);
        search->from_member = true;
        taken = 2;
    } else if (left >= 2 && bytes_is(word, "fromlonlat") && !search->from_member && !polygon) {
        sound = geo_arg_point(x, i + 1, &search->shape.centre);
        search->from_point = true;
        taken = 3;
    } else if (left >= 2 && bytes_is(word, "byradius") && !polygon &&
               !(other && search->shape.type == GEO_BOX)) {
        sound = arg_circle(x, i + 1, &search->shape);
        search->has_shape = true;
        taken = 3;
    } else if (left >= 3 && bytes_is(word, "bybox") && !polygon &&
               !(other && search->shape.type == GEO_CIRCLE)) {
        sound = arg_box(x, i + 1, &search->shape);
        search->has_shape = true;
        taken = 4;
    } else if (left >= 2 && bytes_is(word, "bypolygon") && !other && !from) {
        uint32_t vertices = arg_polygon(x, i + 1, search);
        sound = vertices > 0;
        search->has_shape = true;
        taken = 1 + vertices;
    }
    return sound ? taken : UINT32_MAX;
}

static bool read_options(const struct exec *x, uint32_t first, struct search *search) {
    for (uint32_t i = first; i < x->argc;) {
        struct bytes word = x->argv[i];
        bool more = i + 1 < x->argc,
             stores = search->kind <= RADIUS_BY_MEMBER && !search->reads_only;
        uint32_t taken = 1;
        if (more && bytes_is(word, "count")) {
            if (!arg_count(x, i + 1, search)) {
                return false;
            }
            taken = 2;
        } else if (stores && more && (bytes_is(word, "store") || bytes_is(word, "storedist"))) {
            search->target = i + 1;
            search->stores_distance = bytes_is(word, "storedist");
            taken = 2;
        } else if (!read_flag(search, word)) {
            taken = is_search(search) ? read_area(x, i, search) : 0;
            if (taken == UINT32_MAX) {
                return false;
            }
            if (taken == 0) {
                reply_error(x->reply, ERR_SYNTAX);
                return false;
            }
        }
        i += taken;
    }
    return true;
}

static bool options_agree(const struct exec *x, const struct search *search) {
    struct bytes name = x->argv[0];
    if (search->target != 0 &&
        (search->with_coordinates || search->with_distance || search->with_hash)) {
        reply_errorf(x->reply,
                     "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                     search->kind == SEARCH_STORE ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
        return false;
    }
    bool polygon = search->has_shape && search->shape.type == GEO_POLYGON;
    if (is_search(search) && !polygon && !search->from_member && !search->from_point) {
        reply_errorf(x->reply,
                     "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                     bytes_precision(name), name.ptr);
        return false;
    }
    if (is_search(search) && !search->has_shape) {
        reply_errorf(x->reply,
                     "ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for %.*s",
                     bytes_precision(name), name.ptr);
        return false;
    }
    if (search->any && search->count == 0) {
        reply_error(x->reply, "ERR the ANY argument requires COUNT argument");
        return false;
    }
    return true;
}

/* The source, what comes before the options, the options. */
static bool search_read(const struct exec *x, struct search *search) {
    uint32_t source = search->kind == SEARCH_STORE ? 2 : 1, first = source + 1;
    struct loan loan;
    search->present = exec_input(x, source, LOOKUP_READ, &loan);
    if (search->present && loan.value.type != TYPE_ZSET) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return false;
    }
    search->value = loan.value;
    if (search->kind == SEARCH_STORE) {
        search->target = 1;
    } else if (search->kind == RADIUS) {
        first = 6;
        if (!geo_arg_point(x, 2, &search->shape.centre) || !arg_circle(x, 4, &search->shape)) {
            return false;
        }
    } else if (search->kind == RADIUS_BY_MEMBER) {
        first = 5;
        if (search->present && (!arg_member(x, 2, search) || !arg_circle(x, 3, &search->shape))) {
            return false;
        }
    }
    return read_options(x, first, search) && options_agree(x, search);
}

/* ---- Looking ---- */

static void add_found(struct search *search, const struct zset_walk *walk,
                      const struct zset_item *item, struct geo_point point, double distance) {
    if (search->found_count == search->found_room) {
        search->found_room = search->found_room > 0 ? search->found_room * 2 : 32;
        search->found = must_realloc(search->found, search->found_room * sizeof *search->found);
    }
    struct bytes member = item->member;
    if (member.ptr == walk->scratch) {
        char *copy = arena_alloc(&search->arena, member.len);
        memcpy(copy, member.ptr, member.len);
        member.ptr = copy;
    }
    search->found[search->found_count++] = (struct found){
        .member = member, .point = point, .distance = distance, .score = item->score};
}

/* False: there are enough. */
static bool look_through(struct search *search, struct geo_range range) {
    struct zset_scores scores = {.min = range.min, .max = range.max, .max_open = true};
    struct zset_span span = zset_span_of_scores(&search->value, &scores);
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, &search->value, span.start, false);
    for (uint64_t i = span.start; i < span.end && zset_walk_next(&walk, &item); i++) {
        struct geo_point point = geohash_decode(item.score);
        double distance;
        if (!geo_shape_has(&search->shape, point, &distance)) {
            continue;
        }
        add_found(search, &walk, &item, point, distance);
        if (search->any && search->found_count >= (uint64_t)search->count) {
            return false;
        }
    }
    return true;
}

static int nearer(const void *a_ptr, const void *b_ptr) {
    const struct found *a = a_ptr, *b = b_ptr;
    return (a->distance > b->distance) - (a->distance < b->distance);
}

static int farther(const void *a, const void *b) {
    return nearer(b, a);
}

static void look(struct search *search) {
    struct geo_range ranges[GEO_RANGES_MAX];
    unsigned count = geo_shape_ranges(&search->shape, ranges);
    for (unsigned i = 0; i < count && look_through(search, ranges[i]); i++) {
    }
    if (search->count != 0 && search->order == ORDER_NONE && !search->any) {
        search->order = ORDER_ASCENDING;
    }
    if (search->order != ORDER_NONE && search->found_count > 0) {
        qsort(search->found, search->found_count, sizeof *search->found,
              search->order == ORDER_ASCENDING ? nearer : farther);
    }
    if (search->count != 0 && (uint64_t)search->count < search->found_count) {
        search->found_count = (uint64_t)search->count;
    }
}

/* ---- Answers ---- */

static void reply_found(struct reply *r, const struct search *search, const struct found *found) {
    unsigned more = search->with_distance + search->with_hash + search->with_coordinates;
    if (more > 0) {
        reply_array(r, more + 1);
    }
    reply_bulk(r, found->member);
    if (search->with_distance) {
        geo_reply_distance(r, found->distance / search->shape.unit);
    }
    if (search->with_hash) {
        reply_int(r, found->score >= -0x1p63 && found->score < 0x1p63 ? (int64_t)found->score
                                                                      : INT64_MIN);
    }
    if (search->with_coordinates) {
        geo_reply_point(r, found->point);
    }
}

static void store_found(struct exec *x, const struct search *search) {
    struct zset_item *items = must_malloc((search->found_count + 1) * sizeof *items);
    for (uint64_t i = 0; i < search->found_count; i++) {
        const struct found *found = &search->found[i];
        double distance = found->distance / search->shape.unit;
        items[i] =
            (struct zset_item){found->member, search->stores_distance ? distance : found->score};
    }
    sorted_set_sort(&items, search->found_count);
    struct key target = exec_key(x, search->target);
    uint64_t count = search->found_count;
#ifdef SHOAL_UNSAFE_BAGS_NEAR /* for the test that users of the simulator notice */
    count -= count > 0;
#endif
    sorted_set_store(x, &target, items, count,
                     is_search(search) ? EVENT_GEOSEARCHSTORE : EVENT_GEORADIUSSTORE);
    keyspace_count_elements(x->keyspace, search->found_count);
    free(items);
}

static void run(struct exec *x, enum search_kind kind, bool reads_only) {
    struct search search = {.kind = kind, .reads_only = reads_only};
    arena_init(&search.arena, 4096);
    if (search_read(x, &search)) {
        if (search.present) {
            look(&search);
        }
        if (search.target != 0) {
            store_found(x, &search);
        } else {
            reply_array(x->reply, search.found_count);
            for (uint64_t i = 0; i < search.found_count; i++) {
                reply_found(x->reply, &search, &search.found[i]);
            }
        }
    }
    free(search.vertices);
    free(search.found);
    arena_fini(&search.arena);
}

void command_georadius(struct exec *x) {
    run(x, RADIUS, false);
}

void command_georadius_ro(struct exec *x) {
    run(x, RADIUS, true);
}

void command_georadiusbymember(struct exec *x) {
    run(x, RADIUS_BY_MEMBER, false);
}

void command_georadiusbymember_ro(struct exec *x) {
    run(x, RADIUS_BY_MEMBER, true);
}

void command_geosearch(struct exec *x) {
    run(x, SEARCH, false);
}

void command_geosearchstore(struct exec *x) {
    run(x, SEARCH_STORE, false);
}

int georadius_find_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                        struct key_ref *ret, int max) {
    (void)command;
    uint32_t target = 0;
    for (uint32_t i = 5; i + 1 < argc; i++) {
        if (bytes_is(argv[i], "store") || bytes_is(argv[i], "storedist")) {
            target = ++i;
        }
    }
    if (max > 0) {
        ret[0] = (struct key_ref){.index = 1, .flags = KEY_RO | KEY_ACCESS, .db = KEY_DB_SELECTED};
    }
    if (max > 1 && target != 0) {
        ret[1] =
            (struct key_ref){.index = target, .flags = KEY_OW | KEY_UPDATE, .db = KEY_DB_SELECTED};
    }
    return target != 0 ? 2 : 1;
}
