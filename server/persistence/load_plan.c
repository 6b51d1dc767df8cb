/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is to load, found before any worker runs:
 *
 *     a manifest of Shoal's own             is the data, whatever lies beside it
 *     appendonly yes: the AOF of Redis and Valkey, then dbfilename
 *     appendonly no: dbfilename, then the AOF
 *
 * An AOF is appenddirname with a manifest for its parts (Redis 7 and Valkey), or one file.
 */
#include "base/must.h"
#include "base/num.h"
#include "base/words.h"
#include "persist/snapshot/rdb_load.h"
#include "server/observe/line.h"
#include "server/persistence/data_lock.h"
#include "server/persistence/leftovers.h"
#include "server/persistence/load_private.h"
#include "server/persistence/save.h"
#include "server/persistence/wals.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* No manifest has more. */
#define MANIFEST_BYTES_MAX ((size_t)64 << 20)
#define PIECE_BYTES        ((size_t)64 << 10)

/* The whole of a small file; 0 or -errno. */
static int read_small(const struct fs *fs, const char *path, struct text *ret) {
    int file;
    int error = fs->open_data(fs->arg, path, false, 0, &file);
    if (error != 0) {
        return error;
    }
    ssize_t n;
    do {
        text_reserve(ret, PIECE_BYTES);
        n = fs->read_data(fs->arg, file, ret->ptr + ret->len, PIECE_BYTES);
        ret->len += n > 0 ? (size_t)n : 0;
        ret->ptr[ret->len] = 0;
        if (ret->len > MANIFEST_BYTES_MAX) {
            n = -EFBIG;
        }
    } while (n > 0);
    fs->close_data(fs->arg, file, false);
    return (int)n;
}

static void say_wrong(struct text *why, const char *path, const char *reason) {
    text_appendf(why, "%s is not loaded: %s.", path, reason);
}

void load_say_repair(struct text *why, const struct load *load) {
    int length = (int)load->dir.len - (load->dir.len > 1 && load->bases);
    text_appendf(why,
                 " Nothing was changed. 'shoal-check verify %.*s' says what is there and how "
                 "to repair it.",
                 length, load->dir.ptr);
}

/* ---- Shoal's own ---- */

/* Somebody may have put it there to be loaded. */
static void warn_of_newer(struct server *server, const char *manifest) {
    const struct config *config = server->config;
    const struct fs *fs = server->fs;
    int64_t manifest_ms, rdb_ms;
    uint64_t bytes;
    if (fs->measure != NULL && fs->measure(fs->arg, manifest, &bytes, &manifest_ms) == 0 &&
        fs->measure(fs->arg, config->dbfilename.ptr, &bytes, &rdb_ms) == 0 &&
        rdb_ms > manifest_ms) {
        log_line(config, fs, rt_wall_us(server->workers[0]->rt), LOG_WARNING,
                 "%s is newer than %s, and is not loaded: the data is what the manifest names. To "
                 "import it, move %s away.",
                 config->dbfilename.ptr, manifest, config->appenddirname.ptr);
    }
}

/* Segments that no manifest names are no reason to begin with nothing. */
static bool is_without(struct server *server, struct text *why) {
    struct text path, gone, reason;
    text_init(&path);
    text_init(&gone);
    text_init(&reason);
    const char *dir = server->config->appenddirname.ptr;
    text_appendf(&path, "%s/%s", dir, MANIFEST_GONE_NAME);
    read_small(server->fs, path.ptr, &gone);
    bool is = leftovers_without(server->fs, dir, text_bytes(&gone), &reason);
    if (!is) {
        text_appendf(why,
                     "%s/%s is missing: %s. Nothing was changed. To begin without "
                     "them, move %s away.",
                     dir, MANIFEST_NAME, reason.ptr, dir);
    }
    text_fini(&path);
    text_fini(&gone);
    text_fini(&reason);
    return is;
}

/* A log was to begin, and the snapshot behind which it does was not made (rotate.h). NULL, or what
 * is wrong. */
static const char *give_up(struct server *server, struct load *load, const char *path) {
    struct text gone;
    text_init(&gone);
    text_append_bytes(&gone, text_bytes(&load->dir));
    text_append_text(&gone, MANIFEST_GONE_NAME);
    int error = server->fs->rename(server->fs->arg, path, gone.ptr);
    text_fini(&gone);
    manifest_fini(&load->manifest);
    return error != 0 ? strerror(-error) : NULL;
}

static bool plan_manifest(struct server *server, struct load *load, bool *ret_there,
                          struct text *why) {
    struct text path, content;
    text_init(&path);
    text_init(&content);
    load->bases = true;
    text_append_bytes(&load->dir, server->config->appenddirname);
    text_append_text(&load->dir, "/");
    text_append_bytes(&path, text_bytes(&load->dir));
    text_append_text(&path, MANIFEST_NAME);
    int error = read_small(server->fs, path.ptr, &content);
    *ret_there = error != -ENOENT && error != -ENOTDIR;
    const char *wrong = NULL;
    if (error == 0) {
        wrong = manifest_decode(text_bytes(&content), &load->manifest);
    } else if (*ret_there) {
        wrong = strerror(-error);
    }
    if (wrong == NULL && *ret_there && !load->again && load->manifest.first == 0) {
        wrong = give_up(server, load, path.ptr);
        *ret_there = false;
    }
    if (wrong != NULL) {
        say_wrong(why, path.ptr, wrong);
        load_say_repair(why, load);
    } else if (*ret_there && !load->again) {
        warn_of_newer(server, path.ptr);
        bool all = leftovers_remove(server->fs, server->config->appenddirname.ptr, &load->manifest);
        saver_of(server)->data.left_some |= !all;
    }
    load->bases = *ret_there;
    text_fini(&path);
    text_fini(&content);
    return wrong == NULL && (*ret_there || is_without(server, why));
}

static void say_bases(struct server *server, struct load *load, struct text *said) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < load->manifest.bases_count; i++) {
        bytes += load->manifest.bases[i].bytes;
    }
    load->keys = must_calloc(load->manifest.bases_count, sizeof *load->keys);
    load->left = server->workers_count;
    shared_begin_loading(server->shared, load->start_us / 1000000, bytes);
    if (load->manifest.bases_count > 0) {
        text_appendf(said,
                     "Loading the snapshot of generation %llu from %.*s: %u files, %llu bytes",
                     (unsigned long long)load->manifest.generation, (int)load->dir.len - 1,
                     load->dir.ptr, load->manifest.bases_count, (unsigned long long)bytes);
    }
}

/* ---- Files of others ---- */

static void add_file(struct load *load, struct bytes dir, struct bytes name) {
    load->files = must_realloc(load->files, (load->files_count + 1) * sizeof *load->files);
    char *path = must_malloc(dir.len + 1 + name.len + 1);
    size_t n = 0;
    if (dir.len > 0) {
        memcpy(path, dir.ptr, dir.len);
        path[dir.len] = '/';
        n = dir.len + 1;
    }
    memcpy(path + n, name.ptr, name.len);
    path[n + name.len] = 0;
    load->files[load->files_count++] = path;
}

/* What a line says of a part: name, number and type. */
struct part_line {
    struct bytes name;
    int64_t sequence;
    char type;
};

/* NULL, or what is wrong with it. */
static const char *read_part(const struct bytes *words, int count, struct part_line *ret) {
    *ret = (struct part_line){0};
    for (int i = 0; i + 1 < count;
         i += 2) { /* words that are not known are passed, as Redis does */
        if (bytes_is(words[i], "file")) {
            ret->name = words[i + 1];
        } else if (bytes_is(words[i], "seq") && !num_parse_i64(words[i + 1], &ret->sequence)) {
            return "a number that is none";
        } else if (bytes_is(words[i], "type")) {
            ret->type = words[i + 1].len == 1 ? words[i + 1].ptr[0] : '?';
        }
    }
    if (count % 2 != 0 || ret->name.len == 0 || ret->sequence <= 0 || ret->type == 0) {
        return "a line that names no file, number and type";
    }
    if (memchr(ret->name.ptr, '/', ret->name.len) != NULL) {
        return "a file in another directory";
    }
    return memchr("bih", ret->type, 3) == NULL ? "a file of an unknown type" : NULL;
}

/* The parts in the order in which they are to be loaded. */
static const char *read_parts(struct load *load, struct bytes dir, struct bytes content) {
    int64_t last = 0;
    bool base = false;
    while (content.len > 0) {
        const char *end = memchr(content.ptr, '\n', content.len);
        if (end == NULL) {
            return "its last line has no end";
        }
        struct bytes line = bytes_make(content.ptr, (size_t)(end - content.ptr));
        content = bytes_make(end + 1, content.len - line.len - 1);
        if (line.len > 0 && line.ptr[0] == '#') {
            continue;
        }
        struct bytes *words;
        struct part_line part;
        int count = words_split(line, &words);
        const char *wrong =
            count < 0 ? "a line with a quote that does not end" : read_part(words, count, &part);
        if (wrong == NULL && part.type == 'b') {
            wrong = base || load->files_count > 0 ? "a base that is not the first file" : NULL;
            base = true;
        } else if (wrong == NULL && part.type == 'i') {
            wrong = part.sequence <= last ? "increments whose numbers do not grow" : NULL;
            last = part.sequence;
        }
        if (wrong == NULL && part.type != 'h') {
            add_file(load, dir, part.name);
        }
        free(words);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return load->files_count == 0 ? "it names no file" : NULL;
}

static bool exists(const struct server *server, const char *path) {
    return server->fs->exists(server->fs->arg, path, false) != -ENOENT;
}

static bool plan_aof(struct server *server, struct load *load, struct text *why) {
    const struct config *config = server->config;
    struct text path, content;
    text_init(&path);
    text_init(&content);
    text_appendf(&path, "%s/%s.manifest", config->appenddirname.ptr, config->appendfilename.ptr);
    const char *wrong = NULL;
    int error = read_small(server->fs, path.ptr, &content);
    if (error == 0) {
        wrong = read_parts(load, config->appenddirname, text_bytes(&content));
        text_append_bytes(&load->dir, config->appenddirname);
    } else if (error != -ENOENT && error != -ENOTDIR) {
        wrong = strerror(-error);
    } else if (exists(server, config->appendfilename.ptr)) {
        add_file(load, bytes_make("", 0), config->appendfilename);
        text_append_bytes(&load->dir, config->appendfilename);
    }
    if (wrong != NULL) {
        say_wrong(why, path.ptr, wrong);
        load_say_repair(why, load);
    }
    load->aof = load->files_count > 0;
    text_fini(&path);
    text_fini(&content);
    return wrong == NULL;
}

static void plan_rdb(struct server *server, struct load *load) {
    struct bytes name = server->config->dbfilename;
    if (exists(server, name.ptr)) {
        add_file(load, bytes_make("", 0), name);
        text_append_bytes(&load->dir, name);
    }
}

static uint64_t files_bytes(const struct server *server, const struct load *load) {
    const struct fs *fs = server->fs;
    uint64_t sum = 0, bytes;
    int64_t modified_ms;
    for (uint32_t i = 0; i < load->files_count && fs->measure != NULL; i++) {
        sum += fs->measure(fs->arg, load->files[i], &bytes, &modified_ms) == 0 ? bytes : 0;
    }
    return sum;
}

static bool plan_files(struct server *server, struct load *load, struct text *said,
                       struct text *why) {
    const struct config *config = server->config;
    text_clear(&load->dir);
    if (!config->appendonly) {
        plan_rdb(server, load);
    }
    if (load->files_count == 0 && !plan_aof(server, load, why)) {
        return false;
    }
    if (load->files_count == 0 && config->appendonly) {
        plan_rdb(server, load);
    }
    if (load->files_count > 0) {
        load->left = 1;
        shared_begin_loading(server->shared, load->start_us / 1000000, files_bytes(server, load));
        text_appendf(said, "Importing %s", load->dir.ptr);
    }
    return true;
}

/* ---- Where in a stream it stands ---- */

static bool is_id(struct bytes said) {
    bool is = said.len == MANIFEST_STREAM_ID_BYTES;
    for (size_t i = 0; is && i < said.len; i++) {
        is = (said.ptr[i] >= '0' && said.ptr[i] <= '9') ||
             (said.ptr[i] >= 'a' && said.ptr[i] <= 'f');
    }
    return is;
}

static void ask_rdb(const struct fs *fs, const char *path, struct manifest_stream *ret) {
    struct text id;
    text_init(&id);
    int64_t offset = rdb_says_number(fs, path, "repl-offset", -1);
    int64_t db = rdb_says_number(fs, path, "repl-stream-db", -1);
    ret->is = rdb_says(fs, path, "repl-id", &id) && is_id(text_bytes(&id)) && offset >= 0 &&
              db >= 0 && db <= UINT32_MAX;
    if (ret->is) {
        memcpy(ret->id, id.ptr, MANIFEST_STREAM_ID_BYTES);
        ret->offset = (uint64_t)offset;
        ret->db = (uint32_t)db;
    }
    text_fini(&id);
}

/* A log is not known to stand anywhere: neither one that was written behind the snapshot, nor one
 * that begins. */
static void find_stream(const struct server *server, struct load *load) {
    if (server->config->appendonly || load->aof) {
        return;
    }
    if (load->bases) {
        load->stream = load->manifest.stream;
        load->stream.is &= load->manifest.count == 0 && load->manifest.bases_count > 0;
    } else if (load->files_count == 1) {
        ask_rdb(server->fs, load->files[0], &load->stream);
    }
    load->stream.is &= load->stream.db < (uint32_t)config_databases(server->config);
}

/* ---- All of it ---- */

static struct load *load_new(const struct server *server, int64_t now_us) {
    struct load *load = must_calloc(1, sizeof *load);
    text_init(&load->dir);
    text_init(&load->failure);
    manifest_init(&load->manifest);
    if (server->fs->current_dir(server->fs->arg, load->absolute, sizeof load->absolute) != 0) {
        strcpy(load->absolute, ".");
    }
    load->start_us = now_us;
    load->now_ms = load->start_us / 1000;
    load->over = must_calloc(server->workers_count, sizeof *load->over);
    alone_init(&load->alone, server->workers_count);
    return load;
}

void load_free(struct load *load) {
    if (load != NULL) {
        text_fini(&load->dir);
        text_fini(&load->failure);
        manifest_fini(&load->manifest);
        alone_fini(&load->alone);
        load_log_free(load);
        for (uint32_t i = 0; i < load->files_count; i++) {
            free(load->files[i]);
        }
        free(load->files);
        free(load->keys);
        free(load->over);
        free(load);
    }
}

bool load_plan(struct server *server, struct text *ret_said, struct text *why) {
    int64_t now_us = rt_wall_us(server->workers[0]->rt);
    shared_set_saved_at(server->shared, now_us / 1000000);
    struct load *load = load_new(server, now_us);
    bool there;
    if (data_lock(server, server->config->appenddirname.ptr) != 0) {
        text_appendf(why, "Another process works in %s/%s: give each server a 'dir' of its own",
                     load->absolute, server->config->appenddirname.ptr);
        load_free(load);
        return false;
    }
    bool sound = plan_manifest(server, load, &there, why);
    if (sound && !there) {
        sound = plan_files(server, load, ret_said, why);
    }
    if (sound && load->left == 0 && (there || server->config->appendonly)) {
        load->bases = true; /* there may be none, but a log */
        say_bases(server, load, ret_said);
    }
    if (sound && load->left > 0) {
        find_stream(server, load);
        server->load = load;
    } else {
        load_free(load);
    }
    return sound;
}

/* ---- What is left over ---- */

/* The number that stands from there on, up to that character; NULL: none does. */
static const char *number_until(const char *from, char end, int64_t *ret) {
    const char *at = strchr(from, end);
    bool is = at != NULL && num_parse_i64(bytes_make(from, (size_t)(at - from)), ret) && *ret >= 0;
    return is ? at + 1 : NULL;
}

/* A file of a snapshot, by its whole name. */
static bool is_base(const char *name, uint64_t *ret_generation, uint32_t *ret_shard) {
    char same[MANIFEST_NAME_BYTES];
    int64_t generation, shard;
    const char *at = strncmp(name, "base-", 5) == 0 ? name + 5 : NULL;
    at = at != NULL ? number_until(at, '-', &generation) : NULL;
    at = at != NULL ? number_until(at, '.', &shard) : NULL;
    if (at == NULL || shard >= MANIFEST_SHARDS_MAX) {
        return false;
    }
    *ret_generation = (uint64_t)generation;
    *ret_shard = (uint32_t)shard;
    manifest_base_name(same, *ret_generation, *ret_shard);
    return strcmp(name, same) == 0;
}

/* Only of snapshots: a segment with blocks that no manifest names would be a sign of something else
 * (docs/durability.md). Without a manifest nothing is known of what is there. */
void load_clean(struct server *server, const struct load *load) {
    const struct fs *fs = server->fs;
    const struct data *data = &saver_of(server)->data;
    const struct manifest *manifest = data->is ? &data->manifest : &load->manifest;
    char **paths = NULL;
    struct text pattern;
    if (!load->bases || manifest->generation == 0 || fs->match == NULL) {
        return;
    }
    text_init(&pattern);
    text_appendf(&pattern, "%.*sbase-*.snapshot", (int)load->dir.len, load->dir.ptr);
    int error = fs->match(fs->arg, pattern.ptr, &paths);
    for (size_t i = 0; error == 0 && paths[i] != NULL; i++) {
        uint64_t generation;
        uint32_t shard;
        const char *slash = strrchr(paths[i], '/');
        if (is_base(slash != NULL ? slash + 1 : paths[i], &generation, &shard) &&
            !manifest_names_base(manifest, generation, shard)) {
            fs->remove(fs->arg, paths[i]);
        }
        free(paths[i]);
    }
    if (error == 0) {
        free(paths);
    }
    text_fini(&pattern);
}

/* ---- Once more ---- */

/* What was found is what this server has written, as far as it has looked at that at all. */
static bool is_ours(const struct data *data, const struct load *load, bool there) {
    if (data->dir.len == 0 || !data->is) {
        return data->dir.len == 0 || !there;
    }
    struct text found, known;
    text_init(&found);
    text_init(&known);
    manifest_encode(&found, &load->manifest);
    manifest_encode(&known, &data->manifest);
    bool same = there && bytes_equal(text_bytes(&found), text_bytes(&known));
    text_fini(&found);
    text_fini(&known);
    return same;
}

static enum load_planned plan_log(struct server *server, struct load *load, struct text *why) {
    bool there;
    if (!wals_are_whole(server)) {
        text_append_text(why, "The log is not whole: what is on the disk is not the data");
        return LOAD_REFUSED;
    }
    if (!plan_manifest(server, load, &there, why)) {
        return LOAD_REFUSED;
    }
    if (!is_ours(&saver_of(server)->data, load, there)) {
        text_appendf(why, "%s" MANIFEST_NAME " is not what this server has written", load->dir.ptr);
        return LOAD_REFUSED;
    }
    return there && load->manifest.first > 0 ? LOAD_AGAIN : LOAD_NO_DATA;
}

enum load_planned load_plan_again(struct worker *parker, struct text *why) {
    struct server *server = parker->server;
    struct load *load = load_new(server, rt_wall_us(parker->rt));
    struct text said;
    text_init(&said);
    load->again = true;
    enum load_planned what = plan_log(server, load, why);
    if (what == LOAD_AGAIN) {
        wals_end(server);
        say_bases(server, load, &said);
        server->load = load;
    } else {
        load_free(load);
    }
    text_fini(&said);
    return what;
}

void load_plan_file(struct worker *parker, const char *path, bool *ret_lost) {
    struct server *server = parker->server;
    struct load *load = load_new(server, rt_wall_us(parker->rt));
    load->again = true;
    load->lost = ret_lost;
    if (path != NULL) {
        add_file(load, bytes_make("", 0), bytes_of_text(path));
        text_append_text(&load->dir, path);
    }
    load->left = 1;
    wals_end(server);
    shared_begin_loading(server->shared, load->start_us / 1000000, files_bytes(server, load));
    server->load = load;
}
