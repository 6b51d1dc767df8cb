/* SPDX-License-Identifier: BSD-3-Clause */
/* aof: see the header. What Redis calls an AOF may begin with an RDB file, whose end is found only by
 * reading it; requests follow at once. Lines that begin with '#' say a time and are passed, as Redis
 * does.
 */
#include "persist/check/aof.h"

#include "base/words.h"
#include "persist/check/request.h"
#include "persist/check/source.h"

#include <inttypes.h>
#include <stdlib.h>

static bool wrong(struct aof_part *part, uint64_t at, const char *error) {
    part->error = error;
    part->at = at;
    return false;
}

/* ---- An RDB file, alone or ahead of requests ---- */

/* A file's last bytes are its checksum, so its end is only known when it is reached: it gets no more
 * than it can take. `alone`: nothing may follow. */
static bool pass_rdb(struct source *source, const struct keys_options *options, bool alone,
                     struct aof_part *part) {
    struct keys keys;
    bool sound = true;
    keys_init(&keys, options, true);
    keys.stops = !alone;
    while (sound && !keys.ended) {
        struct bytes bytes = source_bytes(source);
        if (bytes.len == 0 && !source_more(source)) {
            sound = wrong(part, keys.file.passed,
                          source->error != 0 ? "it cannot be read" : "the file ends before its end");
            break;
        }
        bytes = source_bytes(source);
        const char *error = keys_push(&keys, bytes);
        sound = error == NULL || wrong(part, keys.file.passed, error);
        source_pass(source, bytes.len - keys.left.len * keys.ended);
    }
    if (sound && alone && (source_bytes(source).len > 0 || source_more(source))) {
        sound = wrong(part, keys.file.passed, "something follows its end");
    }
    part->keys += keys.count;
    part->bytes = keys.file.passed;
    keys_fini(&keys);
    return sound;
}

bool aof_read_rdb(const struct fs *fs, const char *path, const struct keys_options *options,
                  struct aof_part *ret) {
    struct source source;
    *ret = (struct aof_part){0};
    int error = source_open(&source, fs, path);
    bool sound = error == 0 ? pass_rdb(&source, options, true, ret)
                            : wrong(ret, 0, "it cannot be opened");
    source_close(&source);
    return sound;
}

/* ---- Requests ---- */

/* A line that says the time, or anything else that Redis passes. False: it is not all there. */
static bool pass_note(struct source *source) {
    for (;;) {
        struct bytes bytes = source_bytes(source);
        const char *end = memchr(bytes.ptr, '\n', bytes.len);
        if (end != NULL) {
            source_pass(source, (size_t)(end + 1 - bytes.ptr));
            return true;
        }
        if (!source_more(source)) {
            return false;
        }
    }
}

static bool pass_requests(struct source *source, struct aof_part *part) {
    struct request_words words = {0};
    bool sound = true;
    while (sound && (source_bytes(source).len > 0 || source_more(source))) {
        uint64_t at = source->at;
        if (source_bytes(source).ptr[0] == '#') {
            sound = pass_note(source);
            part->torn = !sound;
        } else {
            struct bytes bytes = source_bytes(source);
            size_t before = bytes.len;
            enum request_got got = request_take(&bytes, &words);
            part->requests += got == REQUEST_WHOLE;
            source_pass(source, before - bytes.len);
            part->torn = got == REQUEST_SHORT && !source_more(source);
            sound = got != REQUEST_BAD && !part->torn;
        }
        if (!sound) {
            wrong(part, at, part->torn ? "the file ends in the middle of a request"
                                       : "no request begins there");
        }
    }
    part->bytes = sound ? source->at : part->at;
    request_words_fini(&words);
    return sound && (source->error == 0 || wrong(part, source->at, "it cannot be read"));
}

bool aof_read(const struct fs *fs, const char *path, const struct keys_options *options,
              struct aof_part *ret) {
    struct source source;
    *ret = (struct aof_part){0};
    if (source_open(&source, fs, path) != 0) {
        source_close(&source);
        return wrong(ret, 0, "it cannot be opened");
    }
    while (source_bytes(&source).len < 6 && source_more(&source)) {
    }
    struct bytes front = source_bytes(&source);
    bool rdb = front.len >= 6 && (memcmp(front.ptr, "REDIS", 5) == 0 ||
                                  memcmp(front.ptr, "VALKEY", 6) == 0);
    bool sound = (!rdb || pass_rdb(&source, options, false, ret)) && pass_requests(&source, ret);
    source_close(&source);
    return sound;
}

/* ---- A directory ---- */

/* A line of the manifest: names, each followed by its value. */
struct aof_line {
    struct bytes *words;
    struct bytes file;
    char type; /* 'b'ase, 'i'ncrement, 'h'istory */
};

static struct bytes take_line(struct bytes *text) {
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t length = end != NULL ? (size_t)(end - text->ptr) : text->len;
    size_t passed = length + (end != NULL);
    struct bytes line = bytes_make(text->ptr, length);
    *text = bytes_make(text->ptr + passed, text->len - passed);
    return line;
}

/* False: it makes no sense. */
static bool read_line(struct bytes line, struct aof_line *ret) {
    *ret = (struct aof_line){0};
    int count = words_split(line, &ret->words);
    for (int i = 0; i + 1 < count; i += 2) {
        if (bytes_is(ret->words[i], "file")) {
            ret->file = ret->words[i + 1];
        } else if (bytes_is(ret->words[i], "type") && ret->words[i + 1].len == 1) {
            ret->type = ret->words[i + 1].ptr[0];
        }
    }
    bool is_name = ret->file.len > 0 && memchr(ret->file.ptr, '/', ret->file.len) == NULL;
    return is_name && (ret->type == 'b' || ret->type == 'i' || ret->type == 'h');
}

static void say_part(struct text *out, const char *path, const struct aof_part *part, bool sound) {
    if (sound) {
        text_appendf(out, "%s: whole: %" PRIu64 " bytes, %" PRIu64 " keys, %" PRIu64 " requests\n",
                     path, part->bytes, part->keys, part->requests);
    } else {
        text_appendf(out, "wrong: %s: byte %" PRIu64 ": %s\n", path, part->at, part->error);
    }
}

/* `dir` ends where the manifest's name begins. */
static bool verify_parts(const struct fs *fs, const char *manifest, size_t dir, struct bytes text,
                         const struct keys_options *options, struct text *out) {
    bool sound = true;
    while (text.len > 0) {
        struct bytes line = take_line(&text);
        struct aof_line read;
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        bool makes_sense = read_line(line, &read);
        if (!makes_sense) {
            text_appendf(out, "wrong: %s: the line '%.*s' makes no sense\n", manifest,
                         bytes_precision(line), line.ptr);
            sound = false;
        } else if (read.type != 'h') {
            struct aof_part part;
            struct text path;
            text_init(&path);
            text_append(&path, manifest, dir);
            text_append_bytes(&path, read.file);
            bool whole = aof_read(fs, path.ptr, options, &part);
            say_part(out, path.ptr, &part, whole);
            sound &= whole;
            text_fini(&path);
        }
        free(read.words);
    }
    return sound;
}

/* The first that matches; NULL: none does. */
static char *find_manifest(const struct fs *fs, const char *path, const char *below) {
    struct text pattern;
    char **names = NULL, *found = NULL;
    text_init(&pattern);
    text_append_pattern(&pattern, bytes_of_text(path));
    text_append_text(&pattern, below);
    text_append_text(&pattern, "/*.aof.manifest");
    if (fs->match(fs->arg, pattern.ptr, &names) == 0) {
        found = names[0];
        for (size_t i = 1; found != NULL && names[i] != NULL; i++) {
            free(names[i]);
        }
        free(names);
    }
    text_fini(&pattern);
    return found;
}

bool aof_verify_dir(const struct fs *fs, const char *path, const struct keys_options *options,
                    struct text *out, bool *ret_found) {
    char *manifest = find_manifest(fs, path, "");
    manifest = manifest != NULL ? manifest : find_manifest(fs, path, "/appendonlydir");
    *ret_found = manifest != NULL;
    if (manifest == NULL) {
        return false;
    }
    struct source source;
    int error = source_open(&source, fs, manifest);
    while (source_more(&source)) {
    }
    error = error != 0 ? error : source.error;
    bool sound = error == 0;
    if (sound) {
        size_t dir = (size_t)(strrchr(manifest, '/') + 1 - manifest);
        sound = verify_parts(fs, manifest, dir, source_bytes(&source), options, out);
    } else {
        text_appendf(out, "wrong: %s: %s\n", manifest, strerror(-error));
    }
    source_close(&source);
    free(manifest);
    return sound;
}
