/* SPDX-License-Identifier: BSD-3-Clause */
/* geo: the functions that geo_rows.c names, and what the family shares. Positions are scores of
 * sorted sets (geohash.h).
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_GEO_GEO_H
#define SHOAL_SERVER_COMMANDS_GEO_GEO_H

#include "server/call/command.h"
#include "server/commands/geo/geohash.h"

command_fn command_geoadd;
command_fn command_geodist;
command_fn command_geohash;
command_fn command_geopos;
command_fn command_georadius;
command_fn command_georadius_ro;
command_fn command_georadiusbymember;
command_fn command_georadiusbymember_ro;
command_fn command_geosearch;
command_fn command_geosearchstore;

/* The source, and what STORE or STOREDIST names last. */
command_keys_fn georadius_find_keys;

/* These read arguments from a position on, and answer with the error themselves. */
bool geo_arg_point(const struct exec *x, uint32_t argv_index, struct geo_point *ret);
bool geo_arg_unit(const struct exec *x, uint32_t argv_index, double *ret_metres);

void geo_reply_point(struct reply *r, struct geo_point point);
void geo_reply_distance(struct reply *r, double distance);

#endif
