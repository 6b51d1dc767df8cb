/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_log: see the header. One list for the whole process, behind a lock: denials are rare, or they
 * are an attack, whose cost is a text of each, as that of the error is. An entry that grows goes to
 * the front; only the first few are looked at, so a flood of different ones costs no more.
 */
#include "server/acl/acl_log.h"

#include "base/check.h"
#include "base/must.h"

#include <pthread.h>
#include <stdlib.h>

#define GROUP_LOOKS 10    /* entries that are looked at for one that is alike */
#define GROUP_MS    60000 /* between one that is alike and the next */

struct acl_log {
    pthread_mutex_t mutex;
    struct list entries; /* the latest first */
    int64_t count;
    uint64_t next_id;
};

struct acl_log *acl_log_new(void) {
    struct acl_log *log = must_calloc(1, sizeof *log);
    pthread_mutex_init(&log->mutex, NULL);
    list_init(&log->entries);
    return log;
}

static struct bytes copy_of(struct bytes bytes) {
    char *copy = must_malloc(bytes.len + 1);
    if (bytes.len > 0) {
        memcpy(copy, bytes.ptr, bytes.len);
    }
    return bytes_make(copy, bytes.len);
}

static void entry_free(struct acl_log_entry *entry) {
    free((char *)entry->object.ptr);
    free((char *)entry->user.ptr);
    free((char *)entry->client.ptr);
    free(entry);
}

static void cut(struct acl_log *log, int64_t max) {
    while (log->count > max) {
        struct list_node *last = list_last(&log->entries);
        list_remove(last);
        entry_free(LIST_ENTRY(last, struct acl_log_entry, node));
        log->count--;
    }
}

void acl_log_free(struct acl_log *log) {
    cut(log, 0);
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

static struct acl_log_entry *find_alike(struct acl_log *log, const struct acl_log_entry *like) {
    int looks = 0;
    LIST_EACH(&log->entries, node) {
        struct acl_log_entry *entry = LIST_ENTRY(node, struct acl_log_entry, node);
        if (looks++ == GROUP_LOOKS) {
            break;
        }
        if (entry->reason == like->reason && entry->context == like->context &&
            like->updated_ms - entry->updated_ms <= GROUP_MS &&
            bytes_equal(entry->object, like->object) && bytes_equal(entry->user, like->user)) {
            return entry;
        }
    }
    return NULL;
}

static struct acl_log_entry *add_entry(struct acl_log *log, const struct acl_log_entry *like) {
    struct acl_log_entry *entry = must_malloc(sizeof *entry);
    *entry = *like;
    list_node_init(&entry->node);
    entry->id = log->next_id++;
    entry->object = copy_of(like->object);
    entry->user = copy_of(like->user);
    entry->client = bytes_make(NULL, 0);
    log->count++;
    return entry;
}

void acl_log_add(struct acl_log *log, enum acl_log_reason reason, enum acl_log_context context,
                 struct bytes object, struct bytes user, struct bytes client, int64_t now_ms,
                 int64_t max) {
    struct acl_log_entry like = {
        .reason = reason,
        .context = context,
        .object = object,
        .user = user,
        .created_ms = now_ms,
        .updated_ms = now_ms,
    };
    pthread_mutex_lock(&log->mutex);
    struct acl_log_entry *entry = find_alike(log, &like);
    if (entry != NULL) {
        list_remove(&entry->node);
    } else {
        entry = add_entry(log, &like);
    }
    free((char *)entry->client.ptr);
    entry->client = copy_of(client);
    entry->updated_ms = now_ms;
    entry->count++;
    list_push_front(&log->entries, &entry->node);
    cut(log, max);
    pthread_mutex_unlock(&log->mutex);
}

void acl_log_reset(struct acl_log *log) {
    pthread_mutex_lock(&log->mutex);
    cut(log, 0);
    pthread_mutex_unlock(&log->mutex);
}

void acl_log_show(struct acl_log *log, int64_t most, void (*begin)(void *arg, uint32_t count),
                  void (*show)(void *arg, const struct acl_log_entry *entry), void *arg) {
    pthread_mutex_lock(&log->mutex);
    int64_t left = most < log->count ? most : log->count;
    begin(arg, (uint32_t)left);
    LIST_EACH(&log->entries, node) {
        if (left-- == 0) {
            break;
        }
        show(arg, LIST_ENTRY(node, struct acl_log_entry, node));
    }
    pthread_mutex_unlock(&log->mutex);
}

const char *acl_log_reason_text(enum acl_log_reason reason) {
    switch (reason) {
    case ACL_LOG_COMMAND:
        return "command";
    case ACL_LOG_KEY:
        return "key";
    case ACL_LOG_CHANNEL:
        return "channel";
    case ACL_LOG_DB:
        return "database";
    case ACL_LOG_AUTH:
        return "auth";
    case ACL_LOG_CERTIFICATE:
        return "tls-cert";
    case ACL_LOG_REASONS:
        break;
    }
    check(false);
    return NULL;
}

const char *acl_log_context_text(enum acl_log_context context) {
    switch (context) {
    case ACL_LOG_TOPLEVEL:
        return "toplevel";
    case ACL_LOG_MULTI:
        return "multi";
    case ACL_LOG_LUA:
        return "lua";
    }
    check(false);
    return NULL;
}
