/* SPDX-License-Identifier: BSD-3-Clause */
/* letters: what travels between the thread of the cluster and the workers, but for the map.
 *
 * Thread: constants. Who is said to free a letter does; MESSAGE_CLUSTER is its kind on the way to
 * the thread, whose sender is a worker.
 */
#ifndef SHOAL_SERVER_CLUSTER_LETTERS_H
#define SHOAL_SERVER_CLUSTER_LETTERS_H

#include "base/list.h"
#include "base/text.h"
#include "cluster/brain/brain.h"
#include "cluster/brain/map.h"
#include "server/cluster/cluster.h"
#include "server/cluster/settings.h"
#include "server/replication/role.h"

/* ---- To the thread: MESSAGE_CLUSTER ---- */

enum cluster_letter_kind {
    LETTER_ASK,      /* struct ask_letter; goes home as MESSAGE_CLUSTER_ANSWER */
    LETTER_SETTINGS, /* struct settings_letter; freed there, as are those that follow */
    LETTER_PAUSED,   /* struct paused_letter */
    LETTER_FOLLOWED, /* a word: one more replica reads the stream */
    LETTER_TOLD,     /* struct told_letter */
    LETTER_PUBLISH,  /* struct publish_letter */
    LETTER_GONE,     /* struct gone_letter */
    LETTER_HELD,     /* struct held_letter */
    LETTER_DROPPED,  /* struct dropped_letter */
    LETTER_EXPORT,   /* struct export_told_letter */
    LETTER_SYNCED,   /* struct synced_letter */
    LETTER_RESET,    /* struct cluster_letter: CONFIG RESETSTAT */
    LETTER_STOP,     /* the same */
};

struct cluster_letter {
    struct message message;
    enum cluster_letter_kind kind;
};

struct ask_letter {
    struct cluster_letter letter;
    struct list_node node; /* of those that wait for the disk or the map */
    struct cluster_asked *asked;
    struct text reply;
    uint64_t telling;    /* replicas are told of it first, by this number */
    int64_t until_ms;    /* and waited for, mono */
    bool changes;        /* it was a change */
    uint64_t version;    /* that must be on the disk, */
    uint64_t map_number; /* and that every worker must have */
    unsigned count;
    struct bytes words[]; /* and what they name */
};

struct settings_letter {
    struct cluster_letter letter;
    struct cluster_settings *settings;
};

/* All writes stand still, at this offset of the stream. */
struct paused_letter {
    struct cluster_letter letter;
    uint64_t offset;
};

/* What has become of a SETSLOT that replicas are to know first (struct import_letter). */
enum telling { TELLING_NOBODY, TELLING_SENT, TELLING_KNOWN };
struct told_letter {
    struct cluster_letter letter;
    uint64_t telling;
    enum telling what;
};

/* Nothing of this connection, by which slots came, is on its way any more. */
struct gone_letter {
    struct cluster_letter letter;
    uint64_t client;
    bool silent;
};

/* All keys are another primary's now. */
struct synced_letter {
    struct cluster_letter letter;
    struct bytes opens; /* behind it: what the copy says of slots on their way */
};

/* Replicas have what came by this connection. */
struct held_letter {
    struct cluster_letter letter;
    uint64_t client;
};

/* ERRAND_DROP_IMPORT is done. */
struct dropped_letter {
    struct cluster_letter letter;
    char name[41];
};

/* From the thread to a worker: MESSAGE_CLUSTER_IMPORT, freed there (imports.h). */
struct import_letter {
    struct message message;
    uint64_t client;      /* to whom; 0: to replicas of this node; */
    uint64_t telling;     /* of which it is wanted to know who has it, when the words were sent:
                             by another letter, without any */
    bool forgets;         /* the same: or no longer */
    bool holds;           /* nothing is said: replicas shall have what came by it */
    unsigned count;       /* 0: the connection shall end */
    struct bytes words[]; /* and what they name */
};

/* What has become of slots on their way from here: brain_export_tell, or (`measures`)
 * brain_export_left. */
struct export_told_letter {
    struct cluster_letter letter;
    char name[41];
    bool measures;
    uint64_t left;
    enum brain_export_news news;
    struct bytes text; /* behind it */
};

/* From the thread to worker 0: MESSAGE_CLUSTER_EXPORT, freed there (exports.h). */
enum export_wish { EXPORT_OPEN, EXPORT_SAY, EXPORT_WALK, EXPORT_WAIT, EXPORT_CLOSE };
struct export_letter {
    struct message message;
    enum export_wish wish;
    char name[41];
    int64_t bytes; /* WAIT */
    char ip[48];   /* OPEN, and what follows */
    uint16_t port;
    uint8_t slots[MAP_SLOTS / 8];
    unsigned count;       /* of SAY: 1 */
    struct bytes words[]; /* and what they name */
};

/* From the thread to worker 0 it is MESSAGE_CLUSTER_HEARD, and freed there. */
struct publish_letter {
    struct cluster_letter letter;
    bool sharded;
    struct bytes channel, message; /* behind it */
};

/* ---- To worker 0: MESSAGE_CLUSTER_ERRAND, freed there (errands.h) ---- */

enum errand_kind {
    ERRAND_FOLLOW,
    ERRAND_FLUSH,
    ERRAND_DROP,
    ERRAND_DROP_IMPORT,
    ERRAND_PAUSE,
    ERRAND_DRAIN_EXPORT,
};

struct errand {
    struct message message;
    struct list_node node;
    enum errand_kind kind;
    bool begun, stands_still;
    struct role role;             /* FOLLOW */
    uint16_t tls_port;            /* the same: if it is to be followed by TLS; 0: it has none */
    int64_t until_mono_ms;        /* PAUSE; 0: it ends */
    uint8_t slots[MAP_SLOTS / 8]; /* DROP, DROP_IMPORT, DRAIN_EXPORT */
    uint64_t map_version;         /* DROP: of the last map that was published before */
    char job[41];                 /* DROP_IMPORT, DRAIN_EXPORT: its name */
};

#endif
