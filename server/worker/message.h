/* SPDX-License-Identifier: BSD-3-Clause */
/* message: what kinds of messages travel between workers (shard/mailbox.h).
 *
 * Thread: constants. A message goes out as one kind and comes home as another.
 */
#ifndef SHOAL_SERVER_WORKER_MESSAGE_H
#define SHOAL_SERVER_WORKER_MESSAGE_H

enum message_kind {
    MESSAGE_BATCH,       /* struct batch: run it */
    MESSAGE_BATCH_NEWS,  /* struct batch_news: replies of a batch that goes on; home frees it */
    MESSAGE_BATCH_HEARD, /* struct batch_news: home has taken them; the owner frees it */
    MESSAGE_BATCH_DONE,  /* struct batch: back home */
    MESSAGE_BATCH_LENT,  /* struct batch: its next op is of a slot that has gone to the receiver */
    MESSAGE_BATCH_BACK,  /* struct batch: that op has run; back at the shard it was sent to */
    MESSAGE_BATON,       /* struct batch's: its ordered ops may run (order.h) */
    MESSAGE_PART,        /* struct scatter_part: run it */
    MESSAGE_PART_DONE,   /* struct scatter_part: back home */
    MESSAGE_CONNECTION,  /* struct connection_message: from worker 0, an accepted socket; the
                            receiver frees it */
    MESSAGE_TXN,         /* struct txn_part: do what it asks */
    MESSAGE_TXN_DONE,    /* struct txn_part: back home */
    MESSAGE_WAITER_SERVED,  /* struct waiter_part: its client was served (txn/blocked.h) */
    MESSAGE_WAITER_HOME,    /* struct waiter_part: called back, at home again */
    MESSAGE_WAITER_TRIES,   /* blocked.c's: what a client waits for is there, home is to fetch it */
    MESSAGE_WAITER_PUT_OFF, /* the same, back: not yet */
    MESSAGE_WAITER_CALLED,  /* waiter_part's `call`: it is to go home */
    MESSAGE_PUBLICATION,    /* pubsub.c's: to who listens there; the receiver frees it */
    MESSAGE_SUBSCRIBERS,    /* pubsub.c's: some have gone elsewhere; the receiver frees it */
    MESSAGE_TRACKING,       /* news.c's: what is to be told to clients that track; the same */
    MESSAGE_MONITOR_LINES,  /* monitor.c's, to worker 0: commands that ran; the receiver frees it */
    MESSAGE_MONITOR_ORDER,  /* monitor.c's, from worker 0: the same in order; freed as well */
    MESSAGE_MONITORS,       /* monitor.c's: one more or less elsewhere; the receiver frees it */
    MESSAGE_COMMANDLOG,     /* commandlog.c's, to the client's home, which keeps it */
    MESSAGE_UNWATCH,       /* multi.c's: a client watches nothing any more; the receiver frees it */
    MESSAGE_DENIED,        /* rights.c's: a script was denied something; the receiver frees it */
    MESSAGE_PARK_OVER,     /* park.c's: the worker is parked no more; the receiver frees it */
    MESSAGE_LOAD_NEWS,     /* load.c's, to worker 0: a worker has loaded its share, or failed */
    MESSAGE_ALONE,         /* alone.c's, from worker 0: be parked */
    MESSAGE_ALONE_GRANTED, /* the same, back home: it is */
    MESSAGE_REDO,          /* struct redo_share, from worker 0: do it (persistence/redo.h) */
    MESSAGE_REDO_DONE,     /* the same, back home */
    MESSAGE_LOAD_OVER,     /* load.c's, from worker 0: nothing is loaded any more */
    MESSAGE_LOAD_LEFT,     /* its answer */
    MESSAGE_ASIDE,         /* aside.c's, from worker 0: read a file, or no more of it */
    MESSAGE_ASIDE_BACK,    /* the same, home again */
    MESSAGE_SAVE,          /* struct save_task: from worker 0 */
    MESSAGE_SAVE_BACK,     /* struct save_task: home again */
    MESSAGE_STOP,          /* struct message: the worker ends */
    MESSAGE_ROTATE,        /* struct rotate_task: do what it asks (persistence/rotate.h) */
    MESSAGE_ROTATE_DONE,   /* the same, back home */
    MESSAGE_FEED,          /* feed.c's, to worker 0: what a turn has done; the receiver frees it */
    MESSAGE_STREAM, /* struct stream_mail, from worker 0, to replicas (replication/replica.h) */
    MESSAGE_ACKNOWLEDGED,      /* struct acknowledged_mail, from worker 0: WAIT
                                  (replication/wait_replicas.h) */
    MESSAGE_REPLICA,           /* struct replica_news, to worker 0 */
    MESSAGE_CLUSTER_MAP,       /* cluster_map.c's, from the cluster's thread: the map from now on */
    MESSAGE_CLUSTER_MAP_TAKEN, /* the same, back home */
    MESSAGE_CLUSTER,           /* cluster/letters.h's, to the thread of the cluster */
    MESSAGE_CLUSTER_ANSWER,    /* struct ask_letter, back home */
    MESSAGE_CLUSTER_ERRAND,    /* struct errand, to worker 0, which frees it */
    MESSAGE_CLUSTER_HEARD,     /* struct publish_letter, to worker 0, which frees it */
    MESSAGE_CLUSTER_IMPORT,    /* struct import_letter, from the cluster's thread; freed there */
    MESSAGE_CLUSTER_EXPORT,    /* struct export_letter, to worker 0, which frees it */
    MESSAGE_EXPORT_ORDER,      /* struct export_order, from worker 0; freed there */
    MESSAGE_EXPORT_BLOCK,      /* struct export_block, to worker 0, which frees it */
    MESSAGE_KINDS,
};

#endif
