/* SPDX-License-Identifier: BSD-3-Clause */
/* main: shoal-check, the program that looks at data on disk, repairs it, and takes it elsewhere,
 * while no server has it open.
 */
#include "net/rt.h"
#include "server/check/run.h"
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(void) {
    puts(
        "Usage: shoal-check show DIR\n"
        "       shoal-check verify DIR|FILE\n"
        "       shoal-check repair DIR [--yes]\n"
        "       shoal-check restore DIR NEWDIR --to TIME|NUMBER\n"
        "       shoal-check export DIR FILE.rdb\n"
        "       shoal-check import FILE.rdb DIR [--shards N]\n"
        "       shoal-check records DIR [--resp]\n"
        "       shoal-check -h, --help | -v, --version\n"
        "\n"
        "Looks at data that no server has open. DIR is the `dir` of a Shoal server, or the\n"
        "directory in it that has shoal.manifest.\n"
        "\n"
        "  show     what it holds: files, keys by type, numbers and times of the log, and what a\n"
        "           start would take of it and drop\n"
        "  verify   reads everything and says what is wrong, with file and byte; also an RDB "
        "file,\n"
        "           and the AOF of Redis or Valkey\n"
        "  repair   cuts a damaged log to the longest prefix that is whole. Says what that loses;\n"
        "           with --yes does it, and keeps what was there in DIR/removed-...\n"
        "  restore  a copy as of a time (2026-11-26T23:15:00Z, UTC; or @ and Unix seconds) or of "
        "a\n"
        "           number of the log, for a server whose `dir` is NEWDIR\n"
        "  export   one RDB file that Redis 7.0 and Valkey load\n"
        "  import   an RDB file as data for a new server whose `dir` is DIR, in N files\n"
        "  records  all of it as commands, one a line; with --resp as `redis-cli --pipe` takes "
        "them\n"
        "\n"
        "Exit codes: 0 all is fine, 1 the data is wrong, 2 it could not be done.");
}

struct command_word {
    const char *word;
    enum check_code (*does)(struct check_run *run);
    int paths;
    const char *options; /* first letters of those it has */
};

static const struct command_word command_words[] = {
    {"show", check_show, 1, ""},        {"verify", check_verify, 1, ""},
    {"repair", check_repair, 1, "y"},   {"restore", check_restore, 2, "t"},
    {"export", check_export, 2, ""},    {"import", check_import, 2, "s"},
    {"records", check_records, 1, "r"},
};

static int bad_usage(const char *what, const char *word) {
    fprintf(stderr, "shoal-check: %s%s (shoal-check --help)\n", what, word);
    return CHECK_FAILED;
}

/* Behind the command. False: it makes no sense, which was said. */
static bool read_words(int argc, char **argv, const struct command_word *command,
                       struct check_run *run) {
    int paths = 0;
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        bool option = strncmp(word, "--", 2) == 0;
        bool known = option && word[2] != 0 && strchr(command->options, word[2]) != NULL;
        if (!option && paths < command->paths) {
            run->paths[paths++] = word;
        } else if (known && strcmp(word, "--yes") == 0) {
            run->yes = true;
        } else if (known && strcmp(word, "--resp") == 0) {
            run->resp = true;
        } else if (known && strcmp(word, "--to") == 0 && i + 1 < argc) {
            run->to = argv[++i];
        } else if (known && strcmp(word, "--shards") == 0 && i + 1 < argc) {
            char *end;
            unsigned long n = strtoul(argv[++i], &end, 10);
            if (*end != 0 || n < 1 || n > MANIFEST_SHARDS_MAX) {
                bad_usage("--shards is a number from 1 to 1024, not ", argv[i]);
                return false;
            }
            run->shards = (uint32_t)n;
        } else {
            bad_usage("what is this: ", word);
            return false;
        }
    }
    if (paths < command->paths) {
        bad_usage("a path is missing behind ", command->word);
        return false;
    }
    if (command->does == check_restore && run->to == NULL) {
        bad_usage("--to is missing: up to which time or number?", "");
        return false;
    }
    return true;
}

static const struct command_word *find_command(const char *word) {
    for (size_t i = 0; i < sizeof command_words / sizeof command_words[0]; i++) {
        if (strcmp(word, command_words[i].word) == 0) {
            return &command_words[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        print_help();
        return CHECK_FINE;
    }
    if (argc > 1 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)) {
        printf("shoal-check %s\n", SHOAL_VERSION);
        return CHECK_FINE;
    }
    const struct command_word *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (command == NULL) {
        return argc > 1 ? bad_usage("there is no command ", argv[1])
                        : bad_usage("what is to be done?", "");
    }
    struct check_run run = {.fs = fs_real(), .now_ms = rt_wall_us_early() / 1000};
    if (!read_words(argc, argv, command, &run)) {
        return CHECK_FAILED;
    }
    text_init(&run.out);
    text_init(&run.error);
    text_init(&run.why);
    enum check_code code = command->does(&run);
    if (!check_flush(&run) && code == CHECK_FINE) {
        text_append_text(&run.error, "standard output is closed");
        code = CHECK_FAILED;
    }
    if (run.error.len > 0) {
        fprintf(stderr, "shoal-check: %s\n", run.error.ptr);
    }
    text_fini(&run.out);
    text_fini(&run.error);
    text_fini(&run.why);
    return (int)code;
}
