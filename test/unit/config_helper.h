/* SPDX-License-Identifier: BSD-3-Clause */
/* config_helper: short ways to ask a configuration, for test_config*.c.
 */
#ifndef SHOAL_TEST_UNIT_CONFIG_HELPER_H
#define SHOAL_TEST_UNIT_CONFIG_HELPER_H

#include "server/config/config.h"
#include "test/unit/memory_fs.h"

#include <criterion/criterion.h>

static inline void config_helper_visit(void *arg, struct bytes name, struct bytes value) {
    struct text *text = arg;
    text_append_text(text, text->len > 0 ? "|" : "");
    text_append_bytes(text, name);
    text_append_char(text, '=');
    text_append_bytes(text, value);
}

/* The answer to CONFIG GET pattern must be `expected`: name=value, joined by |. */
static inline void expect_get(const struct config *config, const char *pattern,
                              const char *expected) {
    struct text got;
    struct bytes patterns[] = {bytes_of_text(pattern)};
    text_init(&got);
    config_get(config, patterns, 1, config_helper_visit, &got);
    cr_assert_str_eq(got.ptr, expected, "CONFIG GET %s gave \"%s\", not \"%s\"", pattern, got.ptr,
                     expected);
    text_fini(&got);
}

/* CONFIG SET of one pair, which must be accepted. */
static inline struct config *must_set(struct config *config, struct memory_fs *memory,
                                      const char *name, struct bytes value) {
    struct text err;
    struct bytes pairs[] = {bytes_of_text(name), value};
    struct config_setting setting = {.fs = &memory->fs};
    text_init(&err);
    struct config *next = config_set(config, pairs, 1, &setting, &err);
    cr_assert_not_null(next, "CONFIG SET %s: %s", name, err.ptr);
    text_fini(&err);
    config_free(config);
    return next;
}

#endif
