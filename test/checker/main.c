/* SPDX-License-Identifier: BSD-3-Clause */
/* checker FILE...: checks the history that the files together tell ("-" is standard input).
 *
 * Prints what is wrong and ends with one line of totals. Exit status 0: nothing found, 1: something
 * found, 2: a file cannot be read.
 */
#include "test/checker/checker.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The whole file, or -errno. */
static int read_file(const char *path, struct text *text) {
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (in == NULL) {
        return -errno;
    }
    char buf[65536];
    size_t n;
    while ((n = fread(buf, 1, sizeof(buf), in)) > 0) {
        text_append(text, buf, n);
    }
    int failed = ferror(in);
    if (in != stdin) {
        fclose(in);
    }
    return failed ? -EIO : 0;
}

static int load(struct history *history, const char *path) {
    struct text text;
    text_init(&text);
    size_t line = 0;
    int rc = read_file(path, &text);
    if (rc != 0) {
        fprintf(stderr, "checker: %s: %s\n", path, strerror(-rc));
    } else if ((rc = history_parse(history, text_bytes(&text), &line)) != 0) {
        fprintf(stderr, "checker: %s:%zu: not a line of a history\n", path, line);
    }
    text_fini(&text);
    return rc;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: checker FILE...\n");
        return 2;
    }
    struct history history;
    history_init(&history);
    for (int i = 1; i < argc; i++) {
        if (load(&history, argv[i]) != 0) {
            return 2;
        }
    }
    struct verdict verdict;
    verdict_init(&verdict);
    double began = seconds();
    bool good = checker_check(&history, &verdict);
    double took = seconds() - began;
    size_t outcomes[3] = {0};
    for (size_t i = 0; i < history.op_count; i++) {
        outcomes[history.ops[i].outcome]++;
    }
    verdict_print(&verdict, stdout);
    printf("checked %zu operations on %zu keys (%zu ok, %zu failed, %zu unknown) in %.3f s: ",
           history.op_count, history_key_count(&history), outcomes[OP_OK], outcomes[OP_FAIL],
           outcomes[OP_UNKNOWN], took);
    printf(good ? "no anomaly\n" : "%zu anomalies\n", verdict_count(&verdict, NULL));
    verdict_fini(&verdict);
    history_fini(&history);
    return good ? 0 : 1;
}
