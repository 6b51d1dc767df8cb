/* SPDX-License-Identifier: BSD-3-Clause */
/* http_bigkeys: see the header. Apart from http_view, as nobody waits for a walk who only looks. */
#include "server/http/http_bigkeys.h"

#include "server/commands/generic/generic.h"
#include "server/http/http_view.h"
#include "server/observe/bigkeys.h"

#define SHOWN 16

void http_bigkeys_walk(struct exec *x, scatter_done_fn *done) {
    const struct bigkeys_request request = {.count = SHOWN, .type = -1};
    bigkeys_walk(x, &request, done);
}

static void write_list(struct text *text, const char *name, const struct bigkeys_list *list) {
    text_appendf(text, ",\"%s\":[", name);
    for (unsigned i = 0; i < list->count; i++) {
        const struct bigkey *key = &list->keys[i];
        text_append_text(text, i > 0 ? ",[" : "[");
        http_json_text(text, bytes_make(key->name, key->name_len));
        text_appendf(text, ",%u,%llu,%llu]", key->db, (unsigned long long)key->memory,
                     (unsigned long long)key->elements);
    }
    text_append_char(text, ']');
}

void http_bigkeys_write(const struct scatter_result *result, int64_t at_s, int64_t took_ms,
                        struct text *text) {
    struct bigkeys big;
    const char *separator = "";
    bigkeys_merge(result, &big);
    text_appendf(text, "{\"at\":%lld,\"ms\":%lld,\"types\":{", (long long)at_s, (long long)took_ms);
    for (int type = 0; type < TYPE_COUNT; type++) {
        const struct bigkeys_type *of_type = &big.types[type];
        if (of_type->keys == 0) {
            continue;
        }
        text_appendf(text, "%s\"%s\":{\"keys\":%llu,\"memory\":%llu,\"elements\":%llu", separator,
                     type_names[type], (unsigned long long)of_type->keys,
                     (unsigned long long)of_type->memory, (unsigned long long)of_type->elements);
        write_list(text, "by_memory", &of_type->lists[BIGKEYS_BY_MEMORY]);
        write_list(text, "by_elements", &of_type->lists[BIGKEYS_BY_ELEMENTS]);
        text_append_char(text, '}');
        separator = ",";
    }
    text_append_text(text, "}}\n");
    bigkeys_fini(&big);
}
