/* SPDX-License-Identifier: BSD-3-Clause */
/* server: the composition: what all worker threads of one process share.
 *
 * Thread: everything here is written before the workers start and read-only while they run, but for
 * the fields under "shared counters" (atomics, shared.h) and what is said to belong to worker 0.
 * Changes reach workers as messages (scatter.h).
 */
#ifndef SHOAL_SERVER_SERVER_H
#define SHOAL_SERVER_SERVER_H

#include "net/file.h"
#include "net/process.h"
#include "net/rt.h"
#include "server/call/command.h"
#include "server/config/config.h"
#include "server/node.h"
#include "server/oom_score.h"
#include "server/replication/role.h"
#include "shard/keys/keyspace.h"
#include "shard/mailbox.h"

struct acl_file;
struct config_rewriting;
struct acl_log;
struct acl_users;
struct worker;
struct command_table;
struct handlers;
struct load;
struct shared_counters;
struct saver;
struct scripts;
struct failover;
struct farewell;
struct primary;
struct wals;
struct kill_points;
struct tls;

/* What the program was made of. */
struct build {
    char commit[41]; /* hexadecimal, eight digits or a few more; zeros without a repository */
    bool modified;   /* and of changes that are not committed */
    char id[17];
    char begins[96]; /* what the last line in the log begins with */
};

/* `described` is "1234abcd" or "1234abcd-dirty"; NULL is no repository. */
struct build build_of(const char *described);

struct server {
    struct worker **workers;
    unsigned workers_count;
    struct node *nodes; /* whose workers they are */
    unsigned nodes_count;
    /* Threads with a box in the post office: the workers first, by their numbers. */
    struct rt **threads;
    unsigned threads_count;
    struct post_office *office;
    struct hash_secret secret;
    const struct command_table *commands;
    const struct fs *fs;
    const struct handlers *handlers;
    struct shared_counters *shared;
    struct scripts *scripts;     /* server/script/scripts.h: with its own lock */
    struct libraries *libraries; /* server/script/libraries.h: the same */
    int64_t start_wall_ms;
    struct build build;
    struct role role;              /* any worker's, changed in a view of all shards */
    const struct config *at_start; /* a copy: for threads that have no view of their own */
    char executable[1024];
    int process_id;
    int64_t
        string_bytes_max; /* half of the machine's memory: no command may ask for more at once */
    int (*rt_make)(void *world, const struct rt_options *options, struct rt **ret_rt); /* or NULL */
    void *world;                       /* of rt_make */
    enum config_supervised supervised; /* by whom indeed: never "auto" */
    /* Worker 0 calls them: when what was to be loaded at the start is; when the end begins. Or
     * NULL.
     */
    void (*ready)(struct server *server);
    void (*ending)(void);
    void (*stays)(void);                  /* server_stays */
    void (*leave)(struct server *server); /* server_leave; or NULL */
    struct load *load;                    /* persistence/load.h; NULL: there was nothing to load */

    /* Worker 0 only: the newest configuration; others hold a reference to theirs. */
    struct config *config;
    struct acl_users *users;   /* the newest table of users (acl/acl.h); the same */
    struct acl_file *acl_file; /* the aclfile is being read or written (commands/acl); or NULL */
    struct config_rewriting *config_rewriting; /* the same of the configuration file */
    struct oom_score oom_score;
    struct saver *saver;             /* server/persistence/save.h */
    struct wals *wals;               /* server/persistence/wals.h */
    struct primary *primary;         /* server/replication/primary.h */
    struct upstream *upstream;       /* server/replication/upstream.h */
    struct failover *failover;       /* server/replication/failover.h */
    struct farewell *farewell;       /* server/replication/farewell.h */
    const struct role *follow_asked; /* server/replication/follow.c: is being changed to; or NULL */
    struct exports *exports;         /* server/cluster/exports.h; the same */
    struct errands *errands;         /* server/cluster/errands.h; NULL: not in a cluster */
    bool data_locked;                /* server/persistence/data_lock.h */
    int data_lock;                   /* the file, then */

    struct acl_log *acl_log; /* acl/acl_log.h: any thread */
    struct tls *tls;         /* net/tls.h: any thread */
    int64_t tls_watched_ms;  /* worker 0 only: when its files were looked at last; 0: never */

    struct process_title title; /* worker 0 only */

    struct kill_points *kill_points; /* server/persistence/kill_points.h: any thread */
};

/* What a server is made of besides its configuration: the outside world gives it, or a simulation.
 */
#define SERVER_RUN_ID_BYTES 20
struct server_options {
    struct config *config; /* taken over */
    unsigned workers;
    const struct fs *fs;
    const struct handlers *handlers;
    const struct command *const *families; /* of command_table_new */
    int (*rt_make)(void *world, const struct rt_options *options, struct rt **ret_rt); /* or NULL */
    void *world;
    enum config_supervised supervised;
    void (*ready)(struct server *server); /* or NULL */
    void (*ending)(void);                 /* the same */
    void (*stays)(void);                  /* the same */
    void (*leave)(struct server *server); /* the same */
    int process_id;
    int64_t start_wall_ms;
    int64_t string_bytes_max;
    const char *executable; /* copied */
    const char *commit;     /* for build_of */
    const char *kill_point; /* armed from the start on: "NAME" or "NAME COUNT"; or NULL */
    unsigned char random[sizeof(struct hash_secret) + SERVER_RUN_ID_BYTES];
};

/* A server without workers: worker_new makes each and puts it into `workers`. NULL with the reason,
 * and the configuration is freed, when a setting cannot be followed. */
struct server *server_new(const struct server_options *options, struct text *err);
void server_free(struct server *server); /* after its workers */

/* Files that the server opens besides its clients' sockets, as far as maxclients must leave room.
 */
#define SERVER_FILES_RESERVED(workers) (32 + 4 * (int64_t)(workers))
/* With those of maxclients. */
static inline int64_t server_files_wanted(const struct server *server,
                                          const struct config *config) {
    return config->maxclients + SERVER_FILES_RESERVED(server->workers_count);
}

#define SHOAL_REDIS_VERSION  "7.2.4"
#define SHOAL_VALKEY_VERSION "9.1.2"
#ifndef SHOAL_VERSION
#define SHOAL_VERSION "0.1.0"
#endif

#ifdef SHOAL_NO_MIMALLOC
#define SHOAL_ALLOCATOR "libc"
#else
#define SHOAL_ALLOCATOR "mimalloc"
#endif

/* Any worker's thread (its runtime is `from`): the process ends in good order; worker 0 tells the
 * others. */
void server_shutdown(struct server *server, struct rt *from);
/* Any thread: the process ends now, whatever its threads do. Comes back only in the simulator. */
/* It was asked to end and does not; it may be asked again. Worker 0. */
void server_stays(struct server *server);
void server_leave(struct server *server);
/* Worker 0, or before there is one: ps shows what the newest configuration says. */
void server_show_title(const struct server *server);
/* Any thread: what one says whose script runs for long (shared_script); 0: none does. */
unsigned server_busy_script(const struct server *server);

#endif
