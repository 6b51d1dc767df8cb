/* SPDX-License-Identifier: BSD-3-Clause */
/* config_load: reads configuration files, standard input and the command line.
 *
 * All three are lines of one grammar: the command line is turned into lines first, one per --name,
 * its values quoted. So there is one reader, and an error names the line as Valkey would, with the
 * file where the line is not in the file that was asked for.
 *
 * A directive that is known but asks for what is not there yet is not refused here: a later line or
 * the command line may take it back. config_refusals looks at the result. What nothing can take
 * back (loadmodule, sentinel) is refused at its line.
 */
#include "server/config/config_row.h"

#include "base/check.h"
#include "base/quote.h"
#include "base/words.h"
#include "server/acl/acl.h"
#include "server/server.h"

#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

/* Deeper includes are a file that includes itself. */
#define INCLUDE_DEPTH_MAX 16

struct loader {
    const struct fs *fs;
    struct config *config;
    struct config_input in;
    struct text reason;
    struct text *err;
    bool save_seen;
    int depth; /* of includes */
};

static bool load_lines(struct loader *loader, const char *source, uint64_t lines_before,
                       struct bytes content);

/* ---- Errors ---- */

static void fail_line(struct loader *loader, const char *source, uint64_t number,
                      struct bytes line) {
    text_clear(loader->err);
    text_append_text(loader->err,
                     "\n*** FATAL CONFIG FILE ERROR (Version " SHOAL_VALKEY_VERSION ") ***\n");
    text_appendf(loader->err, "Reading the configuration file, at line %" PRIu64, number);
    if (source != NULL) {
        text_appendf(loader->err, " of '%s'", source);
    }
    text_append_text(loader->err, "\n>>> '");
    text_append_bytes(loader->err, line);
    text_appendf(loader->err, "'\n%s\n", loader->reason.ptr);
}

static void fail_open(struct loader *loader, const char *path, const char *reason) {
    text_clear(loader->err);
    text_appendf(loader->err, "Fatal error, can't open config file '%s': %s\n", path, reason);
}

/* ---- Directives that are not in the table ---- */

/* Names that older files hold and that mean nothing any more. */
static bool is_legacy(struct bytes name) {
    static const char *const names[] = {
        "list-max-ziplist-entries",
        "list-max-ziplist-value",
        "lua-replicate-commands",
        "io-threads-do-reads",
        "dynamic-hz",
        "events-per-io-thread",
        "sanitize-dump-payload",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (bytes_equal_nocase(name, bytes_of_text(names[i]))) {
            return true;
        }
    }
    return false;
}

/* Behind the words of a field that no directive has. */
static void add_word(struct config *config, size_t offset, struct bytes word) {
    struct config_row row = {.heap = HEAP_BYTES, .offset = offset};
    struct config_words before;
    struct text words;
    memcpy(&before, (char *)config + offset, sizeof before);
    text_init(&words);
    text_append(&words, before.ptr, before.len);
    text_append_bytes(&words, word);
    text_append_char(&words, 0);
    config_row_keep(&row, config, words.ptr, words.len);
    text_fini(&words);
}

/* What it is made of is seen later, by who knows the commands (acl_users_start): here only that its
 * parentheses are closed, and that it is not there yet. */
static bool add_user(struct loader *loader, const struct bytes *words, int count) {
    struct bytes *rules, bad;
    int merged = acl_merge_rules(words + 2, (uint32_t)count - 2, &rules, &bad);
    bool known = false;
    const char *user = NULL;
    for (size_t i = config_words_count(loader->config->users); i > 0; i--) {
        user = config_word(loader->config->users, user);
        struct bytes name = bytes_make(user, strcspn(user, " "));
        known |= bytes_equal(name, words[1]);
    }
    if (merged < 0 || known) {
        config_reason(&loader->in, "Error in user declaration '%s': %s", words[1].ptr,
                      merged < 0 ? "Wrong format" : acl_wrong_text(ACL_WRONG_DUPLICATE));
    } else {
        struct text line;
        text_init(&line);
        text_append_bytes(&line, words[1]);
        for (int i = 0; i < merged; i++) {
            text_append_char(&line, ' ');
            text_append_bytes(&line, rules[i]);
        }
        add_word(loader->config, offsetof(struct config, users), text_bytes(&line));
        text_fini(&line);
    }
    if (merged >= 0) {
        free(rules);
    }
    return merged >= 0 && !known;
}

static bool load_path(struct loader *loader, const char *path, bool optional);

static bool has_wildcard(const char *path) {
    return strpbrk(path, "*?[") != NULL;
}

static bool include(struct loader *loader, struct bytes pattern) {
    const struct fs *fs = loader->fs;
    char **names;
    bool ok = true;
    if (!has_wildcard(pattern.ptr)) {
        return load_path(loader, pattern.ptr, false);
    }
    int rc = fs->match(fs->arg, pattern.ptr, &names);
    if (rc < 0) {
        fail_open(loader, pattern.ptr, strerror(-rc));
        return false;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        ok = ok && load_path(loader, names[i], true);
        free(names[i]);
    }
    free(names);
    return ok;
}

enum line_result { LINE_OK, LINE_REFUSED, LINE_FAILED /* err is written already */ };

static enum line_result refuse(struct loader *loader, const char *reason) {
    config_reason(&loader->in, "%s", reason);
    return LINE_REFUSED;
}

static enum line_result read_other(struct loader *loader, const struct bytes *words, int count) {
    if (is_legacy(words[0]) && count == 2) {
        return LINE_OK;
    }
    if (bytes_is(words[0], "include") && count == 2) {
        return include(loader, words[1]) ? LINE_OK : LINE_FAILED;
    }
    if (bytes_is(words[0], "rename-command") && count == 3) {
        add_word(loader->config, offsetof(struct config, renames), words[1]);
        add_word(loader->config, offsetof(struct config, renames), words[2]);
        return LINE_OK;
    }
    if (bytes_is(words[0], "user") && count >= 2) {
        return add_user(loader, words, count) ? LINE_OK : LINE_REFUSED;
    }
    if (bytes_is(words[0], "loadmodule") && count >= 2) {
        return refuse(loader, "modules are not there yet in Shoal");
    }
    if (bytes_is(words[0], "sentinel")) {
        return refuse(loader, "sentinel directive while not in sentinel mode");
    }
    if (count >= 2 && memchr(words[0].ptr, '.', words[0].len) != NULL) {
        return refuse(loader, "Module Configuration detected without loadmodule directive: modules "
                              "are not there yet in Shoal");
    }
    return refuse(loader, "Bad directive or wrong number of arguments");
}

/* ---- Lines ---- */

static enum line_result read_words(struct loader *loader, const struct bytes *words, int count) {
    const struct config_row *row = config_row_find(words[0], NULL);
    if (row == NULL) {
        return read_other(loader, words, count);
    }
    /* One quoted text is as good as several words: save "900 1 300 10". */
    struct bytes *inner = NULL;
    int inner_count =
        count == 2 && (row->flags & ROW_MULTI) != 0 ? words_split(words[1], &inner) : -1;
    bool ok =
        inner_count >= 0
            ? config_row_parse(row, loader->config, inner, (size_t)inner_count, &loader->in)
            : config_row_parse(row, loader->config, words + 1, (size_t)count - 1, &loader->in);
    free(inner);
    return ok ? LINE_OK : LINE_REFUSED;
}

static enum line_result read_line(struct loader *loader, struct bytes line) {
    struct bytes *words;
    if (line.len == 0 || line.ptr[0] == '#') {
        return LINE_OK;
    }
    int count = words_split(line, &words);
    if (count < 0) {
        return refuse(loader, "Unbalanced quotes in configuration line");
    }
    enum line_result result = count == 0 ? LINE_OK : read_words(loader, words, count);
    free(words);
    return result;
}

/* source: named in errors, NULL for what Valkey does not name either. */
static bool load_lines(struct loader *loader, const char *source, uint64_t lines_before,
                       struct bytes content) {
    uint64_t number = lines_before;
    const char *end = content.ptr + content.len;
    for (const char *at = content.ptr; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        struct bytes line = bytes_trim(bytes_make(at, (size_t)(stop - at)));
        number++;
        enum line_result result = read_line(loader, line);
        if (result == LINE_REFUSED) {
            fail_line(loader, source, number, line);
        }
        if (result != LINE_OK) {
            return false;
        }
        at = stop + 1;
    }
    return true;
}

/* optional: a name that a pattern found may be gone again, or be a directory. */
static bool load_path(struct loader *loader, const char *path, bool optional) {
    const struct fs *fs = loader->fs;
    char *data;
    size_t len;
    if (loader->depth >= INCLUDE_DEPTH_MAX) {
        fail_open(loader, path, "too many files include each other");
        return false;
    }
    int rc = fs->read_all(fs->arg, path, &data, &len);
    if (rc < 0) {
        if (!optional) {
            fail_open(loader, path, strerror(-rc));
        }
        return optional;
    }
    loader->depth++;
    bool ok = load_lines(loader, path, 0, bytes_make(data, len));
    loader->depth--;
    free(data);
    return ok;
}

/* ---- The command line ---- */

static bool is_option(const char *arg) {
    return arg[0] == '-' && arg[1] == '-';
}

/* --save alone, or before another option, means: no snapshots. */
static bool is_lone_save(char **argv, int argc, int i) {
    return strcasecmp(argv[i], "--save") == 0 && (i + 1 == argc || is_option(argv[i + 1]));
}

/* A word that begins with -- is a name, unless the name before it still waits for its first value.
 */
static void options_to_lines(int argc, char **argv, int from, bool stdin_last, struct text *lines) {
    bool waits = false;
    for (int i = from; i < argc - stdin_last; i++) {
        if (!waits && is_option(argv[i])) {
            struct bytes *words;
            int count = words_split(bytes_of_text(argv[i]), &words);
            free(words);
            text_appendf(lines, "%s%s ", lines->len > 0 ? "\n" : "", argv[i] + 2);
            waits = count == 1 && !is_lone_save(argv, argc, i);
            if (is_lone_save(argv, argc, i)) {
                text_append_text(lines, "\"\"");
            }
        } else {
            quote_append(lines, bytes_of_text(argv[i]));
            text_append_char(lines, ' ');
            waits = false;
        }
    }
}

static uint64_t count_lines(struct bytes content) {
    uint64_t count = 0;
    for (size_t i = 0; i < content.len; i++) {
        count += content.ptr[i] == '\n';
    }
    return count;
}

/* path as the rest of the process can use it after `dir` has moved it. */
static int keep_config_file(struct loader *loader, const char *path) {
    static const struct config_row row = {.heap = HEAP_BYTES,
                                          .offset = offsetof(struct config, config_file)};
    const struct fs *fs = loader->fs;
    char dir[PATH_MAX];
    struct text absolute;
    text_init(&absolute);
    if (path[0] != '/') {
        int rc = fs->current_dir(fs->arg, dir, sizeof(dir));
        if (rc < 0) {
            text_fini(&absolute);
            return rc;
        }
        while (strncmp(path, "../", 3) == 0) {
            char *slash = strrchr(dir, '/');
            *(slash != NULL ? slash : dir) = 0;
            path += 3;
        }
        text_appendf(&absolute, "%s/", dir);
    }
    text_append_text(&absolute, path);
    config_row_keep(&row, loader->config, absolute.ptr, absolute.len);
    text_fini(&absolute);
    return 0;
}

static bool load_file(struct loader *loader, const char *path, uint64_t *lines) {
    const struct fs *fs = loader->fs;
    char *data;
    size_t len;
    int rc = keep_config_file(loader, path);
    path = rc == 0 ? loader->config->config_file.ptr : path;
    if (rc == 0) {
        rc = fs->read_all(fs->arg, path, &data, &len);
    }
    if (rc < 0) {
        fail_open(loader, path, strerror(-rc));
        return false;
    }
    bool ok = load_lines(loader, NULL, *lines, bytes_make(data, len));
    *lines += count_lines(bytes_make(data, len));
    free(data);
    return ok;
}

static bool load_stdin(struct loader *loader, uint64_t *lines) {
    const struct fs *fs = loader->fs;
    char *data;
    size_t len;
    int rc = fs->read_all(fs->arg, "-", &data, &len);
    if (rc < 0) {
        fail_open(loader, "-", strerror(-rc));
        return false;
    }
    bool ok = load_lines(loader, NULL, *lines, bytes_make(data, len));
    *lines += count_lines(bytes_make(data, len));
    free(data);
    return ok;
}

static bool load_arguments(struct loader *loader, int argc, char **argv) {
    struct text options;
    uint64_t lines = 0;
    int from = 1;
    bool has_stdin = argc > 1 && strcmp(argv[1], "-") == 0;
    bool stdin_last = argc > 2 && !has_stdin && strcmp(argv[argc - 1], "-") == 0;
    if (argc > 1 && argv[1][0] != '-') {
        from = 2;
        if (!load_file(loader, argv[1], &lines)) {
            return false;
        }
    } else if (has_stdin) {
        from = 2;
    }
    if ((has_stdin || stdin_last) && !load_stdin(loader, &lines)) {
        return false;
    }
    text_init(&options);
    options_to_lines(argc, argv, from, stdin_last, &options);
    bool ok = load_lines(loader, NULL, lines + 1, text_bytes(&options));
    text_fini(&options);
    return ok;
}

/* Without a `dir` line the directory is where the server was started. */
static bool keep_dir(struct loader *loader) {
    char dir[PATH_MAX];
    const struct fs *fs = loader->fs;
    int rc = fs->current_dir(fs->arg, dir, sizeof(dir));
    if (rc < 0) {
        text_clear(loader->err);
        text_appendf(loader->err, "Fatal error, can't tell the working directory: %s\n",
                     strerror(-rc));
        return false;
    }
    config_row_keep(config_row_find(BYTES("dir"), NULL), loader->config, dir, strlen(dir));
    return true;
}

static void loader_init(struct loader *loader, struct config *config, const struct fs *fs,
                        struct text *err) {
    *loader = (struct loader){.fs = fs, .config = config, .err = err};
    text_init(&loader->reason);
    loader->in = (struct config_input){
        .fs = fs,
        .loading_file = true,
        .save_seen = &loader->save_seen,
        .reason = &loader->reason,
    };
}

static void loader_fini(struct loader *loader) {
    text_fini(&loader->reason);
}

int config_load(struct config *config, const struct fs *fs, int argc, char **argv,
                struct text *err) {
    struct loader loader;
    loader_init(&loader, config, fs, err);
    bool ok = load_arguments(&loader, argc, argv) && keep_dir(&loader);
    loader_fini(&loader);
    return ok ? 0 : -1;
}

bool config_load_values(struct config *config, const struct fs *fs, struct bytes content) {
    struct loader loader;
    struct text err;
    text_init(&err);
    loader_init(&loader, config, fs, &err);
    loader.in.fs = NULL;
    bool ok = load_lines(&loader, NULL, 0, content);
    loader_fini(&loader);
    text_fini(&err);
    return ok;
}
