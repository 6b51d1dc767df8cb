/* SPDX-License-Identifier: BSD-3-Clause */
/* Positions one by one: GEOADD, GEOPOS, GEOHASH, GEODIST. */
#include "server/commands/geo/geo.h"

#include "base/must.h"
#include "base/num.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/sorted_set/sorted_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Arguments and replies ---- */

bool geo_arg_point(const struct exec *x, uint32_t argv_index, struct geo_point *ret) {
    if (!num_parse_double(x->argv[argv_index], &ret->longitude) ||
        !num_parse_double(x->argv[argv_index + 1], &ret->latitude)) {
        reply_error(x->reply, ERR_NOT_FLOAT);
        return false;
    }
    if (fabs(ret->longitude) > GEO_LONGITUDE_MAX || fabs(ret->latitude) > GEO_LATITUDE_MAX) {
        reply_errorf(x->reply, "ERR invalid longitude,latitude pair %f,%f", ret->longitude,
                     ret->latitude);
        return false;
    }
    return true;
}

bool geo_arg_unit(const struct exec *x, uint32_t argv_index, double *ret_metres) {
    static const struct {
        struct bytes name;
        double metres;
    } units[] = {
        {BYTES("m"), 1}, {BYTES("km"), 1000}, {BYTES("ft"), 0.3048}, {BYTES("mi"), 1609.34}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (bytes_equal_nocase(x->argv[argv_index], units[i].name)) {
            *ret_metres = units[i].metres;
            return true;
        }
    }
    reply_error(x->reply, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

/* All digits that a position has. */
static void reply_degrees(struct reply *r, double degrees) {
    char text[NUM_LONG_DOUBLE_BYTES];
    if (r->resp == 2) {
        reply_long_double(r, degrees);
        return;
    }
    text[0] = ',';
    size_t length = 1 + num_format_long_double(text + 1, degrees);
    memcpy(text + length, "\r\n", 2);
    reply_raw(r, bytes_make(text, length + 2));
}

void geo_reply_point(struct reply *r, struct geo_point point) {
    reply_array(r, 2);
    reply_degrees(r, point.longitude);
    reply_degrees(r, point.latitude);
}

/* Four digits behind the point, of the nearest ten thousandth. */
void geo_reply_distance(struct reply *r, double distance) {
    char text[64];
    long long parts = llrint(distance * 10000);
    int length = snprintf(text, sizeof text, "%lld.%04lld", parts / 10000, parts % 10000);
    reply_bulk(r, bytes_make(text, (size_t)length));
}

/* ---- GEOADD ---- */

/* It is a ZADD, and goes to the log as one. */
void command_geoadd(struct exec *x) {
    uint32_t first = 2;
    bool nx = false, xx = false, more = true;
    while (more && first < x->argc) {
        struct bytes word = x->argv[first];
        more = bytes_is(word, "nx") || bytes_is(word, "xx") || bytes_is(word, "ch");
        nx |= bytes_is(word, "nx");
        xx |= bytes_is(word, "xx");
        first += more;
    }
    if ((x->argc - first) % 3 != 0 || (nx && xx)) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    uint32_t count = (x->argc - first) / 3;
    struct bytes *argv = must_malloc((first + 2 * count) * sizeof *argv);
    char(*scores)[NUM_I64_BYTES] = must_malloc((count + 1) * sizeof *scores);
    argv[0] = BYTES("ZADD");
    memcpy(argv + 1, x->argv + 1, (first - 1) * sizeof *argv);
    bool sound = true;
    for (uint32_t i = 0; sound && i < count; i++) {
        struct geo_point point;
        sound = geo_arg_point(x, first + 3 * i, &point);
        if (sound) {
            size_t length = num_format_u64(scores[i], geohash_encode(point));
            argv[first + 2 * i] = bytes_make(scores[i], length);
            argv[first + 2 * i + 1] = x->argv[first + 3 * i + 2];
        }
    }
    if (sound) {
        sorted_set_add(x, argv, first + 2 * count);
    }
    free(scores);
    free(argv);
}

/* ---- GEOPOS, GEOHASH ---- */

typedef void reply_score_fn(struct reply *r, double score);
typedef void reply_none_fn(struct reply *r);

/* Each member as one element. */
static void reply_members(struct exec *x, reply_score_fn *reply_score, reply_none_fn *reply_none) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_ZSET, LOOKUP_READ, &entry)) {
        return;
    }
    struct value value = {0};
    if (entry != NULL) {
        value = entry_value_of(entry);
    }
    reply_array(x->reply, x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        double score;
        if (entry != NULL && zset_score(&value, x->argv[i], &score)) {
            reply_score(x->reply, score);
        } else {
            reply_none(x->reply);
        }
    }
}

static void reply_position(struct reply *r, double score) {
    geo_reply_point(r, geohash_decode(score));
}

static void reply_no_position(struct reply *r) {
    reply_null_array(r);
}

void command_geopos(struct exec *x) {
    reply_members(x, reply_position, reply_no_position);
}

#define GEOHASH_LETTERS 11

/* The text that geohash.org knows: of a map that reaches to the poles, five bits a letter, the last
 * of which 52 bits do not fill. */
static void reply_letters(struct reply *r, double score) {
    uint64_t bits = geohash_encode_within(geohash_decode(score), 90);
    char text[GEOHASH_LETTERS];
    for (unsigned i = 0; i < GEOHASH_LETTERS; i++) {
        unsigned shift = 52 - (i + 1) * 5;
        unsigned letter = i + 1 < GEOHASH_LETTERS ? (unsigned)(bits >> shift) & 31 : 0;
        text[i] = "0123456789bcdefghjkmnpqrstuvwxyz"[letter];
    }
    reply_bulk(r, bytes_make(text, GEOHASH_LETTERS));
}

static void reply_no_letters(struct reply *r) {
    reply_null(r);
}

void command_geohash(struct exec *x) {
    reply_members(x, reply_letters, reply_no_letters);
}

/* ---- GEODIST ---- */

void command_geodist(struct exec *x) {
    double metres = 1, a, b;
    if (x->argc == 5 && !geo_arg_unit(x, 4, &metres)) {
        return;
    }
    if (x->argc > 5) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    struct value value;
    if (!sorted_set_find(x, reply_no_letters, &value)) {
        return;
    }
    if (!zset_score(&value, x->argv[2], &a) || !zset_score(&value, x->argv[3], &b)) {
        reply_null(x->reply);
        return;
    }
    geo_reply_distance(x->reply, geo_distance(geohash_decode(a), geohash_decode(b)) / metres);
}
