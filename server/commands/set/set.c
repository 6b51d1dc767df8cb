/* SPDX-License-Identifier: BSD-3-Clause */
/* set: adding, removing and asking for members of one set.
 *
 * What several sets have to do with each other is in set_algebra.c, what is drawn from one in
 * set_random.c, the rows in set_rows.c.
 */
#include "server/commands/set/set.h"
#include "base/glob.h"
#include "server/call/errors.h"

#include "server/config/config.h"

struct set_limits set_limits_of(const struct exec *x) {
    const struct config *config = exec_config(x);
    return (struct set_limits){
        .intset_entries = (uint64_t)config->set_max_intset_entries,
        .listpack_entries = (uint64_t)config->set_max_listpack_entries,
        .listpack_value = (uint64_t)config->set_max_listpack_value,
    };
}

/* ---- Changing ---- */

void command_sadd(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_SET, LOOKUP_WRITE, &entry)) {
        return;
    }
    struct set_limits limits = set_limits_of(x);
    struct set_edit edit;
    struct change change;
    struct set_member member;
    set_member_text(&member, x->argv[2]);
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    if (entry == NULL) {
        set_edit_make(&edit, &change, &limits, &member, x->argc - 2);
    } else {
        set_edit_open(&edit, &change, &limits);
        set_edit_expect(&edit, x->argc - 2);
    }
    int64_t added = 0;
    for (uint32_t i = 2; i < x->argc; i++) {
        set_member_text(&member, x->argv[i]);
        change_element(&change, &x->argv[i]);
        added += set_add(&edit, &member);
    }
    change_close(&change, added > 0 ? EVENT_SADD : EVENT_NONE);
    keyspace_count_elements(x->keyspace, (uint64_t)added);
    reply_int(x->reply, added);
}

void command_srem(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_SET, LOOKUP_WRITE, &entry)) {
        return;
    }
    int64_t removed = 0;
    if (entry != NULL) {
        struct set_limits limits = set_limits_of(x);
        struct set_edit edit;
        struct change change;
        struct set_member member;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        set_edit_open(&edit, &change, &limits);
        for (uint32_t i = 2; i < x->argc && set_count(&change.value) > 0; i++) {
            set_member_text(&member, x->argv[i]);
            change_element(&change, &x->argv[i]);
            removed += set_remove(&edit, &member);
        }
        change_close(&change, removed > 0 ? EVENT_SREM : EVENT_NONE);
        keyspace_count_elements(x->keyspace, (uint64_t)removed);
    }
    reply_int(x->reply, removed);
}

/* ---- Asking ---- */

/* The set of the key. False: there is none, and what that means (or that it is no set) is told by
 * the caller (or has been). */
enum found { FOUND_NONE, FOUND_SET, FOUND_OTHER };

static enum found find(const struct exec *x, struct value *ret) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_SET, LOOKUP_READ, &entry)) {
        return FOUND_OTHER;
    }
    if (entry == NULL) {
        return FOUND_NONE;
    }
    *ret = entry_value_of(entry);
    return FOUND_SET;
}

void command_scard(struct exec *x) {
    struct value set;
    enum found found = find(x, &set);
    if (found != FOUND_OTHER) {
        reply_int(x->reply, found == FOUND_SET ? (int64_t)set_count(&set) : 0);
    }
}

void command_sismember(struct exec *x) {
    struct value set;
    enum found found = find(x, &set);
    if (found != FOUND_OTHER) {
        struct set_member member;
        set_member_text(&member, x->argv[2]);
        reply_int(x->reply, found == FOUND_SET && set_has(&set, &member));
    }
}

void command_smismember(struct exec *x) {
    struct value set;
    enum found found = find(x, &set);
    if (found == FOUND_OTHER) {
        return;
    }
    reply_array(x->reply, x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        struct set_member member;
        set_member_text(&member, x->argv[i]);
        reply_int(x->reply, found == FOUND_SET && set_has(&set, &member));
    }
}

void command_smembers(struct exec *x) {
    struct value set;
    enum found found = find(x, &set);
    if (found == FOUND_OTHER) {
        return;
    }
    if (found == FOUND_NONE) {
        reply_set(x->reply, 0);
        return;
    }
    reply_set(x->reply, set_count(&set));
    struct set_walk walk = set_walk(&set);
    struct set_member member;
    while (set_next(&walk, &member)) {
        reply_bulk(x->reply, set_text(&member));
    }
}

/* ---- Walking ---- */

struct scan_options {
    struct bytes pattern;
    bool all_names;
    int64_t count;
};

static bool scan_option(const struct exec *x, uint32_t *i, struct scan_options *ret) {
    struct bytes word = x->argv[*i];
    bool more = *i + 1 < x->argc;
    if (bytes_is(word, "count") && more) {
        if (!exec_arg_i64(x, ++*i, &ret->count)) {
            return false;
        }
        if (ret->count >= 1) {
            return true;
        }
    } else if (bytes_is(word, "match") && more) {
        ret->pattern = x->argv[++*i];
        ret->all_names = bytes_equal(ret->pattern, BYTES("*"));
        return true;
    } else if (bytes_is(word, "novalues")) {
        reply_error(x->reply, "ERR NOVALUES option can only be used in HSCAN");
        return false;
    } else if (bytes_is(word, "noscores")) {
        reply_error(x->reply, "ERR NOSCORES option can only be used in ZSCAN");
        return false;
    }
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

/* Members that were found, written before it is known how many there are. */
struct scanned {
    const struct scan_options *options;
    struct reply reply;
    uint64_t count;
};

static void scan_visit(void *arg, const struct value_element *element) {
    struct scanned *scanned = arg;
    const struct scan_options *options = scanned->options;
    if (options->all_names || glob_match(options->pattern, element->first, false)) {
        reply_bulk(&scanned->reply, element->first);
        scanned->count++;
    }
}

static void scan_reply(struct exec *x, uint64_t cursor, struct outbuf *members, uint64_t count) {
    char text[NUM_I64_BYTES];
    reply_array(x->reply, 2);
    reply_bulk(x->reply, bytes_make(text, num_format_u64(text, cursor)));
    reply_array(x->reply, count);
    outbuf_splice(x->reply->out, members);
}

void command_sscan(struct exec *x) {
    uint64_t cursor;
    struct value set;
    if (!num_parse_u64(x->argv[2], &cursor)) {
        reply_error(x->reply, "ERR invalid cursor");
        return;
    }
    enum found found = find(x, &set);
    if (found == FOUND_OTHER) {
        return;
    }
    struct scan_options options = {.all_names = true, .count = 10};
    for (uint32_t i = 3; found == FOUND_SET && i < x->argc; i++) {
        if (!scan_option(x, &i, &options)) {
            return;
        }
    }
    struct outbuf members;
    outbuf_init(&members);
    struct scanned scanned = {.options = &options};
    reply_init(&scanned.reply, &members, x->reply->resp);
    if (found == FOUND_SET) {
        const struct form *form = forms_find(&value_forms, &set);
        cursor = form->walk(&set, cursor, (uint64_t)options.count, scan_visit, &scanned);
    } else {
        cursor = 0;
    }
    scan_reply(x, cursor, &members, scanned.count);
    outbuf_fini(&members);
}
