/* SPDX-License-Identifier: BSD-3-Clause */
/* A broken server breaks ten thousand operations in the same way, and one example that can be read
 * is worth more than all of them: so findings are counted by name and the first few are told.
 */
#include "test/checker/verdict.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdlib.h>

#define TOKENS_SHOWN 12 /* of a list: the last ones, where the trouble is */

void verdict_init(struct verdict *verdict) {
    *verdict = (struct verdict){0};
}

void verdict_fini(struct verdict *verdict) {
    for (size_t i = 0; i < verdict->name_count; i++) {
        for (size_t j = 0; j < VERDICT_KEPT_PER_NAME; j++) {
            free(verdict->anomalies[i].texts[j]);
        }
    }
    *verdict = (struct verdict){0};
}

static struct anomaly *find(const struct verdict *verdict, const char *name) {
    for (size_t i = 0; i < verdict->name_count; i++) {
        if (strcmp(verdict->anomalies[i].name, name) == 0) {
            return (struct anomaly *)&verdict->anomalies[i];
        }
    }
    return NULL;
}

void verdict_take(struct verdict *verdict, const char *name, struct text *text) {
    struct anomaly *anomaly = find(verdict, name);
    if (anomaly == NULL) {
        check(verdict->name_count < VERDICT_NAMES_MAX);
        anomaly = &verdict->anomalies[verdict->name_count++];
        *anomaly = (struct anomaly){.name = name};
    }
    if (anomaly->count < VERDICT_KEPT_PER_NAME) {
        anomaly->texts[anomaly->count] = text_take(text);
    }
    anomaly->count++;
    text_clear(text);
}

bool verdict_wants(const struct verdict *verdict, const char *name) {
    const struct anomaly *anomaly = find(verdict, name);
    return anomaly == NULL || anomaly->count < VERDICT_KEPT_PER_NAME;
}

size_t verdict_count(const struct verdict *verdict, const char *name) {
    if (name != NULL) {
        const struct anomaly *anomaly = find(verdict, name);
        return anomaly != NULL ? anomaly->count : 0;
    }
    size_t count = 0;
    for (size_t i = 0; i < verdict->name_count; i++) {
        count += verdict->anomalies[i].count;
    }
    return count;
}

void verdict_print(const struct verdict *verdict, FILE *out) {
    for (size_t i = 0; i < verdict->name_count; i++) {
        const struct anomaly *anomaly = &verdict->anomalies[i];
        fprintf(out, "ANOMALY %s: %zu found\n", anomaly->name, anomaly->count);
        for (size_t j = 0; j < VERDICT_KEPT_PER_NAME && j < anomaly->count; j++) {
            fprintf(out, "%s", anomaly->texts[j]);
        }
    }
}

static void describe_list(struct text *text, const struct history *history,
                          const struct step *step) {
    size_t skipped = step->token_count > TOKENS_SHOWN ? step->token_count - TOKENS_SHOWN : 0;
    text_append_text(text, "[");
    if (skipped > 0) {
        text_appendf(text, "%zu more ..", skipped);
    }
    for (size_t i = skipped; i < step->token_count; i++) {
        text_appendf(text, "%s%" PRIu64, i ? " " : "", history->tokens[step->token_first + i]);
    }
    text_append_text(text, "]");
}

static void describe_step(struct text *text, const struct history *history, const struct step *step,
                          bool answered) {
    const char *key = history_key_name(history, step->key);
    switch (step->kind) {
    case STEP_WRITE:
        text_appendf(text, "wrote %s = %" PRIu64, key, step->value);
        return;
    case STEP_READ:
        text_appendf(text, answered && step->value == 0 ? "read %s = nil" : "read %s", key);
        if (answered && step->value != 0) {
            text_appendf(text, " = %" PRIu64, step->value);
        }
        return;
    case STEP_APPEND:
        text_appendf(text, "appended %" PRIu64 " to %s", step->value, key);
        if (answered && step->place != 0) {
            text_appendf(text, " as its number %" PRIu64, step->place);
        }
        return;
    case STEP_READ_LIST:
        text_appendf(text, "read %s", key);
        if (answered) {
            text_append_text(text, " = ");
            describe_list(text, history, step);
        }
        return;
    case STEP_INCR:
        text_appendf(text, "incremented %s", key);
        if (answered && step->value != 0) {
            text_appendf(text, " to %" PRIu64, step->value);
        }
        return;
    case STEP_READ_COUNTER:
        text_appendf(text, "read %s", key);
        if (answered) {
            text_appendf(text, " = %" PRIu64, step->value);
        }
        return;
    }
}

void verdict_describe(struct text *text, const struct history *history, const char *title,
                      size_t op_number) {
    const struct op *op = &history->ops[op_number];
    text_appendf(text, "    %s: %s of process %" PRIu64 ", %.3f to ", title, op->label, op->process,
                 (double)op->call_ns / 1e3);
    if (op->outcome == OP_UNKNOWN) {
        text_append_text(text, "? us (outcome unknown)");
    } else {
        text_appendf(text, "%.3f us%s", (double)op->return_ns / 1e3,
                     op->outcome == OP_FAIL ? " (failed)" : "");
    }
    for (size_t i = 0; i < op->step_count; i++) {
        text_append_text(text, i ? ", " : ": ");
        describe_step(text, history, &history->steps[op->step_first + i], op->outcome == OP_OK);
    }
    text_append_text(text, "\n");
}

void verdict_add(struct verdict *verdict, const char *name, const struct history *history,
                 const size_t *ops, size_t op_count, const char *what, ...) {
    struct text text;
    text_init(&text);
    if (verdict_wants(verdict, name)) {
        va_list args;
        va_start(args, what);
        text_append_text(&text, "  ");
        text_vappendf(&text, what, args);
        va_end(args);
        text_append_text(&text, "\n");
        for (size_t i = 0; i < op_count; i++) {
            bool told = false;
            for (size_t j = 0; j < i; j++) {
                told |= ops[j] == ops[i];
            }
            if (!told) {
                char title[24];
                snprintf(title, sizeof(title), "T%zu", i + 1);
                verdict_describe(&text, history, title, ops[i]);
            }
        }
    }
    verdict_take(verdict, name, &text);
    text_fini(&text);
}
