/* SPDX-License-Identifier: BSD-3-Clause */
/* geohash: positions as numbers of 52 bits whose order keeps neighbours together, and the other way
 * round; distances on a sphere; which ranges of such numbers cover an area.
 *
 * A number is 26 bits of latitude and 26 of longitude, one of each in turn, so that its leading 2n
 * bits name a cell of 2^-n of the height and width of the map. Sorted sets have them as scores.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_SERVER_COMMANDS_GEO_GEOHASH_H
#define SHOAL_SERVER_COMMANDS_GEO_GEOHASH_H

#include <stdbool.h>
#include <stdint.h>

#define GEO_LONGITUDE_MAX 180.0
/* Where a square map of the world ends (EPSG:900913). */
#define GEO_LATITUDE_MAX 85.05112878
#define GEO_STEPS        26

struct geo_point {
    double longitude, latitude;
};

/* Of a position on the map. */
uint64_t geohash_encode(struct geo_point point);
/* The same on a map whose latitudes end at `latitude_max`. */
uint64_t geohash_encode_within(struct geo_point point, double latitude_max);
/* The middle of the cell that a score means, whatever it is. */
struct geo_point geohash_decode(double score);

/* Metres. */
double geo_distance(struct geo_point a, struct geo_point b);
double geo_latitude_distance(double a, double b);

/* ---- Areas ---- */

enum geo_shape_type { GEO_CIRCLE, GEO_BOX, GEO_POLYGON };

struct geo_shape {
    enum geo_shape_type type;
    struct geo_point centre;
    double unit;          /* metres that its measures are in */
    double radius;        /* GEO_CIRCLE */
    double width, height; /* GEO_BOX */
    const struct geo_point *vertices;
    uint32_t vertex_count; /* GEO_POLYGON */
};

/* The middle of a polygon's vertices, on the sphere. */
struct geo_point geo_polygon_centre(const struct geo_point *vertices, uint32_t count);
/* Whether a point lies in it, and how far from its centre, in metres. */
bool geo_shape_has(const struct geo_shape *shape, struct geo_point point, double *ret_distance);

/* Scores from min on, below max. */
struct geo_range {
    double min, max;
};
#define GEO_RANGES_MAX 9
/* The ranges that cover it, in the order in which they are to be looked through: its centre's cell,
 * then its neighbours. Returns how many. */
unsigned geo_shape_ranges(const struct geo_shape *shape, struct geo_range ret[GEO_RANGES_MAX]);

#endif
