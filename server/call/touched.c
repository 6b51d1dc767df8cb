/* SPDX-License-Identifier: BSD-3-Clause */
/* touched: see the header. Why so: that what is declared is true nobody can see from a table of
 * rows; each test and fuzzer that runs a command asks it here.
 *
 * Not asked: commands that are about all keys, and what values name (SORT BY, GET): those may be
 * read, as who may run them may read all keys. What time does to a key is nobody's doing.
 */
#include "server/call/touched.h"

#include "server/call/call.h"
#include "server/call/command_table.h"
#include "server/call/keyset.h"

#include <stdio.h>

/* The flags with which the key is declared; 0: it is not. */
static unsigned declared(const struct exec *x, uint32_t db, const struct key *key) {
    if (x->keys == NULL) {
        bool is_it = x->ref->simple && x->caller->db == db && bytes_equal(x->key.name, key->name);
        return is_it ? x->command->keys[0].flags : 0;
    }
    unsigned flags = 0;
    for (uint32_t i = 0; i < x->keys->count; i++) {
        const struct keyset_key *one = &x->keys->list[i];
        if (one->key.hash == key->hash && one->db == db && bytes_equal(one->key.name, key->name)) {
            flags |= one->flags;
        }
    }
    return flags;
}

static bool is_of_time(enum key_event event) {
    return event == EVENT_EXPIRED || event == EVENT_EVICTED || event == EVENT_HEXPIRED ||
           event == EVENT_HEXPIRED_IN_TIME;
}

static void touched_key(const struct keyspace_witness *witness, uint32_t db, const struct key *key,
                        enum key_event event) {
    const struct exec *x = ((const struct touched *)witness)->x; /* its first member */
    if (is_of_time(event)) {
        return;
    }
    unsigned flags = declared(x, db, key);
    bool reads = event == EVENT_NONE;
    bool may = reads ? flags != 0 || x->command->reads_everywhere != NULL
                     : (flags & (KEY_RW | KEY_OW | KEY_RM)) != 0;
    if (!may) {
        char why[256];
        int shown = (int)(key->name.len < 100 ? key->name.len : 100);
        snprintf(why, sizeof why, "the command '%s' %s a key that it has not declared%s: '%.*s'",
                 x->ref->full_name, reads ? "looks at" : "changes", flags != 0 ? " so" : "", shown,
                 key->name.ptr);
        die(why, __FILE__, __LINE__);
    }
}

void touched_watch(struct touched *touched, const struct exec *x) {
    /* A script that has all shards in view looks at nothing but by its calls; they are watched. */
    bool in_view = x->command->runs_script && x->caller->view != NULL;
    bool asked = x->command->place == PLACE_KEY && !in_view;
    touched->x = x;
    touched->witness.touched = touched_key;
    touched->outer = keyspace_set_witness(x->keyspace, asked ? &touched->witness : NULL);
}

void touched_end(struct touched *touched) {
    keyspace_set_witness(touched->x->keyspace, touched->outer);
}
