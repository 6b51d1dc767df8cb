/* SPDX-License-Identifier: BSD-3-Clause */
/* rt_file: files through the runtime: asked for like a send, told in a turn like its end.
 *
 * An operation is a struct that its owner embeds. Each function below fills one and asks for it;
 * the next rt_turn submits it, and a later one calls `done`, never the call that asks. A thread is
 * not held up by a disk: where the kernel cannot do a thing beside us, another thread does.
 *
 * Operations that are under way together may run in any order and side by side. Who needs an order
 * asks for the second when the first is done; rt_file_write_sync is the one pair that is made for.
 *
 * Thread: the runtime's own, or who takes its place (rt_on_sleep).
 * Ownership: the operation, and paths, vectors and memory it names, must stay until `done`; from
 * then on they are the caller's again, also inside it. rt_free waits for what is under way and
 * calls nothing: a file that an open would have brought is closed. Errors: the result is >= 0 or
 * -errno. After a sync that failed nobody knows what is on the disk of what was written since the
 * last that did not, and the next may say yes without having written it: such a file is given up,
 * never synced again.
 */
#ifndef SHOAL_NET_RT_FILE_H
#define SHOAL_NET_RT_FILE_H

#include "base/list.h"
#include "net/rt.h"

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* An open file: what rt_file_open results in. A number, as rt_socket is. */
typedef int rt_file;

enum rt_file_kind {
    RT_FILE_OPEN,
    RT_FILE_WRITE,
    RT_FILE_WRITE_SYNC,
    RT_FILE_READ,
    RT_FILE_SYNC,
    RT_FILE_TRUNCATE,
    RT_FILE_SIZE,
    RT_FILE_ALLOCATE,
    RT_FILE_CLOSE,
    RT_FILE_RENAME,
    RT_FILE_REMOVE,
    RT_DIR_MAKE,
    RT_DIR_SYNC,
    RT_FILE_BESIDE,
};

struct rt_file_op {
    /* To be set before it is asked for. */
    _Alignas(16) void (*done)(struct rt_file_op *op, int64_t result);
    /* Private. */
    struct list_node link;
    enum rt_file_kind kind;
    unsigned step;  /* of an operation of several calls */
    unsigned flags; /* of open; of a sync: RT_SYNC_ */
    mode_t mode;
    rt_file file;
    int count;
    struct iovec *vectors; /* what is left */
    struct iovec one;
    uint64_t offset; /* of what is left; of truncate the size */
    uint64_t left;   /* bytes */
    uint64_t moved;  /* and those that are done */
    const char *path, *target;
    int64_t (*work)(void *arg); /* of rt_file_beside */
    void *work_arg;
    void *memory; /* the backend's */
    int64_t result, sync_result;
    unsigned parts; /* that are still to come */
    /* What rt_inject wants of it: 0: nothing. */
    int write_fault; /* -errno, or the bytes that the first write takes */
    int sync_fault;  /* -errno */
    /* Of one that the watch wants to see the end of (rt_file_watch). */
    struct rt *watched;
    void (*watched_done)(struct rt_file_op *op, int64_t result);
    unsigned noted;
};

/* One operation moves no more: the kernel would cut it off without a word. */
#define RT_FILE_BYTES_MAX   ((uint64_t)1 << 30)
#define RT_FILE_VECTORS_MAX 1024

/* Flags of opening. Files are never inherited by a child, and a symbolic link is not followed. */
enum {
    RT_OPEN_READ = 1u << 0,
    RT_OPEN_WRITE = 1u << 1,
    RT_OPEN_CREATE = 1u << 2,
    RT_OPEN_EXCLUSIVE = 1u << 3, /* with CREATE: -EEXIST if it is there */
    RT_OPEN_TRUNCATE = 1u << 4,
};

/* `mode`: permissions of a new file, 0 for those of data: its owner alone. Results in an rt_file.
 */
void rt_file_open(struct rt *rt, struct rt_file_op *op, const char *path, unsigned flags,
                  mode_t mode);

/* Writes all of the vectors at `offset`, or fails: then some of it may be there. What a call of the
 * system left over is written by another. The array is used up: its entries change. Results in the
 * number of bytes. */
void rt_file_write(struct rt *rt, struct rt_file_op *op, rt_file file, struct iovec *vectors,
                   int count, uint64_t offset);
/* And makes it durable, with the size of the file: done when both are. */
void rt_file_write_sync(struct rt *rt, struct rt_file_op *op, rt_file file, struct iovec *vectors,
                        int count, uint64_t offset);
/* Reads n bytes at `offset`. Results in how many; fewer only where the file ends. */
void rt_file_read(struct rt *rt, struct rt_file_op *op, rt_file file, void *ret, size_t n,
                  uint64_t offset);

/* What was written before is on the disk. RT_SYNC_DATA leaves out what reading it does not need
 * (times). The name of a new file is its directory's (rt_dir_sync). */
enum rt_sync { RT_SYNC_DATA, RT_SYNC_ALL };
void rt_file_sync(struct rt *rt, struct rt_file_op *op, rt_file file, enum rt_sync what);
void rt_file_truncate(struct rt *rt, struct rt_file_op *op, rt_file file, uint64_t bytes);
void rt_file_size(struct rt *rt, struct rt_file_op *op, rt_file file); /* results in it */
/* Room on the disk for so many bytes; the size stays. A file system that cannot: -EOPNOTSUPP. */
void rt_file_allocate(struct rt *rt, struct rt_file_op *op, rt_file file, uint64_t offset,
                      uint64_t bytes);
void rt_file_close(struct rt *rt, struct rt_file_op *op, rt_file file);

/* ---- Names: durable once the directory was synced ---- */

void rt_file_rename(struct rt *rt, struct rt_file_op *op, const char *path, const char *target);
void rt_file_remove(struct rt *rt, struct rt_file_op *op, const char *path);
void rt_dir_make(struct rt *rt, struct rt_file_op *op, const char *path, mode_t mode); /* 0: 0700 */
void rt_dir_sync(struct rt *rt, struct rt_file_op *op, const char *path);

/* Calls a function on a thread beside this one, and results in what it returns: for what takes
 * several calls that block (net/file.h), on small files, now and then. Another such call waits
 * behind it, all else does not. */
void rt_file_beside(struct rt *rt, struct rt_file_op *op, int64_t (*work)(void *arg), void *arg);

/* ---- Watching: for who ends the process at a chosen operation, to see what a start makes of it
 * ----
 */

/* `asked` is called with each operation before it is asked for; what it returns, if not 0, `over`
 * gets when the operation is done, before its owner is told. */
void rt_file_watch(struct rt *rt, unsigned (*asked)(void *arg, struct rt_file_op *op),
                   void (*over)(void *arg, unsigned noted), void *arg);

/* What an operation is about, by its path or the name of its file. */
struct rt_file_sight {
    enum rt_file_kind kind;
    bool creates; /* opening */
    uint64_t offset;
    char path[1024];
};
void rt_file_look(const struct rt_file_op *op, struct rt_file_sight *ret_sight);
/* Writes the first half of what it would write, at once, as a process leaves it that is killed in
 * the middle. */
void rt_file_write_half(const struct rt_file_op *op);

#endif
