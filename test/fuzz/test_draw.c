/* SPDX-License-Identifier: BSD-3-Clause */
/* Every command that there is can be drawn for the sequences of fuzz_commands.c, with as many words
 * as it takes and with each option that its row knows; but those that are left out by name.
 */
#include "base/random.h"
#include "server/commands/families.h"
#include "test/fuzz/draw.h"
#include "test/sim/wire.h"

#include <criterion/criterion.h>
#include <string.h>
#include <strings.h>

#define TRIES      1000
#define RIGHT_ONES 4 /* at least one of so many: what is odd about the others is so on purpose */
#define TOKENS_MAX 64

static struct command_table *make_table(void) {
    int error;
    struct bytes bad;
    struct command_table *table = command_table_new(command_families, NULL, 0, &error, &bad);
    cr_assert_not_null(table);
    return table;
}

/* Options of a row, and whether each has been drawn. */
struct tokens {
    const char *texts[TOKENS_MAX];
    bool drawn[TOKENS_MAX];
    unsigned count;
};

static void collect(struct tokens *tokens, const struct command_arg *args) {
    for (; args != NULL && args->name != NULL; args++) {
        if (args->token != NULL && args->token[0] != 0) {
            cr_assert_lt(tokens->count, TOKENS_MAX);
            tokens->texts[tokens->count++] = args->token;
        }
        collect(tokens, args->args);
    }
}

static bool is_word(const struct wire_value *value, const char *text) {
    return value->text.len == strlen(text) && strncasecmp(value->text.ptr, text, strlen(text)) == 0;
}

/* Of its name, and how many words that is; 0 if it is another's. */
static unsigned named(const struct command_ref *ref, const struct wire_value *request) {
    unsigned words = ref->container != NULL ? 2 : 1;
    bool is = request->count >= words && is_word(&request->items[words - 1], ref->row->name) &&
              (words == 1 || is_word(&request->items[0], ref->container->row->name));
    return is ? words : 0;
}

static bool takes(const struct command_ref *ref, size_t count) {
    size_t least = (size_t)(ref->row->arity < 0 ? -ref->row->arity : ref->row->arity);
    return ref->row->arity < 0 ? count >= least : count == least;
}

/* The bytes that choose this command, and chance behind them. */
static void draw(const struct command_table *table, const struct command_ref *ref, struct rng *rng,
                 struct text *out) {
    uint8_t data[256];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)rng_below(rng, 256);
    }
    data[0] = 0;
    data[1] = (uint8_t)(ref->id >> 8);
    data[2] = (uint8_t)ref->id;
    struct draw_input in = {data, sizeof data};
    text_clear(out);
    draw_request(&in, table, out);
}

/* Why not, or NULL. */
static const char *undrawn(const struct command_table *table, const struct command_ref *ref) {
    struct tokens tokens = {.count = 0};
    struct text out;
    struct arena arena;
    struct rng rng;
    unsigned right = 0;
    text_init(&out);
    arena_init(&arena, 4096);
    rng_seed(&rng, ref->id);
    collect(&tokens, ref->row->args);
    for (unsigned i = 0; i < TRIES; i++) {
        struct wire_value request;
        draw(table, ref, &rng, &out);
        cr_assert_gt(value_read(bytes_make(out.ptr, out.len), &arena, &request), 0);
        unsigned words = named(ref, &request);
        right += words > 0 && takes(ref, request.count);
        for (unsigned t = 0; t < tokens.count; t++) {
            for (size_t w = words; w < request.count && words > 0; w++) {
                tokens.drawn[t] |= is_word(&request.items[w], tokens.texts[t]);
            }
        }
        arena_reset(&arena);
    }
    const char *missing = right > TRIES / RIGHT_ONES ? NULL : "with as many words as it takes";
    for (unsigned t = 0; t < tokens.count && missing == NULL; t++) {
        missing = tokens.drawn[t] ? NULL : tokens.texts[t];
    }
    text_fini(&out);
    arena_fini(&arena);
    return missing;
}

Test(draw, knows_every_command_and_option) {
    struct command_table *table = make_table();
    unsigned drawn = 0, missing = 0;
    for (unsigned id = 0; id < command_table_count(table); id++) {
        const struct command_ref *ref = command_table_at(table, id);
        if (ref->row->run == NULL) {
            cr_expect_gt(ref->subcommands_count, 0, "%s does not run", ref->full_name);
            continue;
        }
        if (draw_leaves_out(ref->full_name)) {
            continue;
        }
        const char *why = undrawn(table, ref);
        cr_expect_null(why, "%s is never drawn: %s", ref->full_name, why);
        missing += why != NULL;
        drawn++;
    }
    cr_assert_eq(missing, 0);
    cr_assert_gt(drawn, 200);
    command_table_free(table);
}

Test(draw, leaves_nothing_out_that_is_not_there) {
    struct command_table *table = make_table();
    for (const struct draw_left_out *row = draw_left_out; row->name != NULL; row++) {
        bool found = false;
        for (unsigned id = 0; id < command_table_count(table); id++) {
            found |= strcmp(command_table_at(table, id)->full_name, row->name) == 0;
        }
        cr_expect(found, "%s", row->name);
    }
    command_table_free(table);
}

static void run(struct exec *x) {
}

static const struct command_arg args[] = {{.name = "seconds", .type = ARG_INTEGER}, {.name = NULL}};

/* What the first test would say of a row whose arguments nobody has written down. */
Test(draw, a_row_that_does_not_tell_what_it_takes_is_seen) {
    const struct command rows[] = {
        {.name = "silent", .run = run, .arity = 2, .place = PLACE_SELF},
        {.name = "telling", .run = run, .arity = 2, .place = PLACE_SELF, .args = args},
        {.name = NULL},
    };
    const struct command *const families[] = {rows, NULL};
    int error;
    struct bytes bad;
    struct command_table *table = command_table_new(families, NULL, 0, &error, &bad);
    const struct command_ref *silent = command_table_find(table, BYTES("silent"));
    const struct command_ref *telling = command_table_find(table, BYTES("telling"));
    cr_assert_not_null(undrawn(table, silent));
    cr_assert_null(undrawn(table, telling));
    command_table_free(table);
}
