/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_shown: what others see of the stream's home: INFO and ROLE, and who is to hand over.
 */
#include "server/replication/primary_private.h"

#include "base/num.h"
#include "server/observe/log.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const stands_names[] = {
    [STANDS_ASKED] = "wait_bgsave", [STANDS_CUT] = "wait_bgsave",  [STANDS_READS] = "send_bulk",
    [STANDS_STREAM] = "online",     [STANDS_ENDS] = "wait_bgsave",
};

uint64_t primary_offset(const struct primary *primary) {
    bool others = primary->following && !primary->ending;
    return others ? primary->applied : primary->backlog.next - 1;
}

/* ---- To hand over ---- */

void primary_set_failover(struct primary *primary, enum primary_failover state) {
    primary->failover = state;
}

enum primary_failover primary_get_failover(const struct primary *primary) {
    return primary->failover;
}

bool primary_is_alone(const struct primary *primary) {
    return list_empty(&primary->replicas);
}

bool primary_all_read(const struct primary *primary, unsigned rdb_version) {
    LIST_EACH(&primary->replicas, node) {
        if (LIST_ENTRY(node, struct listed, node)->name.rdb_version < rdb_version) {
            return false;
        }
    }
    return true;
}

enum primary_found primary_find(const struct primary *primary, const char *host, int port,
                                uint64_t *ret_offset) {
    enum primary_found found = PRIMARY_NO_REPLICA;
    *ret_offset = 0;
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->name.port != port || strcasecmp(listed->name.ip, host) != 0) {
            continue;
        }
        if (listed->stands == STANDS_STREAM) {
            *ret_offset = listed->acknowledged;
            return PRIMARY_REPLICA_STREAMS;
        }
        found = PRIMARY_REPLICA_WAITS;
    }
    return found;
}

bool primary_find_at(const struct primary *primary, uint64_t offset,
                     char ret_host[RT_HOST_NAME_MAX + 1], int *ret_port) {
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_STREAM && listed->acknowledged == offset) {
            snprintf(ret_host, RT_HOST_NAME_MAX + 1, "%s", listed->name.ip);
            *ret_port = listed->name.port;
            return true;
        }
    }
    return false;
}

static bool has_all(const struct primary *primary, const struct listed *listed) {
    return listed->stands == STANDS_STREAM && listed->acknowledged == primary_offset(primary);
}

bool primary_find_node(const struct primary *primary, char ret_id[MAP_ID_BYTES + 1]) {
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->name.node_id[0] != '\0' && has_all(primary, listed)) {
            memcpy(ret_id, listed->name.node_id, MAP_ID_BYTES + 1);
            return true;
        }
    }
    return false;
}

bool primary_all_have(const struct primary *primary) {
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (!has_all(primary, listed)) {
            return false;
        }
    }
    return true;
}

void primary_log_laggards(const struct primary *primary) {
    unsigned count = 0, good = 0;
    int64_t now_ms = rt_wall_ms(primary->home->rt);
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        count++;
        if (has_all(primary, listed)) {
            good++;
            continue;
        }
        log_worker(primary->home, LOG_NOTICE,
                   "Lagging replica %s:%d reported offset %llu behind master, lag=%lld, state=%s.",
                   listed->name.ip, listed->name.port,
                   (unsigned long long)(primary_offset(primary) - listed->acknowledged),
                   (long long)((now_ms - listed->acknowledged_ms) / 1000),
                   stands_names[listed->stands]);
    }
    log_worker(primary->home, LOG_NOTICE, "%u of %u replicas are in sync when shutting down.", good,
               count);
}

/* ---- INFO and ROLE ---- */

void primary_state(const struct primary *primary, struct primary_state *ret) {
    const struct config *config = primary->home->config;
    int64_t now_ms = rt_wall_ms(primary->home->rt);
    *ret = (struct primary_state){
        .active = primary->active || primary_passes_on(primary),
        .offset = primary_offset(primary),
        .backlog_size = (uint64_t)primary->home->config->repl_backlog_size,
        .backlog_bytes = primary->backlog.ready - primary->backlog.first,
        .full_syncs = primary->full_syncs,
        .partial_syncs = primary->partial_syncs,
        .refused_partial_syncs = primary->refused,
        .good = primary->good,
        .failover = primary->failover,
        .merge_runs = primary->active ? primary->merge.runs_waiting : 0,
        .shows_acks = config->replicas_ack > 0 && !primary->following,
        .acking = primary->acking,
        .shows_good = config->min_replicas_to_write > 0 && config->min_replicas_max_lag > 0,
    };
    const struct shared_counters *shared = primary->home->server->shared;
    uint64_t acked = shared_acked(shared), drawn = shared_wal_count(shared);
    ret->unacked = drawn > acked ? drawn - acked : 0;
    const struct role *role = &primary->home->server->role;
    ret->backlog_first = ret->active ? primary->backlog.first : 0;
    memcpy(ret->id, primary->id, sizeof primary->id);
    memcpy(ret->id2, primary->id2, sizeof primary->id2);
    ret->second_offset = primary->second_offset > 0 ? (int64_t)primary->second_offset : -1;
    ret->replica = role->replica;
    memcpy(ret->host, role->host, sizeof role->host);
    ret->port = role->port;
    text_init(&ret->lines);
    text_init(&ret->roles);
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        const struct replica_name *name = &listed->name;
        int64_t lag = (now_ms - listed->acknowledged_ms) / 1000;
        bool streams = listed->stands == STANDS_STREAM;
        ret->waiting += listed->stands == STANDS_ASKED || listed->stands == STANDS_CUT;
        text_appendf(&ret->lines,
                     "slave%u:ip=%s,port=%d,state=%s,offset=%llu,lag=%lld,type=replica\r\n",
                     ret->replicas_count++, name->ip, name->port, stands_names[listed->stands],
                     (unsigned long long)listed->acknowledged, streams ? (long long)lag : 0);
        if (streams) {
            char port[NUM_I64_BYTES], offset[NUM_I64_BYTES];
            size_t port_bytes = num_format_u64(port, (uint64_t)name->port);
            size_t offset_bytes = num_format_u64(offset, listed->acknowledged);
            text_appendf(&ret->roles, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%.*s\r\n$%zu\r\n%.*s\r\n",
                         strlen(name->ip), name->ip, port_bytes, (int)port_bytes, port,
                         offset_bytes, (int)offset_bytes, offset);
            ret->streaming++;
        }
    }
}

void primary_state_fini(struct primary_state *state) {
    text_fini(&state->lines);
    text_fini(&state->roles);
}
