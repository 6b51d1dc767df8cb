/* SPDX-License-Identifier: BSD-3-Clause */
/* settings: what the thread of the cluster follows of the configuration, in a copy of its own.
 *
 * Thread: one at a time; made by one, handed to another.
 */
#ifndef SHOAL_SERVER_CLUSTER_SETTINGS_H
#define SHOAL_SERVER_CLUSTER_SETTINGS_H

#include "cluster/brain/brain.h"
#include "server/config/config.h"

struct cluster_settings {
    struct brain_settings brain; /* its texts are the copy's */
    bool save_must_succeed;
    struct config *config; /* the copy: also what log lines are written by */
};

struct cluster_settings *cluster_settings_new(const struct config *config);
void cluster_settings_free(struct cluster_settings *settings);
/* The port of the bus. */
uint16_t cluster_bus_port(const struct config *config);

#endif
