/* SPDX-License-Identifier: BSD-3-Clause */
/* redirect: whether a node of a cluster serves a command on the keys of one slot, and what it
 * answers if not.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_SERVER_CLUSTER_REDIRECT_H
#define SHOAL_SERVER_CLUSTER_REDIRECT_H

#include "cluster/brain/map.h"

#include <stddef.h>

struct config;

enum redirect_verdict {
    REDIRECT_NOT,
    REDIRECT_CROSSES,   /* keys of several slots */
    REDIRECT_UNOWNED,   /* nobody has the slot */
    REDIRECT_DOWN,      /* the cluster is */
    REDIRECT_READS,     /* it is, and serves what only reads */
    REDIRECT_TRY_AGAIN, /* the slot is on its way, and only some of the keys are here */
    REDIRECT_MOVED,     /* another node has it, */
    REDIRECT_ASK,       /* or will have it, and has these keys already */
};

/* How the client speaks to this node: what other nodes are called by depends on it. */
enum redirect_via {
    REDIRECT_VIA_TLS = 1 << 0,
    REDIRECT_VIA_IPV6 = 1 << 1,
};

/* What is to run: a command, or an EXEC with all that is queued. */
struct redirect_question {
    uint16_t slot;
    bool writes;
    bool shard_channels; /* sharded publish and subscribe */
    bool changes;        /* it writes, or may: a script */
    bool waits;          /* who asks is held before it is (map_holds) */
    bool imports;        /* it is of who sends slots that are hidden here */
    bool asking;         /* after ASKING, or a command that needs none (RESTORE-ASKING) */
    bool readonly;       /* the client said READONLY */
    bool migrates;       /* it is MIGRATE */
    bool other_db;       /* MOVE, or COPY to another database */
    bool many;           /* it names more than one key */
    /* Of its keys, in an open slot; both 0: nobody has looked, as when it is queued. */
    uint32_t here, missing;
};

/* *ret_node: who has it, of REDIRECT_MOVED and REDIRECT_ASK. */
enum redirect_verdict redirect_judge(const struct map *map, const struct config *config,
                                     const struct redirect_question *question, uint16_t *ret_node);
/* Whether the answer needs a look at the keys: the slot is on its way, from here or to here. */
bool redirect_is_open(const struct map *map, uint16_t slot);

/* The error, as reply_error wants it. `via`: enum redirect_via. */
#define REDIRECT_BYTES 320 /* a hostname has 255 at most */
void redirect_tell(char ret[REDIRECT_BYTES], const struct map *map, const struct config *config,
                   enum redirect_verdict verdict, uint16_t slot, uint16_t node, unsigned via);
/* Whether an error is one of those: EXEC gives them as they are. */
bool redirect_is_told(const char *error);

/* ---- What a node is called by ---- */

/* Its address, as a client of this kind reaches it; "": not known. */
const char *redirect_ip(const struct map_node *node, unsigned via);
/* As cluster-preferred-endpoint-type says; NULL: the client shall use the address that it used for
 * this node. */
const char *redirect_endpoint(const struct map_node *node, const struct config *config,
                              unsigned via);
uint16_t redirect_port(const struct map_node *node, unsigned via);

#endif
