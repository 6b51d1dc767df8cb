/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_change: the commands that change users: SETUSER, DELUSER, LOAD; and SAVE. As CONFIG SET does
 * it: worker 0 alone makes new tables, from the newest, so no change is lost; then every worker is
 * handed the table. A table is numbered, so that one that comes late does no harm.
 *
 * The aclfile is read and written beside worker 0 (rt_file_beside), one command after the other:
 * what SAVE writes are the users of the moment in which it begins, LOAD's take effect in the moment
 * in which they have been read.
 *
 *     home --words--> worker 0: next table --number--> home
 *     home --next--> all workers: clients follow --> home: OK
 */
#include "base/must.h"
#include "base/text.h"
#include "net/file.h"
#include "net/rt_file.h"
#include "server/acl/acl.h"
#include "server/call/call.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/client/identity.h"
#include "server/commands/acl/acl_commands.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/worker/view.h"

#include <stdlib.h>

/* Words of a request, copied: the client's input may go while they are on their way. */
struct change_args {
    struct bytes *words; /* one allocation with the bytes */
    uint32_t count;
    bool at_once;   /* nothing else happens meanwhile: all shards are in view */
    uint64_t asker; /* the client */
};

struct change_part {
    const struct acl_users *next; /* with a reference; NULL: nothing changes */
    uint64_t number;
    uint32_t removed;
    struct acl_file *file; /* of LOAD */
    struct text error;     /* empty: there is none */
};

struct deliver_args {
    const struct acl_users *next;
    uint64_t number, asker;
    int64_t answer; /* below 0: OK */
};

static struct change_args args_of(const struct exec *x) {
    uint32_t count = x->argc - 2;
    size_t bytes = count * sizeof(struct bytes) + 1;
    for (uint32_t i = 0; i < count; i++) {
        bytes += x->argv[i + 2].len;
    }
    struct change_args args = {
        .words = must_malloc(bytes),
        .count = count,
        .at_once = x->caller->view != NULL,
        .asker = x->client->id,
    };
    char *at = (char *)(args.words + count);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes word = x->argv[i + 2];
        memcpy(at, word.ptr, word.len);
        args.words[i] = bytes_make(at, word.len);
        at += word.len;
    }
    return args;
}

/* `next` is in use from now on, on worker 0. */
static void publish(struct worker *worker, const struct change_args *args, struct change_part *part,
                    struct acl_users *next) {
    part->next = acl_users_ref(next);
    part->number = worker_next_users(worker, next, args->asker);
}

/* ---- Handing over ---- */

static bool deliver_part(struct worker *worker, const void *args, void *result) {
    const struct deliver_args *a = args;
    worker_take_users(worker, a->next, a->number, a->asker);
    return true;
}

static void deliver_done(struct exec *x, const struct scatter_result *result) {
    const struct deliver_args *a = result->args;
    acl_users_unref(a->next);
    if (a->answer < 0) {
        reply_ok(x->reply);
    } else {
        reply_int(x->reply, a->answer);
    }
}

/* What was changed on worker 0 goes to all; `answer` as in deliver_args. */
static void deliver(struct exec *x, const struct scatter_result *result, int64_t answer) {
    const struct change_args *a = result->args;
    struct change_part *part = result->parts[0];
    struct deliver_args args = {part->next, part->number, a->asker, answer};
    free(a->words);
    if (part->error.len > 0) {
        reply_error_bytes(x->reply, text_bytes(&part->error));
    }
    bool failed = part->error.len > 0;
    text_fini(&part->error);
    if (failed) {
        return;
    }
    if (args.next == NULL) { /* nothing changes */
        reply_int(x->reply, answer);
        return;
    }
    scatter_all(x, deliver_part, 0, &args, sizeof args, deliver_done);
}

static void change_done(struct exec *x, const struct scatter_result *result) {
    deliver(x, result, -1);
}

/* ---- SETUSER ---- */

static void set_user(struct worker *worker, const struct change_args *a, struct change_part *part) {
    struct acl_making making = worker_acl_making(worker);
    const struct acl_users *users = worker_server(worker)->users;
    struct bytes name = a->words[0], bad = {0};
    struct bytes *rules;
    if (!acl_name_fits(name)) {
        text_append_text(&part->error, "ERR Usernames can't contain spaces or null characters");
        return;
    }
    int count = acl_merge_rules(a->words + 1, a->count - 1, &rules, &bad);
    if (count < 0) {
        text_append_text(&part->error, "ERR Unmatched parenthesis in acl selector starting at '");
        text_append_bytes(&part->error, bad);
        text_append_text(&part->error, "'.");
        return;
    }
    const struct acl_user *before = acl_users_find(users, name);
    struct acl_user *user =
        before != NULL ? acl_user_copy(&making, before) : acl_user_new(&making, name);
    enum acl_wrong wrong = acl_user_rules(&making, user, rules, (uint32_t)count, &bad);
    if (wrong == ACL_RIGHT) {
        publish(worker, a, part, acl_users_with(users, user));
    } else {
        text_append_text(&part->error, "ERR Error in ACL SETUSER modifier '");
        text_append_bytes(&part->error, bad);
        text_appendf(&part->error, "': %s", acl_wrong_text(wrong));
        acl_user_unref(user);
    }
    free(rules);
}

static bool set_part(struct worker *worker, const void *args, void *result) {
    struct change_part *part = result;
    text_init(&part->error);
    set_user(worker, args, part);
    return true;
}

void command_acl_setuser(struct exec *x) {
    struct change_args args = args_of(x);
    scatter_one(x, 0, set_part, sizeof(struct change_part), &args, sizeof args, change_done);
}

/* ---- DELUSER ---- */

static bool delete_part(struct worker *worker, const void *args, void *result) {
    const struct change_args *a = args;
    struct change_part *part = result;
    struct acl_users *next =
        acl_users_without(worker_server(worker)->users, a->words, a->count, &part->removed);
    text_init(&part->error);
    if (next != NULL) {
        publish(worker, a, part, next);
    }
    return true;
}

static void delete_done(struct exec *x, const struct scatter_result *result) {
    struct change_part *part = result->parts[0];
    deliver(x, result, part->removed);
}

void command_acl_deluser(struct exec *x) {
    for (uint32_t i = 2; i < x->argc; i++) {
        if (bytes_equal(x->argv[i], BYTES("default"))) {
            reply_error(x->reply, "ERR The 'default' user cannot be removed");
            return;
        }
    }
    struct change_args args = args_of(x);
    scatter_one(x, 0, delete_part, sizeof(struct change_part), &args, sizeof args, delete_done);
}

/* ---- LOAD and SAVE ---- */

#define ERR_NO_ACL_FILE                                                                            \
    "ERR This instance is not configured to use an ACL file. You may want to specify users via "   \
    "the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a configuration "  \
    "file set) in order to store users in the configuration."

/* What is done with the file. */
struct acl_file {
    struct rt_file_op op; /* first */
    struct worker *worker;
    const struct fs *fs;
    struct text path, content; /* that is to be written */
    bool writes, over;
    char *data; /* what was read */
    size_t len;
    int64_t result; /* 0 or -errno */
};

/* On the thread beside. */
static int64_t file_work(void *arg) {
    struct acl_file *file = arg;
    const struct fs *fs = file->fs;
    return file->writes ? fs->replace(fs->arg, file->path.ptr, text_bytes(&file->content), 0644)
                        : fs->read_all(fs->arg, file->path.ptr, &file->data, &file->len);
}

static void file_over(struct rt_file_op *op, int64_t result) {
    struct acl_file *file = (struct acl_file *)op;
    file->over = true;
    file->result = result;
    scatter_wake(file->worker);
}

/* Of worker 0: begins it, or goes on with it. False: somebody is at it, or it is not over. */
static bool file_go_on(struct worker *worker, struct acl_file **file, bool writes, bool at_once) {
    struct server *server = worker_server(worker);
    if (*file != NULL) {
        return (*file)->over;
    }
    if (server->acl_file != NULL && !at_once) {
        return false;
    }
    *file = must_calloc(1, sizeof **file);
    **file = (struct acl_file){
        .op = {.done = file_over},
        .worker = worker,
        .fs = server->fs,
        .writes = writes,
    };
    text_init(&(*file)->path);
    text_append_bytes(&(*file)->path, server->config->aclfile);
    text_init(&(*file)->content);
    if (writes) {
        acl_users_describe(server->users, &(*file)->content);
    }
    if (at_once) {
        (*file)->result = file_work(*file);
        return true;
    }
    server->acl_file = *file;
    rt_file_beside(worker_rt(worker), &(*file)->op, file_work, *file);
    return false;
}

static void file_free(struct worker *worker, struct acl_file *file) {
    if (worker_server(worker)->acl_file == file) {
        worker_server(worker)->acl_file = NULL;
        scatter_wake(worker); /* who waits for it */
    }
    text_fini(&file->path);
    free(file->data);
    text_fini(&file->content);
    free(file);
}

static void take_file(struct worker *worker, const struct change_args *args,
                      struct change_part *part) {
    const struct acl_file *file = part->file;
    struct acl_making making = worker_acl_making(worker);
    if (file->result < 0) {
        text_appendf(&part->error, "ERR Error loading ACLs, opening file '%s': %s", file->path.ptr,
                     strerror((int)-file->result));
        return;
    }
    struct text wrong;
    text_init(&wrong);
    struct acl_users *next =
        acl_users_read(&making, bytes_make(file->data, file->len), file->path.ptr, &wrong);
    if (next != NULL) {
        publish(worker, args, part, next);
    } else {
        text_appendf(&part->error, "ERR %s", wrong.ptr);
    }
    text_fini(&wrong);
}

static bool load_part(struct worker *worker, const void *args, void *result) {
    const struct change_args *a = args;
    struct change_part *part = result;
    if (!file_go_on(worker, &part->file, false, a->at_once)) {
        scatter_sleep(worker);
        return false;
    }
    text_init(&part->error);
    take_file(worker, a, part);
    file_free(worker, part->file);
    return true;
}

void command_acl_load(struct exec *x) {
    if (worker_config(x->worker)->aclfile.len == 0) {
        reply_error(x->reply, ERR_NO_ACL_FILE);
        return;
    }
    struct change_args args = args_of(x);
    scatter_one(x, 0, load_part, sizeof(struct change_part), &args, sizeof args, change_done);
}

struct save_part {
    struct acl_file *file;
    int64_t result;
};

static bool save_part(struct worker *worker, const void *args, void *result) {
    struct save_part *part = result;
    if (!file_go_on(worker, &part->file, true, *(const bool *)args)) {
        scatter_sleep(worker);
        return false;
    }
    part->result = part->file->result;
    if (part->result < 0) {
        log_worker(worker, LOG_WARNING, "ACL SAVE: %s cannot be written: %s", part->file->path.ptr,
                   strerror((int)-part->result));
    }
    file_free(worker, part->file);
    return true;
}

static void save_done(struct exec *x, const struct scatter_result *result) {
    const struct save_part *part = result->parts[0];
    if (part->result == 0) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR There was an error trying to save the ACLs. Please check the "
                              "server logs for more information");
    }
}

void command_acl_save(struct exec *x) {
    if (worker_config(x->worker)->aclfile.len == 0) {
        reply_error(x->reply, ERR_NO_ACL_FILE);
        return;
    }
    bool at_once = x->caller->view != NULL;
    scatter_one(x, 0, save_part, sizeof(struct save_part), &at_once, sizeof at_once, save_done);
}
