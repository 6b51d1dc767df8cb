/* SPDX-License-Identifier: BSD-3-Clause */
/* Geohashes.
 *
 * Distances are great circles on a sphere (the haversine formula), and every sum and product is
 * done in the order in which Valkey does it: clients see all digits.
 *
 * A search looks through the cell of its centre and the eight around it, of a size that the area
 * fits into; those that the area does not reach are left out.
 */
#include "server/commands/geo/geohash.h"

#include "base/check.h"

#include <math.h>

#define EARTH_RADIUS  6372797.560856
#define MERCATOR_MAX  20037726.37
#define PI            3.14159265358979323846
#define LATITUDE_BITS UINT64_C(0x5555555555555555)

static double radians(double degrees) {
    return degrees * (PI / 180.0);
}

static double degrees(double radians) {
    return radians / (PI / 180.0);
}

/* ---- Cells ---- */

/* A cell of the map: its number, and how many bits of each kind that has. */
struct cell {
    uint64_t bits;
    unsigned steps; /* 0: none */
};

/* The 32 bits, each followed by a nought. */
static uint64_t spread(uint32_t bits) {
    uint64_t x = bits;
    x = (x | x << 16) & UINT64_C(0x0000FFFF0000FFFF);
    x = (x | x << 8) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x << 4) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & LATITUDE_BITS;
}

static uint32_t gather(uint64_t x) {
    x &= LATITUDE_BITS;
    x = (x | x >> 1) & UINT64_C(0x3333333333333333);
    x = (x | x >> 2) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    x = (x | x >> 4) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x >> 8) & UINT64_C(0x0000FFFF0000FFFF);
    return (uint32_t)(x | x >> 16);
}

/* Where it is between -max and max, in 2^steps parts. */
static uint32_t part_of(double value, double max, unsigned steps) {
    double share = (value + max) / (max + max);
    share *= (double)(UINT64_C(1) << steps);
    return (uint32_t)share;
}

static struct cell cell_of(struct geo_point point, double latitude_max, unsigned steps) {
    uint32_t latitude = part_of(point.latitude, latitude_max, steps);
    uint32_t longitude = part_of(point.longitude, GEO_LONGITUDE_MAX, steps);
    return (struct cell){spread(latitude) | spread(longitude) << 1, steps};
}

struct area {
    double longitude_min, longitude_max, latitude_min, latitude_max;
};

static double edge_of(uint64_t part, double max, unsigned steps) {
    return -max + (double)part * 1.0 / (double)(UINT64_C(1) << steps) * (max + max);
}

static struct area cell_area(struct cell cell) {
    uint64_t latitude = gather(cell.bits), longitude = gather(cell.bits >> 1);
    return (struct area){
        .longitude_min = edge_of(longitude, GEO_LONGITUDE_MAX, cell.steps),
        .longitude_max = edge_of(longitude + 1, GEO_LONGITUDE_MAX, cell.steps),
        .latitude_min = edge_of(latitude, GEO_LATITUDE_MAX, cell.steps),
        .latitude_max = edge_of(latitude + 1, GEO_LATITUDE_MAX, cell.steps),
    };
}

uint64_t geohash_encode_within(struct geo_point point, double latitude_max) {
    return cell_of(point, latitude_max, GEO_STEPS).bits;
}

uint64_t geohash_encode(struct geo_point point) {
    return geohash_encode_within(point, GEO_LATITUDE_MAX);
}

static int64_t whole(double score) {
    return score >= -0x1p63 && score < 0x1p63 ? (int64_t)score : INT64_MIN;
}

/* A score need not be a geohash: what the machine makes of any number when it is cut to one. */
static uint64_t bits_of(double score) {
    return score < 0x1p63 ? (uint64_t)whole(score)
                          : (uint64_t)whole(score - 0x1p63) ^ UINT64_C(1) << 63;
}

static double clip(double value, double max) {
    return value > max ? max : value < -max ? -max : value;
}

struct geo_point geohash_decode(double score) {
    struct area area = cell_area((struct cell){bits_of(score), GEO_STEPS});
    return (struct geo_point){
        .longitude = clip((area.longitude_min + area.longitude_max) / 2, GEO_LONGITUDE_MAX),
        .latitude = clip((area.latitude_min + area.latitude_max) / 2, GEO_LATITUDE_MAX),
    };
}

/* ---- Distances ---- */

double geo_latitude_distance(double a, double b) {
    return EARTH_RADIUS * fabs(radians(b) - radians(a));
}

double geo_distance(struct geo_point a, struct geo_point b) {
    double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    if (v == 0.0) {
        return geo_latitude_distance(a.latitude, b.latitude);
    }
    double latitude_a = radians(a.latitude), latitude_b = radians(b.latitude);
    double u = sin((latitude_b - latitude_a) / 2);
    double h = u * u + cos(latitude_a) * cos(latitude_b) * v * v;
    return 2.0 * EARTH_RADIUS * asin(sqrt(h));
}

/* ---- Shapes ---- */

struct geo_point geo_polygon_centre(const struct geo_point *vertices, uint32_t count) {
    double x = 0, y = 0, z = 0;
    for (uint32_t i = 0; i < count; i++) {
        double latitude = radians(vertices[i].latitude);
        double longitude = radians(vertices[i].longitude);
        x += cos(latitude) * cos(longitude);
        y += cos(latitude) * sin(longitude);
        z += sin(latitude);
    }
    return (struct geo_point){
        .longitude = degrees(atan2(y, x)),
        .latitude = degrees(atan2(z, sqrt(x * x + y * y))),
    };
}

/* A ray from the point crosses an odd number of sides. */
static bool polygon_has(const struct geo_shape *shape, struct geo_point point) {
    bool inside = false;
    for (uint32_t i = 0, j = shape->vertex_count - 1; i < shape->vertex_count; j = i++) {
        struct geo_point a = shape->vertices[i], b = shape->vertices[j];
        if ((a.latitude > point.latitude) != (b.latitude > point.latitude) &&
            point.longitude < (b.longitude - a.longitude) * (point.latitude - a.latitude) /
                                      (b.latitude - a.latitude) +
                                  a.longitude) {
            inside = !inside;
        }
    }
    return inside;
}

/* Each distance is measured along one direction, that by longitude at the point's latitude. */
static bool box_has(const struct geo_shape *shape, struct geo_point point) {
    if (geo_latitude_distance(point.latitude, shape->centre.latitude) >
        shape->height * shape->unit / 2) {
        return false;
    }
    struct geo_point beside = {shape->centre.longitude, point.latitude};
    return geo_distance(point, beside) <= shape->width * shape->unit / 2;
}

bool geo_shape_has(const struct geo_shape *shape, struct geo_point point, double *ret_distance) {
    if ((shape->type == GEO_BOX && !box_has(shape, point)) ||
        (shape->type == GEO_POLYGON && !polygon_has(shape, point))) {
        return false;
    }
    *ret_distance = geo_distance(shape->centre, point);
    return shape->type != GEO_CIRCLE || *ret_distance <= shape->radius * shape->unit;
}

/* ---- Cells that cover a shape ---- */

static struct area polygon_bounds(const struct geo_shape *shape) {
    struct geo_point first = shape->vertices[0];
    struct area bounds = {first.longitude, first.longitude, first.latitude, first.latitude};
    for (uint32_t i = 1; i < shape->vertex_count; i++) {
        struct geo_point vertex = shape->vertices[i];
        bounds.longitude_min = fmin(bounds.longitude_min, vertex.longitude);
        bounds.longitude_max = fmax(bounds.longitude_max, vertex.longitude);
        bounds.latitude_min = fmin(bounds.latitude_min, vertex.latitude);
        bounds.latitude_max = fmax(bounds.latitude_max, vertex.latitude);
    }
    return bounds;
}

/* Degrees of longitude are most where the latitude is farthest from the equator. */
static struct area shape_bounds(const struct geo_shape *shape) {
    if (shape->type == GEO_POLYGON) {
        return polygon_bounds(shape);
    }
    bool circle = shape->type == GEO_CIRCLE;
    double height = shape->unit * (circle ? shape->radius : shape->height / 2);
    double width = shape->unit * (circle ? shape->radius : shape->width / 2);
    struct geo_point centre = shape->centre;
    double latitude = degrees(height / EARTH_RADIUS);
    double farthest = centre.latitude < 0 ? centre.latitude - latitude : centre.latitude + latitude;
    double longitude = degrees(width / EARTH_RADIUS / cos(radians(farthest)));
    return (struct area){
        .longitude_min = centre.longitude - longitude,
        .longitude_max = centre.longitude + longitude,
        .latitude_min = centre.latitude - latitude,
        .latitude_max = centre.latitude + latitude,
    };
}

/* The farthest that a point of it, or of the bounds of a polygon, is from its centre. */
static double shape_reach(const struct geo_shape *shape) {
    if (shape->type == GEO_CIRCLE) {
        return shape->radius * shape->unit;
    }
    if (shape->type == GEO_BOX) {
        double x = shape->width / 2, y = shape->height / 2;
        return sqrt(x * x + y * y) * shape->unit;
    }
    struct area bounds = polygon_bounds(shape);
    const double longitudes[] = {bounds.longitude_min, bounds.longitude_max};
    const double latitudes[] = {bounds.latitude_min, bounds.latitude_max};
    double reach = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct geo_point corner = {longitudes[i & 1], latitudes[i >> 1]};
        reach = fmax(reach, geo_distance(shape->centre, corner));
    }
    return reach;
}

/* So fine that nine cells cover what reaches so far from the middle one. */
static unsigned steps_for(double reach, double latitude) {
    if (reach == 0) {
        return GEO_STEPS;
    }
    int steps = 1;
    while (reach < MERCATOR_MAX) {
        reach *= 2;
        steps++;
    }
    steps -= 2;
    /* Cells are narrower towards the poles. */
    if (latitude > 66 || latitude < -66) {
        steps--;
        if (latitude > 80 || latitude < -80) {
            steps--;
        }
    }
    return (unsigned)(steps < 1 ? 1 : steps > GEO_STEPS ? GEO_STEPS : steps);
}

/* Adds to one of both numbers of a cell, round the map. A position at the very edge has the number
 * behind the last; only a step away from there leads back onto the map. */
static uint64_t moved(uint64_t bits, int by, unsigned steps) {
    uint32_t part = gather(bits) + (uint32_t)by;
    return spread(by != 0 ? part & ((UINT32_C(1) << steps) - 1) : part);
}

static struct cell neighbour(struct cell cell, int east, int north) {
    uint64_t latitude = moved(cell.bits, north, cell.steps);
    uint64_t longitude = moved(cell.bits >> 1, east, cell.steps);
    return (struct cell){latitude | longitude << 1, cell.steps};
}

/* In the order in which they are looked through: how far east and north. */
static const struct {
    int east, north;
} AROUND[GEO_RANGES_MAX] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                            {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};

/* Whether the cells around one end before the bounds do. */
static bool is_too_fine(struct cell cell, const struct area *bounds) {
    return cell_area(neighbour(cell, 0, 1)).latitude_max < bounds->latitude_max ||
           cell_area(neighbour(cell, 0, -1)).latitude_min > bounds->latitude_min ||
           cell_area(neighbour(cell, 1, 0)).longitude_max < bounds->longitude_max ||
           cell_area(neighbour(cell, -1, 0)).longitude_min > bounds->longitude_min;
}

static struct geo_range cell_range(struct cell cell) {
    unsigned shift = 2 * (GEO_STEPS - cell.steps);
    return (struct geo_range){(double)(cell.bits << shift), (double)((cell.bits + 1) << shift)};
}

unsigned geo_shape_ranges(const struct geo_shape *shape, struct geo_range ret[GEO_RANGES_MAX]) {
    /* That of a polygon may be beyond the edge of the map, where no cell is. */
    if (fabs(shape->centre.latitude) > GEO_LATITUDE_MAX) {
        ret[0] = (struct geo_range){0, (double)(UINT64_C(1) << 2 * GEO_STEPS)};
        return 1;
    }
    struct area bounds = shape_bounds(shape);
    unsigned steps = steps_for(shape_reach(shape), shape->centre.latitude);
    struct cell cell = cell_of(shape->centre, GEO_LATITUDE_MAX, steps);
    if (steps > 1 && is_too_fine(cell, &bounds)) {
        cell = cell_of(shape->centre, GEO_LATITUDE_MAX, steps - 1);
    }
    struct area area = cell_area(cell);
    struct cell last = {0};
    unsigned count = 0;
    for (unsigned i = 0; i < GEO_RANGES_MAX; i++) {
        int east = AROUND[i].east, north = AROUND[i].north;
        bool useless =
            cell.steps >= 2 && ((north < 0 && area.latitude_min < bounds.latitude_min) ||
                                (north > 0 && area.latitude_max > bounds.latitude_max) ||
                                (east < 0 && area.longitude_min < bounds.longitude_min) ||
                                (east > 0 && area.longitude_max > bounds.longitude_max));
        struct cell one = neighbour(cell, east, north);
        /* Of few cells on all the map some are the same. */
        if (useless || (i > 1 && last.steps > 0 && one.bits == last.bits)) {
            continue;
        }
        ret[count++] = cell_range(one);
        last = i > 0 ? one : last;
    }
    return count;
}
