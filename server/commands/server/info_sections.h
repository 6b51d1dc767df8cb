/* SPDX-License-Identifier: BSD-3-Clause */
/* info_sections: the text of each section of INFO.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_INFO_SECTIONS_H
#define SHOAL_SERVER_COMMANDS_SERVER_INFO_SECTIONS_H

#include "base/text.h"
#include "net/rt.h"
#include "server/worker/totals.h"

struct info {
    struct text text;
    struct worker *worker;
    const struct scatter_result *result; /* parts are struct totals_part */
    struct totals sum;
    struct rt_usage usage;
    const char *cluster; /* what the brain says (CLUSTER INFO), or NULL */
};

void info_server(struct info *info);
void info_tls(struct info *info);
void info_clients(struct info *info);
void info_memory(struct info *info);
void info_persistence(struct info *info);
void info_stats(struct info *info);
void info_replication(struct info *info);
void info_cpu(struct info *info);
void info_modules(struct info *info);
void info_commandstats(struct info *info);
void info_errorstats(struct info *info);
void info_latencystats(struct info *info);
void info_cluster(struct info *info);
void info_cluster_info(struct info *info);
void info_scripting_engines(struct info *info);
void info_keyspace(struct info *info);
void info_shards(struct info *info);
void info_debug(struct info *info);

#endif
