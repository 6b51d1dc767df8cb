/* SPDX-License-Identifier: BSD-3-Clause */
/* scripts: see the header. Why a lock: EVALSHA must find what EVAL has just brought on another
 * thread. To tell all workers first would make every new script wait for all of them; a table that
 * is asked once for each script and worker needs nothing better. */
#include "server/script/scripts.h"

#include "base/links.h"
#include "base/list.h"
#include "base/must.h"
#include "base/text.h"
#include "server/config/config.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct script {
    struct link link;      /* first */
    struct list_node node; /* of scripts->passing, unless it stays */
    bool stays;
    unsigned flags;
    _Atomic unsigned refs;
    _Atomic unsigned char reach;
    unsigned char sha[SHA1_BYTES];
    size_t len;
    char body[];
};

struct scripts {
    pthread_mutex_t mutex;
    struct links table;
    struct list passing;
    uint64_t passing_count, bytes, evicted;
    _Atomic uint64_t epoch;
    struct script_running *running[CONFIG_SHARDS_MAX]; /* by worker */
};

struct scripts *scripts_new(void) {
    struct scripts *scripts = must_calloc(1, sizeof *scripts);
    pthread_mutex_init(&scripts->mutex, NULL);
    links_init(&scripts->table);
    list_init(&scripts->passing);
    return scripts;
}

static uint64_t hash_of(const unsigned char sha[SHA1_BYTES]) {
    uint64_t hash;
    memcpy(&hash, sha, sizeof hash);
    return hash;
}

static void drop(struct scripts *scripts, struct script *script) {
    links_remove(&scripts->table, &script->link);
    if (!script->stays) {
        list_remove(&script->node);
        scripts->passing_count--;
    }
    scripts->bytes -= sizeof *script + script->len;
    script_unref(script);
}

static void drop_all(struct scripts *scripts) {
    for (size_t i = 0; i < scripts->table.buckets_count; i++) {
        while (scripts->table.count > 0 && scripts->table.buckets[i] != NULL) {
            drop(scripts, LINK_ENTRY(scripts->table.buckets[i], struct script, link));
        }
    }
}

void scripts_free(struct scripts *scripts) {
    if (scripts != NULL) {
        drop_all(scripts);
        links_fini(&scripts->table);
        for (unsigned i = 0; i < CONFIG_SHARDS_MAX; i++) {
            free(scripts->running[i]);
        }
        pthread_mutex_destroy(&scripts->mutex);
        free(scripts);
    }
}

/* ---- The first line ---- */

static const char *const flag_names[] = {
    "no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys", NULL,
};

const char *script_flag_name(unsigned index) {
    return flag_names[index];
}

static struct bytes next_word(struct bytes *rest) {
    while (rest->len > 0 && (*rest->ptr == ' ' || *rest->ptr == '\t' || *rest->ptr == '\r')) {
        rest->ptr++, rest->len--;
    }
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t' && rest->ptr[n] != '\r') {
        n++;
    }
    struct bytes word = bytes_make(rest->ptr, n);
    rest->ptr += n;
    rest->len -= n;
    return word;
}

static bool read_flags(struct bytes list, unsigned *ret_flags, struct text *err) {
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma != NULL ? (size_t)(comma - list.ptr) : list.len;
        unsigned i = 0;
        while (flag_names[i] != NULL &&
               (strlen(flag_names[i]) != n || memcmp(flag_names[i], list.ptr, n) != 0)) {
            i++;
        }
        if (n > 0 && flag_names[i] == NULL) {
            text_appendf(err, "ERR Unexpected flag in script shebang: %.*s", (int)n, list.ptr);
            return false;
        }
        *ret_flags |= n > 0 ? 1u << i : 0;
        n += comma != NULL;
        list.ptr += n;
        list.len -= n;
    }
    return true;
}

bool script_read_shebang(struct bytes body, unsigned *ret_flags, struct bytes *ret_code,
                         struct text *err) {
    *ret_flags = SCRIPT_COMPATIBLE;
    *ret_code = body;
    if (body.len < 2 || memcmp(body.ptr, "#!", 2) != 0) {
        return true;
    }
    const char *end = memchr(body.ptr, '\n', body.len);
    if (end == NULL) {
        text_append_text(err, "ERR Invalid script shebang");
        return false;
    }
    struct bytes line = bytes_make(body.ptr + 2, (size_t)(end - body.ptr) - 2);
    *ret_code = bytes_make(end, body.len - (size_t)(end - body.ptr));
    *ret_flags = 0;
    struct bytes engine = next_word(&line);
    if (!bytes_is(engine, "lua")) {
        text_appendf(err, "ERR Could not find scripting engine '%.*s'", (int)engine.len,
                     engine.ptr);
        return false;
    }
    for (struct bytes word; (word = next_word(&line)).len > 0;) {
        if (word.len < 6 || memcmp(word.ptr, "flags=", 6) != 0) {
            text_appendf(err, "ERR Unknown lua shebang option: %.*s", (int)word.len, word.ptr);
            return false;
        }
        if (!read_flags(bytes_make(word.ptr + 6, word.len - 6), ret_flags, err)) {
            return false;
        }
    }
    return true;
}

/* ---- The table ---- */

static struct script *find(const struct scripts *scripts, const unsigned char sha[SHA1_BYTES]) {
    for (struct link *at = links_first(&scripts->table, hash_of(sha)); at != NULL; at = at->next) {
        struct script *script = LINK_ENTRY(at, struct script, link);
        if (memcmp(script->sha, sha, SHA1_BYTES) == 0) {
            return script;
        }
    }
    return NULL;
}

static struct script *ref(struct script *script) {
    if (script != NULL) {
        atomic_fetch_add_explicit(&script->refs, 1, memory_order_relaxed);
    }
    return script;
}

struct script *scripts_find(struct scripts *scripts, const unsigned char sha[SHA1_BYTES]) {
    pthread_mutex_lock(&scripts->mutex);
    struct script *script = ref(find(scripts, sha));
    pthread_mutex_unlock(&scripts->mutex);
    return script;
}

static void evict(struct scripts *scripts) {
    if (scripts->passing_count > SCRIPTS_MAX) {
        drop(scripts, LIST_ENTRY(list_first(&scripts->passing), struct script, node));
        scripts->evicted++;
    }
}

static void stay(struct scripts *scripts, struct script *script) {
    if (!script->stays) {
        script->stays = true;
        list_remove(&script->node);
        scripts->passing_count--;
    }
}

struct script *scripts_add(struct scripts *scripts, struct bytes body,
                           const unsigned char sha[SHA1_BYTES], unsigned flags, bool stays) {
    pthread_mutex_lock(&scripts->mutex);
    struct script *script = find(scripts, sha);
    if (script == NULL) {
        script = must_calloc(1, sizeof *script + body.len);
        memcpy(script->sha, sha, SHA1_BYTES);
        memcpy(script->body, body.ptr, body.len);
        script->len = body.len;
        script->flags = flags;
        script->refs = 1;
        script->link.hash = hash_of(sha);
        links_add(&scripts->table, &script->link);
        scripts->bytes += sizeof *script + body.len;
        list_node_init(&script->node);
        list_push_back(&scripts->passing, &script->node);
        scripts->passing_count++;
    }
    if (stays) {
        stay(scripts, script);
    }
    ref(script);
    evict(scripts);
    pthread_mutex_unlock(&scripts->mutex);
    return script;
}

void scripts_flush(struct scripts *scripts) {
    pthread_mutex_lock(&scripts->mutex);
    drop_all(scripts);
    atomic_fetch_add(&scripts->epoch, 1);
    pthread_mutex_unlock(&scripts->mutex);
}

uint64_t scripts_epoch(const struct scripts *scripts) {
    return atomic_load_explicit(&scripts->epoch, memory_order_acquire);
}

struct scripts_stats scripts_stats(struct scripts *scripts) {
    pthread_mutex_lock(&scripts->mutex);
    struct scripts_stats stats = {scripts->table.count, scripts->bytes, scripts->evicted};
    pthread_mutex_unlock(&scripts->mutex);
    return stats;
}

/* ---- What runs for long ---- */

static struct bytes put(char **at, struct bytes word) {
    struct bytes copy = {*at, word.len};
    if (word.len > 0) {
        memcpy(*at, word.ptr, word.len);
    }
    *at += word.len;
    return copy;
}

static struct script_running *copy_running(const struct script_running *from) {
    size_t bytes = from->name.len;
    for (uint32_t i = 0; i < from->argc; i++) {
        bytes += from->argv[i].len;
    }
    struct script_running *copy =
        must_malloc(sizeof *copy + from->argc * sizeof *from->argv + bytes);
    struct bytes *argv = (struct bytes *)(copy + 1);
    char *at = (char *)(argv + from->argc);
    *copy = *from;
    copy->argv = argv;
    copy->name = put(&at, from->name);
    for (uint32_t i = 0; i < from->argc; i++) {
        argv[i] = put(&at, from->argv[i]);
    }
    return copy;
}

void scripts_note_running(struct scripts *scripts, unsigned worker,
                          const struct script_running *running) {
    struct script_running *now = running != NULL ? copy_running(running) : NULL;
    pthread_mutex_lock(&scripts->mutex);
    struct script_running *before = scripts->running[worker];
    scripts->running[worker] = now;
    pthread_mutex_unlock(&scripts->mutex);
    free(before);
}

struct script_running *scripts_running_function(struct scripts *scripts) {
    struct script_running *copy = NULL;
    pthread_mutex_lock(&scripts->mutex);
    for (unsigned i = 0; copy == NULL && i < CONFIG_SHARDS_MAX; i++) {
        if (scripts->running[i] != NULL && scripts->running[i]->name.len > 0) {
            copy = copy_running(scripts->running[i]);
        }
    }
    pthread_mutex_unlock(&scripts->mutex);
    return copy;
}

/* ---- One script ---- */

struct script *script_of_function(unsigned flags) {
    struct script *script = must_calloc(1, sizeof *script);
    list_node_init(&script->node);
    script->flags = flags;
    script->refs = 1;
    return script;
}

void script_unref(struct script *script) {
    if (script != NULL && atomic_fetch_sub_explicit(&script->refs, 1, memory_order_acq_rel) == 1) {
        free(script);
    }
}

struct bytes script_body(const struct script *script) {
    return bytes_make(script->body, script->len);
}

const unsigned char *script_sha(const struct script *script) {
    return script->sha;
}

unsigned script_flags(const struct script *script) {
    return script->flags;
}

enum script_reach script_reach(const struct script *script) {
    return (enum script_reach)atomic_load_explicit(&script->reach, memory_order_relaxed);
}

void script_note_reach(struct script *script, enum script_reach reach) {
    unsigned char known = REACH_UNKNOWN;
    if (reach == REACH_FAR) {
        atomic_store_explicit(&script->reach, REACH_FAR, memory_order_relaxed);
    } else {
        atomic_compare_exchange_strong_explicit(&script->reach, &known, (unsigned char)reach,
                                                memory_order_relaxed, memory_order_relaxed);
    }
}

static int digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool script_parse_sha(struct bytes text, unsigned char ret[SHA1_BYTES]) {
    for (unsigned i = 0; text.len == 2 * SHA1_BYTES && i < SHA1_BYTES; i++) {
        int high = digit(text.ptr[2 * i]), low = digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret[i] = (unsigned char)(high << 4 | low);
    }
    return text.len == 2 * SHA1_BYTES;
}

void script_format_sha(const unsigned char sha[SHA1_BYTES], char ret[SCRIPT_SHA_TEXT]) {
    for (unsigned i = 0; i < SHA1_BYTES; i++) {
        ret[2 * i] = "0123456789abcdef"[sha[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[sha[i] & 15];
    }
    ret[2 * SHA1_BYTES] = 0;
}
