/* SPDX-License-Identifier: BSD-3-Clause */
/* Geohashes: positions that are known, there and back again, and the ranges that cover an area. */
#include "server/commands/geo/geohash.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct geo_point PALERMO = {13.361389, 38.115556}, CATANIA = {15.087269, 37.502669};

Test(geohash, known_positions_have_known_numbers) {
    cr_assert_eq(geohash_encode(PALERMO), UINT64_C(3479099956230698));
    cr_assert_eq(geohash_encode(CATANIA), UINT64_C(3479447370796909));
    cr_assert_eq(geohash_encode((struct geo_point){-180, -GEO_LATITUDE_MAX}), 0);
}

Test(geohash, known_distances) {
    struct geo_point a = geohash_decode((double)geohash_encode(PALERMO));
    struct geo_point b = geohash_decode((double)geohash_encode(CATANIA));
    cr_assert_float_eq(geo_distance(a, b), 166274.1516, 0.0001);
    cr_assert_eq(geo_distance(a, b), geo_distance(b, a));
    cr_assert_eq(geo_distance(a, a), 0);
}

static struct geo_point draw(struct rng *rng, double latitude_max) {
    return (struct geo_point){(rng_unit(rng) * 2 - 1) * 180,
                              (rng_unit(rng) * 2 - 1) * latitude_max};
}

Test(geohash, there_and_back_is_the_same_cell) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        struct geo_point point = draw(&rng, GEO_LATITUDE_MAX);
        uint64_t hash = geohash_encode(point);
        struct geo_point middle = geohash_decode((double)hash);
        cr_assert_lt(geo_distance(point, middle), 0.6);
        cr_assert_eq(geohash_encode(middle), hash);
    }
}

Test(geohash, any_number_has_a_position) {
    static const double scores[] = {-1, 1e17, -1e300, 1e300, INFINITY, -INFINITY, 0.5, 0x1p63};
    for (unsigned i = 0; i < sizeof scores / sizeof scores[0]; i++) {
        struct geo_point point = geohash_decode(scores[i]);
        cr_assert(fabs(point.longitude) <= 180 && fabs(point.latitude) <= GEO_LATITUDE_MAX);
    }
}

static bool is_covered(const struct geo_range *ranges, unsigned count, struct geo_point point) {
    double score = (double)geohash_encode(point);
    unsigned times = 0;
    for (unsigned i = 0; i < count; i++) {
        times += score >= ranges[i].min && score < ranges[i].max;
    }
    cr_assert_leq(times, 1, "it would be told twice");
    return times == 1;
}

/* Away from the poles and from where east meets west. */
Test(geohash, ranges_cover_what_is_in_a_shape) {
    struct rng rng;
    rng_seed(&rng, 2);
    unsigned inside = 0;
    for (int i = 0; i < 20000; i++) {
        double metres = exp(rng_unit(&rng) * 13);
        struct geo_point centre = {(rng_unit(&rng) * 2 - 1) * 150, (rng_unit(&rng) * 2 - 1) * 60};
        double degrees = metres / 111000;
        struct geo_point vertices[5];
        struct geo_shape shape = {.type = (enum geo_shape_type)(i % 3),
                                  .centre = centre,
                                  .unit = 1,
                                  .radius = metres,
                                  .width = metres * 2 * rng_unit(&rng),
                                  .height = metres * 2 * rng_unit(&rng)};
        if (shape.type == GEO_POLYGON) {
            for (unsigned n = 0; n < 5; n++) {
                vertices[n] =
                    (struct geo_point){centre.longitude + (rng_unit(&rng) * 2 - 1) * degrees,
                                       centre.latitude + (rng_unit(&rng) * 2 - 1) * degrees};
            }
            shape.vertices = vertices;
            shape.vertex_count = 5;
            shape.centre = geo_polygon_centre(vertices, 5);
        }
        struct geo_range ranges[GEO_RANGES_MAX];
        unsigned count = geo_shape_ranges(&shape, ranges);
        for (unsigned n = 0; n < 20; n++) {
            struct geo_point point = {centre.longitude + (rng_unit(&rng) * 2 - 1) * degrees,
                                      centre.latitude + (rng_unit(&rng) * 2 - 1) * degrees};
            double distance;
            if (geo_shape_has(&shape, geohash_decode((double)geohash_encode(point)), &distance)) {
                cr_assert(is_covered(ranges, count, point));
                inside++;
            }
        }
    }
    cr_assert_gt(inside, 50000);
}
