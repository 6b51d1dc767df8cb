/* SPDX-License-Identifier: BSD-3-Clause */
/* libraries: see the header. What replaces and what is replaced change places within one hold of
 * the lock, after all that could be wrong with it was looked at: nobody sees half of it. */
#include "server/script/libraries.h"

#include "base/links.h"
#include "base/list.h"
#include "base/must.h"
#include "base/text.h"
#include "base/words.h"
#include "server/script/scripts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* By its name, while its library is one of the libraries. */
struct function_link {
    struct link link; /* first */
    struct library *library;
    uint32_t index;
};

struct library {
    struct list_node node; /* of libraries->all */
    _Atomic unsigned refs;
    struct bytes name, text; /* malloc */
    struct library_function *functions;
    uint32_t count, capacity;
    struct function_link *links; /* as many, while it is one of the libraries */
};

struct libraries {
    pthread_mutex_t mutex;
    struct list all;
    struct links functions;
    struct libraries_stats stats;
    _Atomic uint64_t epoch;
};

/* ---- Names ---- */

bool library_name_fits(struct bytes name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = byte_lower(name.ptr[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return name.len > 0;
}

uint64_t library_name_hash(struct bytes name) {
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ (unsigned char)byte_lower(name.ptr[i])) * UINT64_C(0x100000001B3);
    }
    return links_hash(hash);
}

/* ---- The first line ---- */

static bool read_words(const struct bytes *words, int count, struct bytes *ret_name,
                       struct text *err) {
    for (int i = 1; i < count; i++) {
        bool names = words[i].len >= 5 && bytes_is(bytes_make(words[i].ptr, 5), "name=");
        if (!names) {
            text_append_text(err, "ERR Invalid metadata value given: ");
            text_append_bytes(err, words[i]);
            return false;
        }
        if (ret_name->ptr != NULL) {
            text_append_text(err,
                             "ERR Invalid metadata value, name argument was given multiple times");
            return false;
        }
        *ret_name = bytes_make(words[i].ptr + 5, words[i].len - 5);
    }
    if (ret_name->ptr == NULL) {
        text_append_text(err, "ERR Library name was not given");
    } else if (!library_name_fits(*ret_name)) {
        text_append_text(err, "ERR Library names can only contain letters, numbers, or "
                              "underscores(_) and must be at least one character long");
        return false;
    }
    return ret_name->ptr != NULL;
}

static bool find_engine(struct bytes word, struct text *err) {
    struct bytes engine =
        word.len > 2 ? bytes_make(word.ptr + 2, word.len - 2) : bytes_make(word.ptr, 0);
    if (!bytes_is(engine, "lua")) {
        text_append_text(err, "ERR Engine '");
        text_append_bytes(err, engine);
        text_append_text(err, "' not found");
        return false;
    }
    return true;
}

bool library_read_header(struct bytes text, struct library_header *ret, struct text *err) {
    *ret = (struct library_header){0};
    if (text.len < 2 || memcmp(text.ptr, "#!", 2) != 0) {
        text_append_text(err, "ERR Missing library metadata");
        return false;
    }
    const char *end = memchr(text.ptr, '\n', text.len);
    struct bytes *words = NULL;
    int count = 0;
    if (end != NULL && memchr(text.ptr, 0, (size_t)(end - text.ptr)) == NULL) {
        count = words_split(bytes_make(text.ptr, (size_t)(end - text.ptr)), &words);
    }
    if (count <= 0) {
        text_append_text(err, "ERR Invalid library metadata");
        free(words);
        return false;
    }
    struct bytes name = {0};
    bool fits = read_words(words, count, &name, err) && find_engine(words[0], err);
    if (fits) {
        ret->name = must_calloc(1, name.len + 1);
        memcpy(ret->name, name.ptr, name.len);
        ret->code = bytes_make(end, text.len - (size_t)(end - text.ptr));
    }
    free(words);
    return fits;
}

void library_header_fini(struct library_header *header) {
    free(header->name);
    header->name = NULL;
}

/* ---- One library ---- */

static struct bytes copy_of(struct bytes bytes) {
    char *copy = must_malloc(bytes.len + 1);
    if (bytes.len > 0) {
        memcpy(copy, bytes.ptr, bytes.len);
    }
    copy[bytes.len] = 0;
    return bytes_make(copy, bytes.len);
}

static void free_copy(struct bytes bytes) {
    free((char *)(uintptr_t)bytes.ptr);
}

struct library *library_new(const char *name, struct bytes text) {
    struct library *library = must_calloc(1, sizeof *library);
    list_node_init(&library->node);
    library->refs = 1;
    library->name = copy_of(bytes_of_text(name));
    library->text = copy_of(text);
    return library;
}

bool library_register(struct library *library, struct bytes name, struct bytes description,
                      unsigned flags, struct text *err) {
    if (!library_name_fits(name)) {
        text_append_text(err, "ERR Function names can only contain letters, numbers, or "
                              "underscores(_) and must be at least one character long");
        return false;
    }
    for (uint32_t i = 0; i < library->count; i++) {
        if (bytes_equal_nocase(library->functions[i].name, name)) {
            text_append_text(err, "ERR Function already exists in the library");
            return false;
        }
    }
    if (library->count == library->capacity) {
        library->capacity = library->capacity > 0 ? library->capacity * 2 : 4;
        library->functions =
            must_realloc(library->functions, library->capacity * sizeof *library->functions);
    }
    library->functions[library->count++] = (struct library_function){
        .name = copy_of(name),
        .description = description.ptr != NULL ? copy_of(description) : (struct bytes){0},
        .script = script_of_function(flags),
    };
    return true;
}

void library_ref(struct library *library) {
    atomic_fetch_add_explicit(&library->refs, 1, memory_order_relaxed);
}

void library_unref(struct library *library) {
    if (library == NULL ||
        atomic_fetch_sub_explicit(&library->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < library->count; i++) {
        free_copy(library->functions[i].name);
        free_copy(library->functions[i].description);
        script_unref(library->functions[i].script);
    }
    free(library->functions);
    free_copy(library->name);
    free_copy(library->text);
    free(library);
}

struct bytes library_name(const struct library *library) {
    return library->name;
}

struct bytes library_text(const struct library *library) {
    return library->text;
}

const struct library_function *library_functions(const struct library *library,
                                                 uint32_t *ret_count) {
    *ret_count = library->count;
    return library->functions;
}

static uint64_t bytes_of(const struct library *library) {
    uint64_t bytes = sizeof *library + library->name.len + library->text.len;
    for (uint32_t i = 0; i < library->count; i++) {
        const struct library_function *function = &library->functions[i];
        bytes += sizeof *function + function->name.len + function->description.len +
                 sizeof(struct function_link);
    }
    return bytes;
}

/* ---- All of them: with the lock held ---- */

static struct library *entry(struct list_node *node) {
    return LIST_ENTRY(node, struct library, node);
}

static struct library *find(const struct libraries *libraries, struct bytes name) {
    LIST_EACH(&libraries->all, node) {
        if (bytes_equal(entry(node)->name, name)) {
            return entry(node);
        }
    }
    return NULL;
}

static struct function_link *find_function(const struct libraries *libraries, struct bytes name) {
    uint64_t hash = library_name_hash(name);
    for (struct link *at = links_first(&libraries->functions, hash); at != NULL; at = at->next) {
        struct function_link *link = LINK_ENTRY(at, struct function_link, link);
        if (at->hash == hash &&
            bytes_equal_nocase(link->library->functions[link->index].name, name)) {
            return link;
        }
    }
    return NULL;
}

/* Takes over the reference. */
static void put(struct libraries *libraries, struct library *library) {
    library->links = must_calloc(library->count, sizeof *library->links);
    for (uint32_t i = 0; i < library->count; i++) {
        struct function_link *link = &library->links[i];
        *link = (struct function_link){.library = library, .index = i};
        link->link.hash = library_name_hash(library->functions[i].name);
        links_add(&libraries->functions, &link->link);
    }
    list_push_back(&libraries->all, &library->node);
    libraries->stats.count++;
    libraries->stats.functions += library->count;
    libraries->stats.bytes += bytes_of(library);
}

/* Hands the reference over. */
static struct library *take(struct libraries *libraries, struct library *library) {
    for (uint32_t i = 0; i < library->count; i++) {
        links_remove(&libraries->functions, &library->links[i].link);
    }
    free(library->links);
    library->links = NULL;
    list_remove(&library->node);
    libraries->stats.count--;
    libraries->stats.functions -= library->count;
    libraries->stats.bytes -= bytes_of(library);
    return library;
}

static void drop_all(struct libraries *libraries) {
    struct list_node *node;
    while ((node = list_first(&libraries->all)) != NULL) {
        library_unref(take(libraries, entry(node)));
    }
}

static bool fail(struct text *err, const char *what, struct bytes name) {
    text_appendf(err, "ERR %s ", what);
    text_append_bytes(err, name);
    text_append_text(err, " already exists");
    return false;
}

/* Whether what is there lets it in. */
static bool fits(const struct libraries *libraries, const struct library *library,
                 enum libraries_policy policy, struct text *err) {
    const struct library *old = find(libraries, library->name);
    return policy != LIBRARIES_APPEND || old == NULL || fail(err, "Library", library->name);
}

/* A function of a library that stays has the name of one of its own. `from`: the others that come;
 * NULL: it comes alone. */
static bool functions_fit(const struct libraries *libraries, const struct libraries *from,
                          const struct library *library, struct text *err) {
    for (uint32_t i = 0; i < library->count; i++) {
        const struct function_link *link = find_function(libraries, library->functions[i].name);
        if (link == NULL) {
            continue;
        }
        struct bytes owner = link->library->name;
        bool goes =
            bytes_equal(owner, library->name) || (from != NULL && find(from, owner) != NULL);
        if (!goes) {
            return fail(err, "Function", library->functions[i].name);
        }
    }
    return true;
}

static void replace(struct libraries *libraries, struct library *library) {
    struct library *old = find(libraries, library->name);
    if (old != NULL) {
        library_unref(take(libraries, old));
    }
    put(libraries, library);
}

static void changed(struct libraries *libraries) {
    atomic_fetch_add(&libraries->epoch, 1);
}

/* ---- All of them ---- */

struct libraries *libraries_new(void) {
    struct libraries *libraries = must_calloc(1, sizeof *libraries);
    pthread_mutex_init(&libraries->mutex, NULL);
    list_init(&libraries->all);
    links_init(&libraries->functions);
    return libraries;
}

void libraries_free(struct libraries *libraries) {
    if (libraries != NULL) {
        drop_all(libraries);
        links_fini(&libraries->functions);
        pthread_mutex_destroy(&libraries->mutex);
        free(libraries);
    }
}

bool libraries_have(struct libraries *libraries, struct bytes name) {
    pthread_mutex_lock(&libraries->mutex);
    bool have = find(libraries, name) != NULL;
    pthread_mutex_unlock(&libraries->mutex);
    return have;
}

bool libraries_keep(struct libraries *libraries, const struct library *library) {
    pthread_mutex_lock(&libraries->mutex);
    bool keep = find(libraries, library->name) == library;
    pthread_mutex_unlock(&libraries->mutex);
    return keep;
}

struct library *libraries_find(struct libraries *libraries, struct bytes function,
                               uint32_t *ret_index) {
    pthread_mutex_lock(&libraries->mutex);
    const struct function_link *link = find_function(libraries, function);
    struct library *library = link != NULL ? link->library : NULL;
    if (library != NULL) {
        *ret_index = link->index;
        library_ref(library);
    }
    pthread_mutex_unlock(&libraries->mutex);
    return library;
}

bool libraries_join(struct libraries *libraries, struct libraries *from,
                    enum libraries_policy policy, struct text *err) {
    pthread_mutex_lock(&libraries->mutex);
    bool good = true;
    if (policy == LIBRARIES_FLUSH) {
        drop_all(libraries);
    }
    LIST_EACH(&from->all, node) {
        good = good && fits(libraries, entry(node), policy, err);
    }
    LIST_EACH(&from->all, node) {
        good = good && functions_fit(libraries, from, entry(node), err);
    }
    if (good) {
        /* First all that go: a function may come back in another library. */
        LIST_EACH(&from->all, node) {
            struct library *old = find(libraries, entry(node)->name);
            if (old != NULL) {
                library_unref(take(libraries, old));
            }
        }
        struct list_node *node;
        while ((node = list_first(&from->all)) != NULL) {
            put(libraries, take(from, entry(node)));
        }
        changed(libraries);
    }
    pthread_mutex_unlock(&libraries->mutex);
    return good;
}

bool libraries_add(struct libraries *libraries, struct library *library,
                   enum libraries_policy policy, struct text *err) {
    pthread_mutex_lock(&libraries->mutex);
    bool good =
        fits(libraries, library, policy, err) && functions_fit(libraries, NULL, library, err);
    if (good) {
        replace(libraries, library);
        changed(libraries);
    }
    pthread_mutex_unlock(&libraries->mutex);
    return good;
}

bool libraries_delete(struct libraries *libraries, struct bytes name) {
    pthread_mutex_lock(&libraries->mutex);
    struct library *library = find(libraries, name);
    if (library != NULL) {
        library_unref(take(libraries, library));
        changed(libraries);
    }
    pthread_mutex_unlock(&libraries->mutex);
    return library != NULL;
}

void libraries_flush(struct libraries *libraries) {
    pthread_mutex_lock(&libraries->mutex);
    drop_all(libraries);
    changed(libraries);
    pthread_mutex_unlock(&libraries->mutex);
}

uint64_t libraries_epoch(const struct libraries *libraries) {
    return atomic_load_explicit(&libraries->epoch, memory_order_acquire);
}

struct libraries_list libraries_all(struct libraries *libraries) {
    pthread_mutex_lock(&libraries->mutex);
    struct libraries_list all = {.list = NULL};
    all.list = must_calloc(libraries->stats.count + 1, sizeof(struct library *));
    LIST_EACH(&libraries->all, node) {
        library_ref(entry(node));
        all.list[all.count++] = entry(node);
    }
    pthread_mutex_unlock(&libraries->mutex);
    return all;
}

void libraries_list_free(struct libraries_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        library_unref(list->list[i]);
    }
    free(list->list);
    *list = (struct libraries_list){0};
}

struct libraries_stats libraries_stats(struct libraries *libraries) {
    pthread_mutex_lock(&libraries->mutex);
    struct libraries_stats stats = libraries->stats;
    pthread_mutex_unlock(&libraries->mutex);
    return stats;
}
