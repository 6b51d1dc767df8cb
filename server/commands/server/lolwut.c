/* SPDX-License-Identifier: BSD-3-Clause */
/* lolwut: a picture. A shoal of fish, drawn anew each time.
 */
#include "base/num.h"
#include "base/random.h"
#include "base/text.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/server/server_commands.h"
#include "server/worker/view.h"

#define COLUMNS     78
#define ROWS        14
#define COLUMNS_MAX 160
#define ROWS_MAX    80
#define CELLS       (COLUMNS * ROWS) /* that hold FISH and BUBBLES */
#define FISH        16
#define BUBBLES     24

struct fish_shape {
    const char *right, *left;
};

static const struct fish_shape shapes[] = {
    {"><>", "<><"}, {"><((o>", "<o))><"}, {"><(((*>", "<*)))><"},
    {">=>", "<=<"}, {">-=>", "<=-<"},     {"}>=o>", "<o=<{"},
};

struct canvas {
    size_t columns, rows;
    char cells[ROWS_MAX][COLUMNS_MAX];
};

/* About as many in every part of a canvas, however large it is. */
static size_t how_many(const struct canvas *canvas, size_t usual) {
    return (usual * canvas->columns * canvas->rows + CELLS - 1) / CELLS;
}

static void draw(struct canvas *canvas, struct rng *rng) {
    size_t columns = canvas->columns, rows = canvas->rows;
    memset(canvas->cells, ' ', sizeof(canvas->cells));
    for (size_t i = how_many(canvas, BUBBLES); i > 0; i--) { /* they rise */
        size_t x = rng_below(rng, columns);
        for (size_t y = rng_below(rng, rows); y > 0 && rng_below(rng, 3) != 0; y--) {
            canvas->cells[y][x] = "oO."[rng_below(rng, 3)];
            x += x + 1 < columns ? rng_below(rng, 2) : 0;
        }
    }
    bool to_right = rng_below(rng, 2) == 0; /* a shoal swims one way */
    for (size_t i = how_many(canvas, FISH); i > 0; i--) {
        const struct fish_shape *shape =
            &shapes[rng_below(rng, sizeof(shapes) / sizeof(shapes[0]))];
        const char *text = to_right ? shape->right : shape->left;
        size_t n = strlen(text);
        if (n < columns && rows > 2) {
            memcpy(canvas->cells[1 + rng_below(rng, rows - 2)] + rng_below(rng, columns - n), text,
                   n);
        }
    }
    for (size_t x = 0; x < columns; x++) {
        canvas->cells[0][x] = rng_below(rng, 4) == 0 ? '^' : '~';
        canvas->cells[rows - 1][x] = rng_below(rng, 9) == 0 ? '|' : '_';
    }
}

/* ---- Arguments: each version of the original drew another picture from others ---- */

/* Whole numbers from argv[first] on, `max` of them at most; what follows is nobody's business. */
static bool numbers_parse(const struct exec *x, uint32_t first, uint32_t max, int64_t *ret) {
    for (uint32_t i = 0; i < max && first + i < x->argc; i++) {
        if (!exec_arg_i64(x, first + i, &ret[i])) {
            return false;
        }
    }
    return true;
}

static size_t clamp(int64_t n, size_t max) {
    return n < 1 ? 1 : n > (int64_t)max ? max : (size_t)n;
}

/* As 9 does: columns and rows, and a complex number, which no fish needs. */
static bool size_parse(const struct exec *x, uint32_t first, struct canvas *canvas) {
    uint32_t n = x->argc - first;
    int64_t size[2] = {COLUMNS, ROWS};
    if (n != 0 && n != 2 && n != 4) {
        reply_error(x->reply, "ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]");
        return false;
    }
    if (!numbers_parse(x, first, 2, size)) {
        return false;
    }
    for (uint32_t i = first + 2; i < x->argc; i++) {
        double unused;
        if (!num_parse_double(x->argv[i], &unused)) {
            reply_error(x->reply, ERR_NOT_FLOAT);
            return false;
        }
    }
    canvas->columns = clamp(size[0], COLUMNS_MAX);
    canvas->rows = clamp(size[1], ROWS_MAX);
    return true;
}

void command_lolwut(struct exec *x) {
    int64_t version = 9, unused[3];
    uint32_t first = 1;
    if (x->argc >= 3 && bytes_is(x->argv[1], "version")) {
        if (!exec_arg_i64(x, 2, &version)) {
            return;
        }
        first = 3;
    }
    char name[NUM_I64_BYTES]; /* the first digit tells */
    version = (uint32_t)version;
    num_format_u64(name, (uint64_t)version);
    struct canvas canvas = {.columns = COLUMNS, .rows = ROWS};
    bool pictured = true;
    if (name[0] == '9') {
        if (!size_parse(x, first, &canvas)) {
            return;
        }
    } else if (version == 5 || version == 6) {
        if (!numbers_parse(x, first, version == 5 ? 3 : 2, unused)) {
            return;
        }
    } else {
        pictured = false;
    }
    struct text text;
    text_init(&text);
    if (pictured) {
        draw(&canvas, worker_rng(x->worker));
        for (size_t y = 0; y < canvas.rows; y++) {
            text_append(&text, canvas.cells[y], canvas.columns);
            text_append_char(&text, '\n');
        }
        text_append_char(&text, '\n');
    }
    text_append_text(&text, "Shoal ver. " SHOAL_VERSION "\n");
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
}
