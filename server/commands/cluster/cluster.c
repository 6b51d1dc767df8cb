/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: what a connection says of how it wants to be served in a cluster; and CLUSTER HELP.
 */
#include "server/commands/cluster/cluster.h"

#include "proto/reply.h"
#include "server/call/help.h"
#include "server/client/client.h"
#include "server/txn/txn.h"

/* Of the next command: inside EXEC nothing comes of it, as all of that is judged at its begin. */
void command_asking(struct exec *x) {
    uint32_t done;
    if (cluster_map_or_error(x) == NULL) {
        return;
    }
    if (txn_exec_queue(x->client, &done) == NULL) {
        x->client->flags |= CLIENT_ASKING_NEXT;
    }
    reply_ok(x->reply);
}

/* Tools say READONLY before they look around, whether there is a cluster or not. */
void command_readonly(struct exec *x) {
    x->client->flags |= CLIENT_READONLY;
    reply_ok(x->reply);
}

void command_readwrite(struct exec *x) {
    x->client->flags &= ~(unsigned)CLIENT_READONLY;
    reply_ok(x->reply);
}

void command_cluster_help(struct exec *x) {
    static const char *const lines[] = {
        "ADDSLOTS <slot> [<slot> ...]",
        "    Give slots to this node.",
        "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    The same of ranges.",
        "BUMPEPOCH",
        "    Give this node a higher configuration epoch than all others.",
        "CANCELSLOTMIGRATIONS",
        "    End all migrations of slots from here.",
        "COUNT-FAILURE-REPORTS <node-id>",
        "    Count the nodes that say of this one that it has failed.",
        "COUNTKEYSINSLOT <slot>",
        "    Count the keys of a slot.",
        "DELSLOTS <slot> [<slot> ...]",
        "    Take slots away from who has them, as this node sees it.",
        "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    The same of ranges.",
        "FAILOVER [FORCE|TAKEOVER]",
        "    Make this replica take its primary's place.",
        "FLUSHSLOT <slot> [ASYNC|SYNC]",
        "    Delete every key of a slot.",
        "FLUSHSLOTS",
        "    Take all of its slots away from this node.",
        "FORGET <node-id>",
        "    Drop a node from the table.",
        "GETKEYSINSLOT <slot> <count>",
        "    Show names of keys of a slot.",
        "GETSLOTMIGRATIONS",
        "    Show migrations of slots: those that go on, and the last that are over.",
        "INFO",
        "    Show the state of the cluster.",
        "KEYSLOT <key>",
        "    Show the slot of a key.",
        "LINKS",
        "    Show the connections to and from other nodes.",
        "MEET <ip> <port> [<bus-port>]",
        "    Get to know another node.",
        "MYID",
        "    Show the id of this node.",
        "MYSHARDID",
        "    Show the id of this node's shard.",
        "NODES",
        "    Show the nodes, one in a line:",
        "    <id> <ip:port@bus-port[,hostname]> <flags> <primary> <pings> <pongs> <epoch> <link> "
        "<slot> ...",
        "REPLICAS <node-id>",
        "    Show the replicas of a primary.",
        "REPLICATE <node-id>|NO ONE",
        "    Be a replica of that primary, or of nobody.",
        "RESET [HARD|SOFT]",
        "    Forget the cluster.",
        "SAVECONFIG",
        "    Write the cluster's file.",
        "SET-CONFIG-EPOCH <epoch>",
        "    Give a new node its configuration epoch.",
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        "    Say who has a slot, or where it is on its way.",
        "SHARDS",
        "    Show the shards with their slots and nodes.",
        "SLOT-STATS (SLOTSRANGE <start slot> <end slot>|ORDERBY <metric> [LIMIT <n>] [ASC|DESC])",
        "    Show how much slots of this node are used.",
        "SLOTS",
        "    Show which nodes have which slots.",
        NULL,
    };
    if (cluster_map_or_error(x) != NULL) {
        reply_help(x, lines);
    }
}
