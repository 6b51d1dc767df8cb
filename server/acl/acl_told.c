/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_told: see the header. Why so: a published user has the text alone, which is what is asked
 * for; a draft takes it apart at its first change, and each rule then costs as much as what it
 * takes back, however many there are.
 */
#include "server/acl/acl_told.h"

#include "server/acl/acl_private.h"

#include <stdlib.h>

void acl_told_init(struct acl_told *told) {
    *told = (struct acl_told){0};
    text_init(&told->text);
    acl_told_set_all(told, false);
}

static void forget_parts(struct acl_told *told) {
    free(told->said);
    told->said = NULL;
    told->count = 0;
    acl_index_clear(&told->names);
    acl_index_clear(&told->commands);
}

void acl_told_fini(struct acl_told *told) {
    forget_parts(told);
    text_fini(&told->text);
}

void acl_told_copy(struct acl_told *copy, const struct acl_told *told) {
    *copy = (struct acl_told){0};
    text_init(&copy->text);
    text_append_bytes(&copy->text, text_bytes(&told->text));
}

void acl_told_set_all(struct acl_told *told, bool allow) {
    forget_parts(told);
    text_clear(&told->text);
    text_append_text(&told->text, allow ? "+@all" : "-@all");
}

static struct bytes name_of(const struct acl_told *told, uint32_t i) {
    const struct acl_said *said = &told->said[i];
    return bytes_make(told->text.ptr + said->at + 1, said->len - 1);
}

/* "config" of "config|get". */
static struct bytes command_of(struct bytes name) {
    const char *bar = name.len > 0 ? memchr(name.ptr, '|', name.len) : NULL;
    return bytes_make(name.ptr, bar != NULL ? (size_t)(bar - name.ptr) : name.len);
}

static bool has_name(const void *list, uint32_t item, struct acl_key key) {
    return bytes_equal(name_of(list, item), key.text);
}

static bool has_command(const void *list, uint32_t item, struct acl_key key) {
    return bytes_equal(command_of(name_of(list, item)), key.text);
}

static void take_back(struct acl_told *told, const unsigned char *secret, uint32_t i) {
    struct acl_key key = {name_of(told, i), 0};
    if (!told->said[i].gone) {
        acl_index_remove(&told->names, acl_key_hash(secret, key), i);
    }
    told->said[i].gone = true;
}

/* The word at the end of the text is the latest that is said. */
static void add(struct acl_told *told, const unsigned char *secret, size_t at) {
    told->said = acl_grow(told->said, told->count, sizeof *told->said);
    uint32_t i = told->count++;
    told->said[i] = (struct acl_said){.at = at, .len = told->text.len - at};
    struct acl_key name = {name_of(told, i), 0}, command = {command_of(name.text), 0};
    uint64_t name_hash = acl_key_hash(secret, name), hash = acl_key_hash(secret, command);
    uint32_t same = acl_index_find(&told->names, name_hash, name, told, has_name);
    if (same != ACL_NO_ITEM) {
        take_back(told, secret, same);
    }
    uint32_t last = acl_index_find(&told->commands, hash, command, told, has_command);
    if (last != ACL_NO_ITEM) {
        acl_index_remove(&told->commands, hash, last);
    }
    bool is_whole = name.text.len == command.text.len;
    for (uint32_t k = last; is_whole && k != ACL_NO_ITEM; k = told->said[k].before - 1) {
        take_back(told, secret, k);
    }
    told->said[i].before = is_whole || last == ACL_NO_ITEM ? 0 : last + 1;
    acl_index_put(&told->names, name_hash, i);
    acl_index_put(&told->commands, hash, i);
}

static void take_apart(struct acl_told *told, const unsigned char *secret) {
    struct text text = told->text;
    const char *at = text.ptr, *end = at + text.len;
    text_init(&told->text);
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t n = (size_t)((space != NULL ? space : end) - at);
        size_t start = told->text.len;
        text_append(&told->text, at, n);
        add(told, secret, start);
        at += n + 1;
    }
    text_fini(&text);
}

void acl_told_say(struct acl_told *told, const unsigned char *secret, struct bytes name,
                  bool allow) {
    if (told->count == 0) {
        take_apart(told, secret);
    }
    size_t at = told->text.len;
    text_append_char(&told->text, allow ? '+' : '-');
    for (size_t i = 0; i < name.len; i++) {
        text_append_char(&told->text, byte_lower(name.ptr[i]));
    }
    add(told, secret, at);
}

void acl_told_settle(struct acl_told *told) {
    if (told->count == 0) {
        return;
    }
    struct text text;
    text_init(&text);
    for (uint32_t i = 0; i < told->count; i++) {
        if (!told->said[i].gone) {
            text_append_text(&text, text.len > 0 ? " " : "");
            text_append(&text, told->text.ptr + told->said[i].at, told->said[i].len);
        }
    }
    text_fini(&told->text);
    told->text = text;
    forget_parts(told);
}
