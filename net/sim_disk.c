/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_disk: see the header.
 *
 *     write -> image (what readers see)          sync -> platter
 *                 + a change in `pending` --------------^
 *
 * A change carries its sectors whole, as they were in the image after it: a drive writes what the
 * cache holds, so bytes around a write go with it. Applied in order to the platter's content, kept
 * sector by sector or not, changes give every state that a crash may leave.
 *
 * Names are one flat list of paths, and a directory is an inode without content: its entries are
 * the paths whose parent it is.
 *
 * Invariants
 *  1. The platter changes by what a sync (or sim_disk_put) made durable, and by a crash.
 *  2. A sync covers the changes that were complete when it began, and no others.
 *  3. What is under way is known by its number; an event that finds none has come too late.
 *
 * Long, and one file: contents, names, what is under way and a crash are one state.
 */
#include "net/sim_disk.h"

#include "net/rt_file.h"

#include "base/check.h"
#include "base/list.h"
#include "base/must.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_FILE 5000 /* the number of a file: no socket's */
#define ROOT       "."

struct content {
    char *data;
    size_t len, cap;
};

enum change_kind { CHANGE_WRITE, CHANGE_CUT };

struct change {
    struct list_node link;
    uint64_t number;
    enum change_kind kind;
    uint64_t end;           /* the size is at least this, or (CUT) exactly */
    uint64_t offset;        /* of whole sectors */
    struct content sectors; /* as they were then */
};

struct inode {
    struct list_node link;
    bool is_dir;
    bool marked; /* somebody names it (sweep) */
    struct content image, platter;
    struct list pending;
};

struct name {
    char *path;
    struct inode *inode;
};

struct names {
    struct name *items;
    unsigned count;
};

enum name_kind { NAME_MAKE, NAME_MOVE, NAME_REMOVE };

struct name_change {
    struct list_node link;
    uint64_t number;
    enum name_kind kind;
    char *path, *target;
    struct inode *inode;
};

struct handle {
    struct inode *inode; /* NULL: free */
    bool reads, writes;
    uint64_t place; /* where who reads or writes it piece by piece is */
};

struct under_way {
    struct list_node link;
    uint64_t number;
    struct rt_file_op *op;
    void (*told)(void *arg, struct rt_file_op *op);
    void *arg;
    int error;             /* it will say this, and do nothing */
    bool syncs;            /* its last part: */
    uint64_t sync_up_to;   /* covers changes so far */
    struct inode *syncing; /* or NULL: of a directory */
};

struct sim_disk {
    struct sim_disk_world world;
    struct sim_disk_options options;
    struct list inodes;
    struct names names, platter_names;
    struct list pending_names;
    struct handle *handles;
    unsigned handles_count;
    struct list under_way;
    uint64_t started, changes, failed_syncs;
};

static bool coin(struct sim_disk *disk) {
    return rng_below(disk->world.rng, 2) == 0;
}

/* True once in 65536 / chance. */
static bool chance_of(struct sim_disk *disk, unsigned chance) {
    return chance > 0 && rng_below(disk->world.rng, 65536) < chance;
}

static uint64_t draw(struct sim_disk *disk, uint64_t first, uint64_t last) {
    return first >= last ? first : first + rng_below(disk->world.rng, last - first + 1);
}

/* ---- Contents ---- */

static void content_resize(struct content *content, size_t len) {
    if (len > content->cap) {
        content->cap = len + len / 2;
        content->data = must_realloc(content->data, content->cap);
    }
    if (len > content->len) {
        memset(content->data + content->len, 0, len - content->len);
    }
    content->len = len;
}

static void content_put(struct content *content, size_t offset, const char *data, size_t n) {
    if (n > 0 && offset + n > content->len) {
        content_resize(content, offset + n);
    }
    if (n > 0) {
        memcpy(content->data + offset, data, n);
    }
}

static void content_copy(struct content *target, const struct content *source) {
    target->len = 0;
    content_put(target, 0, source->data, source->len);
}

static void change_free(struct change *change) {
    list_remove(&change->link);
    free(change->sectors.data);
    free(change);
}

/* Puts those sectors of the change onto the content that `keeps` says. */
static void change_apply(struct sim_disk *disk, const struct change *change,
                         struct content *content, bool (*keeps)(struct sim_disk *disk)) {
    size_t sector = disk->options.sector_bytes;
    size_t len = content->len;
    for (size_t at = 0; at < change->sectors.len; at += sector) {
        size_t left = change->sectors.len - at;
        if (keeps == NULL || keeps(disk)) {
            content_put(content, change->offset + at, change->sectors.data + at,
                        left < sector ? left : sector);
        }
    }
    content_resize(content, len); /* the size is another matter */
}

static void change_size(const struct change *change, struct content *content) {
    if (change->kind == CHANGE_CUT || change->end > content->len) {
        content_resize(content, change->end);
    }
}

/* A write may become longer than its file before the file does. */
static void change_whole(struct sim_disk *disk, const struct change *change,
                         struct content *content) {
    change_size(change, content);
    change_apply(disk, change, content, NULL);
}

static struct change *change_new(struct sim_disk *disk, struct inode *inode,
                                 enum change_kind kind) {
    struct change *change = must_calloc(1, sizeof(*change));
    change->number = ++disk->changes;
    change->kind = kind;
    list_push_back(&inode->pending, &change->link);
    return change;
}

static void inode_write(struct sim_disk *disk, struct inode *inode, uint64_t offset,
                        const char *data, size_t n) {
    content_put(&inode->image, offset, data, n);
    struct change *change = change_new(disk, inode, CHANGE_WRITE);
    size_t sector = disk->options.sector_bytes;
    change->end = offset + n;
    change->offset = offset / sector * sector;
    size_t end = (offset + n + sector - 1) / sector * sector;
    end = end < inode->image.len ? end : inode->image.len;
    content_put(&change->sectors, 0, inode->image.data + change->offset, end - change->offset);
}

static void inode_cut(struct sim_disk *disk, struct inode *inode, uint64_t bytes) {
    content_resize(&inode->image, bytes);
    change_new(disk, inode, CHANGE_CUT)->end = bytes;
}

static void inode_sync(struct sim_disk *disk, struct inode *inode, uint64_t up_to) {
    LIST_EACH_SAFE(&inode->pending, node) {
        struct change *change = LIST_ENTRY(node, struct change, link);
        if (change->number <= up_to) {
            change_whole(disk, change, &inode->platter);
            change_free(change);
        }
    }
}

/* Some of it went through, some stays pending, some is lost: and seen until its page is needed. */
static void inode_sync_failed(struct sim_disk *disk, struct inode *inode, uint64_t up_to) {
    LIST_EACH_SAFE(&inode->pending, node) {
        struct change *change = LIST_ENTRY(node, struct change, link);
        if (change->number > up_to) {
            continue;
        }
        switch (rng_below(disk->world.rng, 3)) {
        case 0:
            change_whole(disk, change, &inode->platter);
            change_free(change);
            break;
        case 1:
            change_free(change);
            break;
        default:
            break;
        }
    }
    if (coin(disk)) {
        content_copy(&inode->image, &inode->platter);
        LIST_EACH(&inode->pending, node) {
            change_whole(disk, LIST_ENTRY(node, struct change, link), &inode->image);
        }
    }
}

/* What a loss of power leaves of it. */
static void inode_crash(struct sim_disk *disk, struct inode *inode) {
    struct content *platter = &inode->platter;
    for (struct list_node *node; (node = list_first(&inode->pending)) != NULL;) {
        struct change *change = LIST_ENTRY(node, struct change, link);
        switch (rng_below(disk->world.rng, 4)) {
        case 0:
            change_whole(disk, change, platter);
            break;
        case 1: /* torn, with the new size or, as far as it fits, the old */
            if (coin(disk)) {
                change_size(change, platter);
            }
            change_apply(disk, change, platter, coin);
            break;
        case 2: /* the size alone: zeros */
            change_size(change, platter);
            break;
        default: /* dropped */
            break;
        }
        change_free(change);
    }
    content_copy(&inode->image, platter);
}

static struct inode *inode_new(struct sim_disk *disk, bool is_dir) {
    struct inode *inode = must_calloc(1, sizeof(*inode));
    inode->is_dir = is_dir;
    list_init(&inode->pending);
    list_push_back(&disk->inodes, &inode->link);
    return inode;
}

static void inode_free(struct inode *inode) {
    for (struct list_node *node; (node = list_first(&inode->pending)) != NULL;) {
        change_free(LIST_ENTRY(node, struct change, link));
    }
    list_remove(&inode->link);
    free(inode->image.data);
    free(inode->platter.data);
    free(inode);
}

/* ---- Names ---- */

static char *text_copy(const char *text, size_t len) {
    char *copy = must_malloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

/* Without "./" ahead and "/" behind. The caller's. */
static char *plain_path(const char *path) {
    while (path[0] == '.' && path[1] == '/') {
        path += 2;
    }
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return len == 0 ? text_copy(ROOT, 1) : text_copy(path, len);
}

/* The caller's. */
static char *parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? text_copy(ROOT, 1) : text_copy(path, slash > path ? slash - path : 1);
}

static bool parent_is(const char *path, const char *dir) {
    char *parent = parent_of(path);
    bool is = strcmp(parent, dir) == 0;
    free(parent);
    return is;
}

static struct inode *names_find(const struct names *names, const char *path) {
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            return names->items[i].inode;
        }
    }
    return NULL;
}

static void names_remove(struct names *names, const char *path) {
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            free(names->items[i].path);
            names->items[i] = names->items[--names->count];
            return;
        }
    }
}

static void names_put(struct names *names, const char *path, struct inode *inode) {
    names_remove(names, path);
    names->items = must_realloc(names->items, (names->count + 1) * sizeof(*names->items));
    names->items[names->count++] = (struct name){text_copy(path, strlen(path)), inode};
}

static void names_clear(struct names *names) {
    while (names->count > 0) {
        free(names->items[--names->count].path);
    }
}

static void names_copy(struct names *target, const struct names *source) {
    names_clear(target);
    for (unsigned i = 0; i < source->count; i++) {
        names_put(target, source->items[i].path, source->items[i].inode);
    }
}

static void name_apply(struct names *names, const struct name_change *change) {
    switch (change->kind) {
    case NAME_MAKE:
        names_put(names, change->path, change->inode);
        break;
    case NAME_MOVE:
        if (names_find(names, change->path) == change->inode) {
            names_remove(names, change->path);
        }
        names_put(names, change->target, change->inode);
        break;
    case NAME_REMOVE:
        if (names_find(names, change->path) == change->inode) {
            names_remove(names, change->path);
        }
        break;
    }
}

static void name_change_free(struct name_change *change) {
    list_remove(&change->link);
    free(change->path);
    free(change->target);
    free(change);
}

static void name_changes(struct sim_disk *disk, enum name_kind kind, const char *path,
                         const char *target, struct inode *inode) {
    struct name_change *change = must_calloc(1, sizeof(*change));
    change->number = ++disk->changes;
    change->kind = kind;
    change->path = text_copy(path, strlen(path));
    change->target = target ? text_copy(target, strlen(target)) : NULL;
    change->inode = inode;
    list_push_back(&disk->pending_names, &change->link);
    name_apply(&disk->names, change);
}

static bool concerns(const struct name_change *change, const char *dir) {
    return parent_is(change->path, dir) || (change->target && parent_is(change->target, dir));
}

static void names_sync(struct sim_disk *disk, const char *dir, uint64_t up_to) {
    LIST_EACH_SAFE(&disk->pending_names, node) {
        struct name_change *change = LIST_ENTRY(node, struct name_change, link);
        if (change->number <= up_to && concerns(change, dir)) {
            name_apply(&disk->platter_names, change);
            name_change_free(change);
        }
    }
}

/* Mostly a journal, which ends somewhere; else any of them. */
static void names_crash(struct sim_disk *disk) {
    bool journal = coin(disk);
    bool ended = false;
    for (struct list_node *node; (node = list_first(&disk->pending_names)) != NULL;) {
        struct name_change *change = LIST_ENTRY(node, struct name_change, link);
        bool keeps = coin(disk) && !(journal && ended);
        ended = ended || !keeps;
        if (keeps) {
            name_apply(&disk->platter_names, change);
        }
        name_change_free(change);
    }
    /* What lies in a directory that did not come to be is nowhere. */
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i < disk->platter_names.count && !again; i++) {
            char *parent = parent_of(disk->platter_names.items[i].path);
            bool root = strcmp(disk->platter_names.items[i].path, ROOT) == 0 ||
                        strcmp(disk->platter_names.items[i].path, "/") == 0;
            if (!root && names_find(&disk->platter_names, parent) == NULL) {
                names_remove(&disk->platter_names, disk->platter_names.items[i].path);
                again = true;
            }
            free(parent);
        }
    }
    names_copy(&disk->names, &disk->platter_names);
}

static void mark_names(const struct names *names) {
    for (unsigned i = 0; i < names->count; i++) {
        names->items[i].inode->marked = true;
    }
}

/* Frees what nothing names any more. */
static void sweep(struct sim_disk *disk) {
    mark_names(&disk->names);
    mark_names(&disk->platter_names);
    LIST_EACH(&disk->pending_names, node) {
        LIST_ENTRY(node, struct name_change, link)->inode->marked = true;
    }
    for (unsigned i = 0; i < disk->handles_count; i++) {
        if (disk->handles[i].inode != NULL) {
            disk->handles[i].inode->marked = true;
        }
    }
    LIST_EACH(&disk->under_way, node) {
        const struct under_way *way = LIST_ENTRY(node, struct under_way, link);
        if (way->syncing != NULL) {
            way->syncing->marked = true;
        }
    }
    LIST_EACH_SAFE(&disk->inodes, node) {
        struct inode *inode = LIST_ENTRY(node, struct inode, link);
        if (!inode->marked) {
            inode_free(inode);
        } else {
            inode->marked = false;
        }
    }
}

/* ---- Operations: what they do when their time has come ---- */

static struct handle *handle_of(struct sim_disk *disk, rt_file file) {
    unsigned at = (unsigned)(file - FIRST_FILE);
    bool known = file >= FIRST_FILE && at < disk->handles_count && disk->handles[at].inode;
    return known ? &disk->handles[at] : NULL;
}

static rt_file handle_open(struct sim_disk *disk, struct inode *inode, unsigned flags) {
    unsigned at = 0;
    while (at < disk->handles_count && disk->handles[at].inode != NULL) {
        at++;
    }
    if (at == disk->handles_count) {
        disk->handles = must_realloc(disk->handles, (at + 1) * sizeof(*disk->handles));
        disk->handles_count++;
    }
    unsigned how = flags & O_ACCMODE;
    disk->handles[at] =
        (struct handle){.inode = inode, .reads = how != O_WRONLY, .writes = how != O_RDONLY};
    return FIRST_FILE + (rt_file)at;
}

/* Where a name is to be made: 0, -ENOENT or -ENOTDIR. */
static int parent_checks(const struct sim_disk *disk, const char *path) {
    char *parent = parent_of(path);
    const struct inode *inode = names_find(&disk->names, parent);
    int r = inode != NULL ? (inode->is_dir ? 0 : -ENOTDIR) : -ENOENT;
    free(parent);
    return r;
}

static int64_t do_open(struct sim_disk *disk, const struct rt_file_op *op, const char *path) {
    struct inode *inode = names_find(&disk->names, path);
    int r = inode == NULL ? parent_checks(disk, path) : 0;
    if (r < 0) {
        return r;
    }
    if (inode == NULL && !(op->flags & O_CREAT)) {
        return -ENOENT;
    }
    if (inode != NULL && (op->flags & O_EXCL)) {
        return -EEXIST;
    }
    if (inode != NULL && inode->is_dir) {
        return -EISDIR;
    }
    if (inode == NULL) {
        inode = inode_new(disk, false);
        name_changes(disk, NAME_MAKE, path, NULL, inode);
    } else if ((op->flags & O_TRUNC) && inode->image.len > 0) {
        inode_cut(disk, inode, 0);
    }
    return handle_open(disk, inode, op->flags);
}

static uint64_t bytes_of_all(const struct sim_disk *disk) {
    uint64_t bytes = 0;
    LIST_EACH(&disk->inodes, node) {
        bytes += LIST_ENTRY(node, struct inode, link)->image.len;
    }
    return bytes;
}

/* The first n bytes of what is left. */
static void write_some(struct sim_disk *disk, const struct rt_file_op *op, struct inode *inode,
                       uint64_t n) {
    char *data = must_malloc(n + 1);
    uint64_t have = 0;
    for (int i = 0; have < n; i++) {
        uint64_t part = op->vectors[i].iov_len < n - have ? op->vectors[i].iov_len : n - have;
        if (part > 0) {
            memcpy(data + have, op->vectors[i].iov_base, part);
        }
        have += part;
    }
    if (n > 0) {
        inode_write(disk, inode, op->offset, data, n);
    }
    free(data);
}

static int64_t do_write(struct sim_disk *disk, const struct rt_file_op *op) {
    const struct handle *handle = handle_of(disk, op->file);
    if (handle == NULL || !handle->writes) {
        return -EBADF;
    }
    if (op->write_fault < 0) {
        return op->write_fault;
    }
    struct inode *inode = handle->inode;
    uint64_t end = op->offset + op->left, room = disk->options.room_bytes;
    uint64_t more = end > inode->image.len ? end - inode->image.len : 0;
    uint64_t used = bytes_of_all(disk);
    if (room > 0 && more > 0 && used + more > room) {
        uint64_t over = used + more - room;
        write_some(disk, op, inode, over < op->left ? op->left - over : 0);
        return -ENOSPC;
    }
    if (chance_of(disk, disk->options.write_error)) {
        write_some(disk, op, inode, draw(disk, 0, op->left));
        return -EIO;
    }
    write_some(disk, op, inode, op->left);
    return (int64_t)op->left;
}

static int64_t do_read(struct sim_disk *disk, struct rt_file_op *op) {
    const struct handle *handle = handle_of(disk, op->file);
    if (handle == NULL || !handle->reads) {
        return -EBADF;
    }
    if (chance_of(disk, disk->options.read_error)) {
        return -EIO;
    }
    const struct content *image = &handle->inode->image;
    uint64_t n = op->offset < image->len ? image->len - op->offset : 0;
    n = n < op->left ? n : op->left;
    if (n > 0) {
        memcpy(op->one.iov_base, image->data + op->offset, n);
    }
    return (int64_t)n;
}

static int64_t do_rename(struct sim_disk *disk, const char *path, const char *target) {
    struct inode *inode = names_find(&disk->names, path);
    const struct inode *other = names_find(&disk->names, target);
    if (inode == NULL) {
        int r = parent_checks(disk, path);
        return r < 0 ? r : -ENOENT;
    }
    int r = parent_checks(disk, target);
    if (r < 0) {
        return r;
    }
    if (inode->is_dir) {
        return -EOPNOTSUPP; /* nobody here does */
    }
    if (other != NULL && other->is_dir) {
        return -EISDIR;
    }
    if (other != inode) {
        name_changes(disk, NAME_MOVE, path, target, inode);
    }
    return 0;
}

static int64_t do_remove(struct sim_disk *disk, const char *path) {
    struct inode *inode = names_find(&disk->names, path);
    if (inode == NULL) {
        int r = parent_checks(disk, path);
        return r < 0 ? r : -ENOENT;
    }
    if (inode->is_dir) {
        return -EISDIR;
    }
    name_changes(disk, NAME_REMOVE, path, NULL, inode);
    return 0;
}

static int64_t do_make_dir(struct sim_disk *disk, const char *path) {
    if (names_find(&disk->names, path) != NULL) {
        return -EEXIST;
    }
    int r = parent_checks(disk, path);
    if (r == 0) {
        name_changes(disk, NAME_MAKE, path, NULL, inode_new(disk, true));
    }
    return r;
}

static int64_t do_on_file(struct sim_disk *disk, struct rt_file_op *op) {
    struct handle *handle = handle_of(disk, op->file);
    if (handle == NULL) {
        return -EBADF;
    }
    switch (op->kind) {
    case RT_FILE_TRUNCATE:
        if (!handle->writes) {
            return -EINVAL;
        }
        inode_cut(disk, handle->inode, op->offset);
        return 0;
    case RT_FILE_SIZE:
        return (int64_t)handle->inode->image.len;
    case RT_FILE_ALLOCATE:
        return handle->writes ? 0 : -EBADF;
    default:
        check(op->kind == RT_FILE_CLOSE);
        handle->inode = NULL;
        return 0;
    }
}

static int64_t do_on_name(struct sim_disk *disk, const struct rt_file_op *op) {
    if (chance_of(disk, disk->options.name_error)) {
        return -EIO;
    }
    char *path = plain_path(op->path);
    char *target = op->kind == RT_FILE_RENAME ? plain_path(op->target) : NULL;
    int64_t r = op->kind == RT_FILE_OPEN     ? do_open(disk, op, path)
                : op->kind == RT_FILE_RENAME ? do_rename(disk, path, target)
                : op->kind == RT_FILE_REMOVE ? do_remove(disk, path)
                                             : do_make_dir(disk, path);
    free(path);
    free(target);
    return r;
}

/* All but the sync of it. */
static int64_t do_op(struct sim_disk *disk, struct rt_file_op *op) {
    switch (op->kind) {
    case RT_FILE_WRITE:
    case RT_FILE_WRITE_SYNC:
        return do_write(disk, op);
    case RT_FILE_READ:
        return do_read(disk, op);
    case RT_FILE_OPEN:
    case RT_FILE_RENAME:
    case RT_FILE_REMOVE:
    case RT_DIR_MAKE:
        return do_on_name(disk, op);
    case RT_FILE_BESIDE:
        return op->work(op->work_arg);
    default:
        return do_on_file(disk, op);
    }
}

/* ---- Syncing ---- */

/* From now on: 0, or why it cannot. */
static int sync_begin(struct sim_disk *disk, struct under_way *way) {
    const struct rt_file_op *op = way->op;
    way->syncs = true;
    way->sync_up_to = disk->changes;
    if (op->kind != RT_DIR_SYNC) {
        const struct handle *handle = handle_of(disk, op->file);
        way->syncing = handle != NULL ? handle->inode : NULL;
        return handle != NULL ? 0 : -EBADF;
    }
    char *path = plain_path(op->path);
    const struct inode *dir = names_find(&disk->names, path);
    int r = dir != NULL ? (dir->is_dir ? 0 : -ENOTDIR) : -ENOENT;
    if (dir == NULL && parent_checks(disk, path) < 0) {
        r = parent_checks(disk, path);
    }
    free(path);
    return r;
}

static int sync_end(struct sim_disk *disk, const struct under_way *way) {
    const struct rt_file_op *op = way->op;
    int error = op->sync_fault;
    if (error == 0 && chance_of(disk, disk->options.sync_error)) {
        error = -EIO;
    }
    if (op->kind == RT_DIR_SYNC) {
        if (error == 0) {
            char *path = plain_path(op->path);
            names_sync(disk, path, way->sync_up_to);
            free(path);
        }
    } else if (error == 0) {
        inode_sync(disk, way->syncing, way->sync_up_to);
    } else {
        inode_sync_failed(disk, way->syncing, way->sync_up_to);
        disk->failed_syncs++;
    }
    return error;
}

/* ---- What is under way ---- */

static uint64_t latency_of(struct sim_disk *disk, bool sync) {
    const struct sim_disk_options *options = &disk->options;
    uint64_t first = sync ? options->sync_min_ns : options->latency_min_ns;
    uint64_t last = sync ? options->sync_max_ns : options->latency_max_ns;
    if (chance_of(disk, options->stall)) {
        return draw(disk, last, options->stall_max_ns);
    }
    return draw(disk, first, last);
}

static void on_time(void *arg, uint64_t number);

static void wait_for(struct sim_disk *disk, const struct under_way *way) {
    disk->world.after(disk->world.arg, latency_of(disk, way->syncs), on_time, disk, way->number);
}

static void tell(struct sim_disk *disk, struct under_way *way, int64_t result) {
    struct rt_file_op *op = way->op;
    op->result = result;
    disk->world.note(disk->world.arg, "file", way->number, op->kind, (uint64_t)result);
    list_remove(&way->link);
    if (op->kind == RT_FILE_CLOSE || op->kind == RT_DIR_SYNC) {
        sweep(disk);
    }
    if (way->told != NULL) {
        way->told(way->arg, op);
    } else {
        sim_disk_drop(disk, op);
    }
    free(way);
}

/* One part of it; true: that was the last. */
static bool go_on(struct sim_disk *disk, struct under_way *way, int64_t *ret_result) {
    struct rt_file_op *op = way->op;
    if (way->error < 0) {
        *ret_result = way->error;
        return true;
    }
    if (way->syncs) {
        int r = sync_end(disk, way);
        *ret_result = r < 0 ? r : op->result;
        return true;
    }
    *ret_result = do_op(disk, op);
    if (op->kind != RT_FILE_WRITE_SYNC || *ret_result < 0) {
        return true;
    }
    op->result = *ret_result;
    check(sync_begin(disk, way) == 0);
    return false;
}

static void on_time(void *arg, uint64_t number) {
    struct sim_disk *disk = arg;
    LIST_EACH_SAFE(&disk->under_way, node) {
        struct under_way *way = LIST_ENTRY(node, struct under_way, link);
        if (way->number != number) {
            continue;
        }
        int64_t result;
        if (go_on(disk, way, &result)) {
            tell(disk, way, result);
        } else {
            wait_for(disk, way);
        }
        return;
    }
}

void sim_disk_start(struct sim_disk *disk, struct rt_file_op *op,
                    void (*told)(void *arg, struct rt_file_op *op), void *arg) {
    struct under_way *way = must_calloc(1, sizeof(*way));
    way->number = ++disk->started;
    way->op = op;
    way->told = told;
    way->arg = arg;
    op->result = 0;
    list_push_back(&disk->under_way, &way->link);
    if (op->kind == RT_FILE_SYNC || op->kind == RT_DIR_SYNC) {
        way->error = sync_begin(disk, way);
    }
    wait_for(disk, way);
}

int64_t sim_disk_call(struct sim_disk *disk, struct rt_file_op *op) {
    struct under_way way = {.number = ++disk->started, .op = op};
    op->result = 0;
    if (op->kind == RT_FILE_SYNC || op->kind == RT_DIR_SYNC) {
        way.error = sync_begin(disk, &way);
    }
    int64_t result;
    while (!go_on(disk, &way, &result)) {
    }
    disk->world.note(disk->world.arg, "file-call", way.number, op->kind, (uint64_t)result);
    return result;
}

uint64_t *sim_disk_place(struct sim_disk *disk, int file) {
    struct handle *handle = handle_of(disk, file);
    return handle != NULL ? &handle->place : NULL;
}

bool sim_disk_exists(const struct sim_disk *disk, const char *path, bool *ret_is_dir) {
    char *plain = plain_path(path);
    const struct inode *inode = names_find(&disk->names, plain);
    free(plain);
    *ret_is_dir = inode != NULL && inode->is_dir;
    return inode != NULL;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **sim_disk_match(const struct sim_disk *disk, const char *pattern) {
    char *plain = plain_path(pattern);
    char **found = must_calloc(disk->names.count + 1, sizeof *found);
    unsigned count = 0;
    for (unsigned i = 0; i < disk->names.count; i++) {
        const char *path = disk->names.items[i].path;
        if (fnmatch(plain, path, FNM_PATHNAME | FNM_PERIOD) == 0) {
            found[count++] = text_copy(path, strlen(path));
        }
    }
    free(plain);
    qsort(found, count, sizeof *found, by_text);
    return found;
}

void sim_disk_finish(struct sim_disk *disk, const void *arg) {
    LIST_EACH_SAFE(&disk->under_way, node) {
        struct under_way *way = LIST_ENTRY(node, struct under_way, link);
        if (way->arg != arg) {
            continue;
        }
        int64_t result;
        while (!go_on(disk, way, &result)) {
        }
        way->told = NULL;
        tell(disk, way, result);
    }
}

void sim_disk_drop(struct sim_disk *disk, const struct rt_file_op *op) {
    struct handle *handle =
        op->kind == RT_FILE_OPEN && op->result >= 0 ? handle_of(disk, (rt_file)op->result) : NULL;
    if (handle != NULL) {
        handle->inode = NULL;
    }
}

/* ---- Crashes ---- */

/* Of what is under way: none, some or all of it. */
static void kill_one(struct sim_disk *disk, struct under_way *way) {
    struct rt_file_op *op = way->op;
    const struct handle *handle = handle_of(disk, op->file);
    bool writes = op->kind == RT_FILE_WRITE || op->kind == RT_FILE_WRITE_SYNC;
    if (way->syncs) {
        if (way->error == 0 && coin(disk)) {
            sync_end(disk, way);
        }
    } else if (writes && handle != NULL && handle->writes && coin(disk)) {
        uint64_t n = coin(disk) ? op->left : draw(disk, 0, op->left);
        write_some(disk, op, handle->inode, n);
    } else if (!writes && op->kind != RT_FILE_READ && coin(disk)) {
        do_op(disk, op);
    }
    list_remove(&way->link);
    free(way);
}

void sim_disk_crash(struct sim_disk *disk, enum sim_crash crash) {
    disk->world.note(disk->world.arg, "disk-crash", crash, disk->changes, 0);
    for (struct list_node *node; (node = list_first(&disk->under_way)) != NULL;) {
        kill_one(disk, LIST_ENTRY(node, struct under_way, link));
    }
    for (unsigned i = 0; i < disk->handles_count; i++) {
        disk->handles[i].inode = NULL;
    }
    if (crash == SIM_CRASH_POWER) {
        LIST_EACH(&disk->inodes, node) {
            inode_crash(disk, LIST_ENTRY(node, struct inode, link));
        }
        names_crash(disk);
    }
    sweep(disk);
}

/* ---- For the test ---- */

static void make_dirs(struct sim_disk *disk, const char *path) {
    if (names_find(&disk->platter_names, path) != NULL) {
        return;
    }
    char *parent = parent_of(path);
    make_dirs(disk, parent);
    free(parent);
    struct inode *inode = names_find(&disk->names, path);
    inode = inode != NULL ? inode : inode_new(disk, true);
    names_put(&disk->names, path, inode);
    names_put(&disk->platter_names, path, inode);
}

void sim_disk_put(struct sim_disk *disk, const char *path, struct bytes content) {
    char *plain = plain_path(path), *parent = parent_of(plain);
    make_dirs(disk, parent);
    struct inode *inode = inode_new(disk, false);
    content_put(&inode->image, 0, content.ptr, content.len);
    content_copy(&inode->platter, &inode->image);
    names_put(&disk->names, plain, inode);
    names_put(&disk->platter_names, plain, inode);
    free(plain);
    free(parent);
}

static struct inode *file_at(const struct sim_disk *disk, const char *path) {
    char *plain = plain_path(path);
    struct inode *inode = names_find(&disk->names, plain);
    free(plain);
    return inode != NULL && !inode->is_dir ? inode : NULL;
}

int sim_disk_get(const struct sim_disk *disk, const char *path, struct bytes *ret_content) {
    const struct inode *inode = file_at(disk, path);
    if (inode == NULL) {
        return -ENOENT;
    }
    *ret_content =
        inode->image.len > 0 ? bytes_make(inode->image.data, inode->image.len) : BYTES("");
    return 0;
}

int sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t offset, unsigned char mask) {
    struct inode *inode = file_at(disk, path);
    if (inode == NULL) {
        return -ENOENT;
    }
    if (offset >= inode->platter.len || offset >= inode->image.len) {
        return -EINVAL;
    }
    inode->platter.data[offset] = (char)(inode->platter.data[offset] ^ mask);
    inode->image.data[offset] = (char)(inode->image.data[offset] ^ mask);
    return 0;
}

bool sim_disk_dirty(const struct sim_disk *disk) {
    LIST_EACH(&disk->inodes, node) {
        if (!list_empty(&LIST_ENTRY(node, struct inode, link)->pending)) {
            return true;
        }
    }
    return !list_empty(&disk->pending_names);
}

uint64_t sim_disk_failed_syncs(const struct sim_disk *disk) {
    return disk->failed_syncs;
}

unsigned sim_disk_open_files(const struct sim_disk *disk) {
    unsigned n = 0;
    for (unsigned i = 0; i < disk->handles_count; i++) {
        n += disk->handles[i].inode != NULL;
    }
    return n;
}

/* ---- Making and ending ---- */

void sim_disk_set(struct sim_disk *disk, const struct sim_disk_options *options) {
    check(options->sector_bytes > 0);
    check(disk->options.sector_bytes == 0 || disk->options.sector_bytes == options->sector_bytes);
    disk->options = *options;
}

struct sim_disk *sim_disk_new(const struct sim_disk_world *world,
                              const struct sim_disk_options *options) {
    struct sim_disk *disk = must_calloc(1, sizeof(*disk));
    disk->world = *world;
    list_init(&disk->inodes);
    list_init(&disk->pending_names);
    list_init(&disk->under_way);
    sim_disk_set(disk, options);
    struct inode *roots[] = {inode_new(disk, true), inode_new(disk, true)};
    names_put(&disk->names, ROOT, roots[0]);
    names_put(&disk->names, "/", roots[1]);
    names_copy(&disk->platter_names, &disk->names);
    return disk;
}

void sim_disk_free(struct sim_disk *disk) {
    check(list_empty(&disk->under_way));
    while (!list_empty(&disk->pending_names)) {
        name_change_free(LIST_ENTRY(list_first(&disk->pending_names), struct name_change, link));
    }
    while (!list_empty(&disk->inodes)) {
        inode_free(LIST_ENTRY(list_first(&disk->inodes), struct inode, link));
    }
    names_clear(&disk->names);
    names_clear(&disk->platter_names);
    free(disk->names.items);
    free(disk->platter_names.items);
    free(disk->handles);
    free(disk);
}
