/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations, steps and tokens lie in three arrays that only grow, and refer to each other by
 * number: a history is built, checked and cleared thousands of times a minute. Key names are found
 * through an open-addressing table of their numbers.
 */
#include "test/checker/history.h"

#include "base/check.h"
#include "test/checker/grow.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* ---- Keys ---------------------------------------------------------------------------------- */

struct key_row {
    char *name;
    size_t len;
    enum key_kind kind;
};

struct history_keys {
    struct key_row *rows;
    size_t count;
    size_t cap;
    uint32_t *slots; /* key + 1, 0 is free; a power of two, at most half full */
    size_t slot_count;
};

/* FNV-1a: names are ours, so nobody aims for collisions. */
static size_t name_hash(struct bytes name) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ (unsigned char)name.ptr[i]) * 0x100000001b3u;
    }
    return (size_t)(hash ^ hash >> 32);
}

/* Where the name is, or the free slot where it would be. */
static size_t keys_slot(const struct history_keys *keys, struct bytes name) {
    size_t at = name_hash(name) & (keys->slot_count - 1);
    while (keys->slots[at] != 0) {
        const struct key_row *row = &keys->rows[keys->slots[at] - 1];
        if (bytes_equal(bytes_make(row->name, row->len), name)) {
            break;
        }
        at = (at + 1) & (keys->slot_count - 1);
    }
    return at;
}

static void keys_rehash(struct history_keys *keys) {
    keys->slot_count = keys->slot_count ? keys->slot_count * 2 : 128;
    free(keys->slots);
    keys->slots = calloc(keys->slot_count, sizeof(*keys->slots));
    check(keys->slots != NULL);
    for (size_t i = 0; i < keys->count; i++) {
        size_t at = keys_slot(keys, bytes_make(keys->rows[i].name, keys->rows[i].len));
        keys->slots[at] = (uint32_t)i + 1;
    }
}

static void keys_clear(struct history_keys *keys) {
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->rows[i].name);
    }
    keys->count = 0;
    memset(keys->slots, 0, keys->slot_count * sizeof(*keys->slots));
}

uint32_t history_key(struct history *history, struct bytes name) {
    struct history_keys *keys = history->keys;
    size_t at = keys_slot(keys, name);
    if (keys->slots[at] != 0) {
        return keys->slots[at] - 1;
    }
    if (keys->count == keys->cap) {
        keys->rows = grow(keys->rows, &keys->cap, sizeof(*keys->rows));
    }
    char *copy = malloc(name.len + 1);
    check(copy != NULL);
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    uint32_t key = (uint32_t)keys->count++;
    keys->rows[key] = (struct key_row){copy, name.len, KEY_UNUSED};
    keys->slots[at] = key + 1;
    if (keys->count * 2 > keys->slot_count) {
        keys_rehash(keys);
    }
    return key;
}

const char *history_key_name(const struct history *history, uint32_t key) {
    check(key < history->keys->count);
    return history->keys->rows[key].name;
}

size_t history_key_count(const struct history *history) {
    return history->keys->count;
}

enum key_kind history_key_kind(const struct history *history, uint32_t key) {
    check(key < history->keys->count);
    return history->keys->rows[key].kind;
}

static enum key_kind kind_of_step(enum step_kind kind) {
    switch (kind) {
    case STEP_WRITE:
    case STEP_READ:
        return KEY_REGISTER;
    case STEP_APPEND:
    case STEP_READ_LIST:
        return KEY_LIST;
    case STEP_INCR:
    case STEP_READ_COUNTER:
        return KEY_COUNTER;
    }
    return KEY_UNUSED;
}

/* ---- Building ------------------------------------------------------------------------------ */

void history_init(struct history *history) {
    *history = (struct history){0};
    history->keys = calloc(1, sizeof(*history->keys));
    check(history->keys != NULL);
    keys_rehash(history->keys);
}

void history_fini(struct history *history) {
    keys_clear(history->keys);
    free(history->keys->rows);
    free(history->keys->slots);
    free(history->keys);
    free(history->ops);
    free(history->steps);
    free(history->tokens);
    *history = (struct history){0};
}

void history_clear(struct history *history) {
    keys_clear(history->keys);
    history->op_count = 0;
    history->step_count = 0;
    history->token_count = 0;
}

void history_op(struct history *history, uint64_t process, const char *label, int64_t call_ns,
                int64_t return_ns, enum op_outcome outcome) {
    if (history->op_count == history->op_cap) {
        history->ops = grow(history->ops, &history->op_cap, sizeof(*history->ops));
    }
    struct op *op = &history->ops[history->op_count++];
    *op = (struct op){.process = process,
                      .call_ns = call_ns,
                      .return_ns = outcome == OP_UNKNOWN ? OP_NEVER_RETURN : return_ns,
                      .outcome = outcome,
                      .step_first = history->step_count};
    snprintf(op->label, sizeof(op->label), "%s", label);
    check(op->call_ns <= op->return_ns);
}

static struct step *add_step(struct history *history, enum step_kind kind, uint32_t key,
                             uint64_t value) {
    check(history->op_count > 0);
    check(key < history->keys->count);
    if (history->step_count == history->step_cap) {
        history->steps = grow(history->steps, &history->step_cap, sizeof(*history->steps));
    }
    struct step *step = &history->steps[history->step_count++];
    *step = (struct step){.kind = kind, .key = key, .value = value};
    history->ops[history->op_count - 1].step_count++;
    enum key_kind *key_kind = &history->keys->rows[key].kind;
    if (*key_kind == KEY_UNUSED) {
        *key_kind = kind_of_step(kind);
    } else if (*key_kind != kind_of_step(kind)) {
        *key_kind = KEY_MIXED;
    }
    return step;
}

void history_step(struct history *history, enum step_kind kind, uint32_t key, uint64_t value) {
    check(kind != STEP_APPEND && kind != STEP_READ_LIST);
    check(kind != STEP_WRITE || value != 0);
    add_step(history, kind, key, value);
}

void history_append(struct history *history, uint32_t key, uint64_t token, uint64_t place) {
    add_step(history, STEP_APPEND, key, token)->place = place;
}

static void add_token(struct history *history, uint64_t token) {
    if (history->token_count == history->token_cap) {
        history->tokens = grow(history->tokens, &history->token_cap, sizeof(*history->tokens));
    }
    history->tokens[history->token_count++] = token;
}

void history_read_list(struct history *history, uint32_t key, const uint64_t *tokens,
                       size_t count) {
    struct step *step = add_step(history, STEP_READ_LIST, key, 0);
    step->token_first = history->token_count;
    step->token_count = count;
    for (size_t i = 0; i < count; i++) {
        add_token(history, tokens[i]);
    }
}

/* ---- Text form ----------------------------------------------------------------------------- */

static void print_step(const struct history *history, const struct step *step, FILE *out) {
    const char *name = history_key_name(history, step->key);
    static const char letters[] = {'w', 'r', 'a', 'l', 'i', 'c'};
    fprintf(out, " %c:%s=", letters[step->kind], name);
    if (step->kind == STEP_READ_LIST) {
        for (size_t i = 0; i < step->token_count; i++) {
            fprintf(out, "%s%llu", i ? "," : "",
                    (unsigned long long)history->tokens[step->token_first + i]);
        }
    } else if (step->kind == STEP_READ && step->value == 0) {
        fputs("nil", out);
    } else if (step->kind == STEP_INCR && step->value == 0) {
        fputs("?", out);
    } else {
        fprintf(out, "%llu", (unsigned long long)step->value);
    }
    if (step->place != 0) {
        fprintf(out, "@%llu", (unsigned long long)step->place);
    }
}

static void print_steps(const struct history *history, const struct op *op, FILE *out) {
    for (size_t i = 0; i < op->step_count; i++) {
        print_step(history, &history->steps[op->step_first + i], out);
    }
    fputc('\n', out);
}

/* The answer follows its call at once: each process's calls and answers still pair up in order. */
void history_print(const struct history *history, FILE *out) {
    if (history->order != HISTORY_RELAXED) {
        fputs(history->order == HISTORY_STRICT ? "! strict\n" : "! writes\n", out);
    }
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        unsigned long long process = op->process;
        fprintf(out, "> %llu %lld %s", process, (long long)op->call_ns, op->label);
        print_steps(history, op, out);
        if (op->outcome == OP_UNKNOWN) {
            fprintf(out, "< %llu %lld unknown\n", process, (long long)op->call_ns);
        } else if (op->outcome == OP_FAIL) {
            fprintf(out, "< %llu %lld fail\n", process, (long long)op->return_ns);
        } else {
            fprintf(out, "< %llu %lld ok", process, (long long)op->return_ns);
            print_steps(history, op, out);
        }
    }
}

/* A call of the text that waits for its answer. */
struct open_call {
    uint64_t process;
    uint64_t order; /* among all calls of the text */
    int64_t call_ns;
    struct bytes label;
    struct bytes steps;
};

/* An answer, or `present` false: nothing is known. */
struct answer {
    uint64_t process;
    uint64_t order;
    int64_t return_ns;
    enum op_outcome outcome;
    struct bytes steps;
};

static struct bytes next_word(struct bytes *line) {
    while (line->len > 0 && line->ptr[0] == ' ') {
        line->ptr++;
        line->len--;
    }
    size_t n = 0;
    while (n < line->len && line->ptr[n] != ' ') {
        n++;
    }
    struct bytes word = bytes_make(line->ptr, n);
    line->ptr += n;
    line->len -= n;
    return word;
}

static bool read_number(struct bytes *text, uint64_t *ret) {
    size_t n = 0;
    uint64_t value = 0;
    while (n < text->len && text->ptr[n] >= '0' && text->ptr[n] <= '9') {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text->ptr[n] - '0'), &value)) {
            return false;
        }
        n++;
    }
    if (n == 0) {
        return false;
    }
    text->ptr += n;
    text->len -= n;
    *ret = value;
    return true;
}

static bool whole_number(struct bytes word, uint64_t *ret) {
    return read_number(&word, ret) && word.len == 0;
}

static bool parse_time(struct bytes word, int64_t *ret) {
    uint64_t value;
    if (!whole_number(word, &value) || value >= OP_NEVER_RETURN) {
        return false;
    }
    *ret = (int64_t)value;
    return true;
}

static bool parse_list(struct history *history, uint32_t key, struct bytes value) {
    struct step *step = add_step(history, STEP_READ_LIST, key, 0);
    step->token_first = history->token_count;
    while (value.len > 0) {
        uint64_t token;
        if (!read_number(&value, &token)) {
            return false;
        }
        add_token(history, token);
        step->token_count++;
        if (value.len > 0 && value.ptr[0] == ',') {
            value.ptr++;
            value.len--;
        } else if (value.len > 0) {
            return false;
        }
    }
    return true;
}

static bool parse_append(struct history *history, uint32_t key, struct bytes value) {
    uint64_t token, place = 0;
    if (!read_number(&value, &token)) {
        return false;
    }
    if (value.len > 0 && value.ptr[0] == '@') {
        value.ptr++;
        value.len--;
        if (!read_number(&value, &place) || place == 0) {
            return false;
        }
    }
    history_append(history, key, token, place);
    return value.len == 0;
}

static bool parse_step(struct history *history, struct bytes word) {
    if (word.len < 4 || word.ptr[1] != ':') {
        return false;
    }
    const char *equals = memchr(word.ptr, '=', word.len);
    if (equals == NULL || equals == word.ptr + 2) {
        return false;
    }
    uint32_t key = history_key(history, bytes_make(word.ptr + 2, (size_t)(equals - word.ptr) - 2));
    struct bytes value = bytes_make(equals + 1, word.len - (size_t)(equals + 1 - word.ptr));
    uint64_t number = 0;
    switch (word.ptr[0]) {
    case 'l':
        return parse_list(history, key, value);
    case 'a':
        return parse_append(history, key, value);
    case 'w':
        if (!whole_number(value, &number) || number == 0) {
            return false;
        }
        history_step(history, STEP_WRITE, key, number);
        return true;
    case 'r':
        if (!bytes_equal(value, BYTES("nil")) && (!whole_number(value, &number) || number == 0)) {
            return false;
        }
        history_step(history, STEP_READ, key, number);
        return true;
    case 'i':
        if (!bytes_equal(value, BYTES("?")) && (!whole_number(value, &number) || number == 0)) {
            return false;
        }
        history_step(history, STEP_INCR, key, number);
        return true;
    case 'c':
        if (!whole_number(value, &number)) {
            return false;
        }
        history_step(history, STEP_READ_COUNTER, key, number);
        return true;
    default:
        return false;
    }
}

struct parser {
    struct open_call *calls;
    size_t call_count;
    size_t call_cap;
    struct answer *answers;
    size_t answer_count;
    size_t answer_cap;
    enum history_order order;
};

static bool parse_call(struct parser *parser, struct bytes line) {
    if (parser->call_count == parser->call_cap) {
        parser->calls = grow(parser->calls, &parser->call_cap, sizeof(*parser->calls));
    }
    struct open_call *call = &parser->calls[parser->call_count];
    call->order = parser->call_count;
    if (!whole_number(next_word(&line), &call->process) ||
        !parse_time(next_word(&line), &call->call_ns)) {
        return false;
    }
    call->label = next_word(&line);
    call->steps = line;
    parser->call_count++;
    return call->label.len > 0;
}

static bool parse_answer(struct parser *parser, struct bytes line) {
    if (parser->answer_count == parser->answer_cap) {
        parser->answers = grow(parser->answers, &parser->answer_cap, sizeof(*parser->answers));
    }
    struct answer *answer = &parser->answers[parser->answer_count];
    answer->order = parser->answer_count;
    if (!whole_number(next_word(&line), &answer->process) ||
        !parse_time(next_word(&line), &answer->return_ns)) {
        return false;
    }
    struct bytes outcome = next_word(&line);
    if (bytes_equal(outcome, BYTES("ok"))) {
        answer->outcome = OP_OK;
    } else if (bytes_equal(outcome, BYTES("fail"))) {
        answer->outcome = OP_FAIL;
    } else if (bytes_equal(outcome, BYTES("unknown"))) {
        answer->outcome = OP_UNKNOWN;
    } else {
        return false;
    }
    answer->steps = line;
    parser->answer_count++;
    return true;
}

static int by_process_call(const void *a, const void *b) {
    const struct open_call *x = a, *y = b;
    if (x->process != y->process) {
        return x->process < y->process ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_process_answer(const void *a, const void *b) {
    const struct answer *x = a, *y = b;
    if (x->process != y->process) {
        return x->process < y->process ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

static bool add_parsed(struct history *history, const struct open_call *call,
                       const struct answer *answer) {
    char label[OP_LABEL_BYTES];
    snprintf(label, sizeof(label), "%.*s", (int)call->label.len, call->label.ptr);
    enum op_outcome outcome = answer != NULL ? answer->outcome : OP_UNKNOWN;
    int64_t return_ns = answer != NULL ? answer->return_ns : OP_NEVER_RETURN;
    if (return_ns < call->call_ns) {
        return false;
    }
    history_op(history, call->process, label, call->call_ns, return_ns, outcome);
    struct bytes steps = outcome == OP_OK ? answer->steps : call->steps;
    for (;;) {
        struct bytes word = next_word(&steps);
        if (word.len == 0) {
            return true;
        }
        if (!parse_step(history, word)) {
            return false;
        }
    }
}

/* The line of the text that `ptr` lies in, from 1. */
static size_t line_of(struct bytes text, const char *ptr) {
    size_t line = 1;
    for (const char *p = text.ptr; p < ptr; p++) {
        line += *p == '\n';
    }
    return line;
}

static bool parse_line(struct parser *parser, struct bytes line) {
    struct bytes rest = line;
    struct bytes mark = next_word(&rest);
    if (mark.len == 0 || mark.ptr[0] == '#') {
        return true;
    }
    if (bytes_equal(mark, BYTES("!"))) {
        struct bytes word = next_word(&rest);
        bool strict = bytes_equal(word, BYTES("strict"));
        parser->order = strict ? HISTORY_STRICT : HISTORY_WRITES;
        return strict || bytes_equal(word, BYTES("writes"));
    }
    if (bytes_equal(mark, BYTES(">"))) {
        return parse_call(parser, rest);
    }
    return bytes_equal(mark, BYTES("<")) && parse_answer(parser, rest);
}

/* Pairs answers with calls, process by process. Returns where it went wrong, or NULL. */
static const char *join(struct history *history, struct parser *parser) {
    if (parser->call_count > 0) {
        qsort(parser->calls, parser->call_count, sizeof(*parser->calls), by_process_call);
    }
    if (parser->answer_count > 0) {
        qsort(parser->answers, parser->answer_count, sizeof(*parser->answers), by_process_answer);
    }
    size_t next = 0;
    for (size_t i = 0; i < parser->call_count; i++) {
        const struct open_call *call = &parser->calls[i];
        const struct answer *answer = NULL;
        if (next < parser->answer_count && parser->answers[next].process <= call->process) {
            answer = &parser->answers[next++];
            if (answer->process != call->process) {
                return answer->steps.ptr;
            }
        }
        if (!add_parsed(history, call, answer)) {
            return call->label.ptr;
        }
    }
    return next < parser->answer_count ? parser->answers[next].steps.ptr : NULL;
}

int history_parse(struct history *history, struct bytes text, size_t *ret_line) {
    struct parser parser = {0};
    const char *wrong = NULL;
    size_t at = 0;
    while (at < text.len && wrong == NULL) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - text.ptr) - at : text.len - at;
        /* A client that was killed may have left half a line at the end of its file: a call that
         * was not yet sent, or an answer that nobody noted. */
        if (end != NULL && !parse_line(&parser, bytes_make(text.ptr + at, len))) {
            wrong = text.ptr + at;
        }
        at += len + 1;
    }
    if (wrong == NULL) {
        wrong = join(history, &parser);
    }
    history->order = parser.order > history->order ? parser.order : history->order;
    free(parser.calls);
    free(parser.answers);
    if (wrong != NULL) {
        *ret_line = line_of(text, wrong);
        return -EINVAL;
    }
    return 0;
}
