/* SPDX-License-Identifier: BSD-3-Clause */
/* lolwut: a picture. A shoal of fish, drawn anew each time.
 */
#include "base/num.h"
#include "base/text.h"
#include "server/commands/server_commands.h"
#include "server/errors.h"
#include "server/worker.h"

#define COLUMNS 78
#define ROWS    14
#define FISH    16

struct fish_shape {
    const char *right, *left;
};

static const struct fish_shape shapes[] = {
    {"><>", "<><"}, {"><((o>", "<o))><"}, {"><(((*>", "<*)))><"},
    {">=>", "<=<"}, {">-=>", "<=-<"},     {"}>=o>", "<o=<{"},
};

static void draw(char canvas[ROWS][COLUMNS], struct rng *rng) {
    memset(canvas, ' ', ROWS * COLUMNS);
    for (int i = 0; i < 24; i++) { /* bubbles rise */
        size_t x = rng_below(rng, COLUMNS);
        for (size_t y = rng_below(rng, ROWS); y > 0 && rng_below(rng, 3) != 0; y--) {
            canvas[y][x] = "oO."[rng_below(rng, 3)];
            x += x + 1 < COLUMNS ? rng_below(rng, 2) : 0;
        }
    }
    bool to_right = rng_below(rng, 2) == 0; /* a shoal swims one way */
    for (int i = 0; i < FISH; i++) {
        const struct fish_shape *shape =
            &shapes[rng_below(rng, sizeof(shapes) / sizeof(shapes[0]))];
        const char *text = to_right ? shape->right : shape->left;
        size_t n = strlen(text);
        memcpy(canvas[1 + rng_below(rng, ROWS - 2)] + rng_below(rng, COLUMNS - n), text, n);
    }
    for (size_t x = 0; x < COLUMNS; x++) {
        canvas[0][x] = rng_below(rng, 4) == 0 ? '^' : '~';
        canvas[ROWS - 1][x] = rng_below(rng, 9) == 0 ? '|' : '_';
    }
}

void command_lolwut(struct exec *x) {
    int64_t version;
    if (x->argc >= 3 && bytes_is(x->argv[1], "version") && !num_parse_i64(x->argv[2], &version)) {
        reply_error(x->reply, ERR_NOT_INTEGER);
        return;
    }
    char canvas[ROWS][COLUMNS];
    draw(canvas, &x->worker->rng);
    struct text text;
    text_init(&text);
    for (int y = 0; y < ROWS; y++) {
        text_append(&text, canvas[y], COLUMNS);
        text_append_char(&text, '\n');
    }
    text_append_text(&text, "\nShoal ver. " SHOAL_VERSION "\n");
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
}
