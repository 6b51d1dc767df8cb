/* SPDX-License-Identifier: BSD-3-Clause */
/* Strings: their three forms, reading them, setting them whole, and editing them in place.
 *
 * A SET of a key that is there mostly finds a block of the right size: then nothing is allocated
 * and no table is touched. What the value is stored as is decided anew by every SET; edits keep it
 * a blob once it is one.
 *
 * OBJECT ENCODING names must be Valkey's, but they say nothing about us: a "raw" string may be
 * stored inline. So raw is a flag, set where Valkey would have made the value raw: when it is too
 * long to embed, now or when it got its TTL or its name, and by commands that edit in place.
 */
#include "shard/types/string.h"

#include "base/budget.h"
#include "base/num.h"
#include "shard/keys/keyspace_private.h"
#include "shard/memory/blob.h"
#include "shard/types/string_forms.h"

static_assert(NUMBER_TEXT_BYTES == NUM_I64_BYTES, "one size for the text of an integer");

/* A string that is being appended to moves to a blob, which can have room to spare, from this
 * length on. */
#define GROWING_INLINE_MAX 512
/* Spare room doubles a string up to this, and is this much from then on. */
#define GROWING_SPARE_MAX (1u << 20)
/* A copy in slices takes at least this much at a time. */
#define COPY_STEP_BYTES (64u << 10)

/* Asked of a Valkey 9.1.2: key and value together up to 113 bytes are embstr, two less if the key
 * is longer than 31, eight less with a TTL. */
bool string_too_long_to_embed(size_t key_length, bool has_ttl, size_t value_length) {
    size_t limit = (key_length < 32 ? 113 : 111) - (has_ttl ? 8 : 0);
    return key_length + value_length > limit;
}

/* ---- Reading ---- */

struct bytes string_value_bytes(const struct value *value, char *scratch) {
    check(value->type == TYPE_STRING);
    switch ((enum value_form)value->form) {
    case FORM_INLINE:
        return value->bytes;
    case FORM_INT:
        return bytes_make(scratch, num_format_i64(scratch, value->number));
    case FORM_BLOB:
        return bytes_make(((struct blob *)value->root)->data, ((struct blob *)value->root)->length);
    default:
        __builtin_unreachable();
    }
}

struct bytes string_bytes(const struct entry *entry, char *scratch) {
    struct value value = entry_get(entry);
    return string_value_bytes(&value, scratch);
}

size_t string_length(const struct entry *entry) {
    char scratch[NUMBER_TEXT_BYTES];
    return string_bytes(entry, scratch).len;
}

static enum string_encoding value_encoding(const struct value *value) {
    check(value->type == TYPE_STRING);
    return value->form == FORM_INT ? STRING_INT : value->raw ? STRING_RAW : STRING_EMBSTR;
}

enum string_encoding string_encoding(const struct entry *entry) {
    struct value value = entry_get(entry);
    return value_encoding(&value);
}

bool string_to_int(const struct entry *entry, int64_t *ret_value) {
    check(entry->type == TYPE_STRING);
    if (entry->form == FORM_INT) {
        *ret_value = entry_int(entry);
        return true;
    }
    return num_parse_i64(string_bytes(entry, NULL), ret_value);
}

size_t string_serialized_bytes(const struct entry *entry) {
    int64_t number;
    if (string_to_int(entry, &number) && number >= INT32_MIN && number <= INT32_MAX) {
        if (number >= INT8_MIN && number <= INT8_MAX) {
            return 2;
        }
        return number >= INT16_MIN && number <= INT16_MAX ? 3 : 5;
    }
    size_t n = string_length(entry);
    return n + (n < 64 ? 1 : n < 16384 ? 2 : 5);
}

static struct blob *entry_blob(const struct entry *entry) {
    return entry_root(entry);
}

void *string_pin(struct entry *entry, struct bytes *ret_bytes) {
    if (entry->type != TYPE_STRING || entry->form != FORM_BLOB) {
        return NULL;
    }
    struct blob *blob = entry_blob(entry);
    blob_ref(blob);
    *ret_bytes = bytes_make(blob->data, blob->length);
    return blob;
}

void string_unpin(void *pin) {
    blob_unref(pin);
}

/* Lets go of a blob that no entry names any more. */
static void blob_drop(struct shard_heap *heap, struct blob *blob) {
    heap_disown(heap, blob_bytes(blob));
    blob_unref(blob);
}

/* ---- SET ---- */

/* What a new value is to become. */
struct setting {
    struct bytes text; /* unless it is an integer */
    int64_t number;
    enum value_form form;
    struct blob *blob; /* a blob to take over, or NULL: the text is copied into one */
    bool raw;          /* whatever its length */
};

/* The old value's blob, if it is free to be used for the new one and of a fitting size. */
static struct blob *reusable_blob(const struct entry *old, size_t length) {
    if (!old || old->form != FORM_BLOB) {
        return NULL;
    }
    struct blob *blob = entry_blob(old);
    bool fits = blob->capacity >= length && blob->capacity / 2 <= length;
    return fits && blob_unshared(blob) ? blob : NULL;
}

static void put_value(struct keyspace *ks, struct entry *entry, const struct setting *setting,
                      struct blob *blob) {
    switch (setting->form) {
    case FORM_INT:
        entry_put_int(entry, setting->number);
        break;
    case FORM_INLINE:
        memcpy(entry_value(entry), setting->text.ptr, setting->text.len);
        break;
    case FORM_BLOB:
        if (setting->blob) {
            heap_adopt(ks->heap, blob_bytes(setting->blob));
            entry_put_root(entry, setting->blob);
            break;
        }
        if (!blob) {
            blob = blob_new(ks->heap, setting->text.len, setting->text.len);
            heap_adopt(ks->heap, blob_bytes(blob));
        }
        blob->length = setting->text.len;
        memcpy(blob->data, setting->text.ptr, setting->text.len);
        entry_put_root(entry, blob);
        break;
    default:
        __builtin_unreachable();
    }
}

/* Gives the entry, if there is one a string, the shape for the new value; nothing happens if it has
 * it. */
static struct entry *reshape_for(struct change *change, const struct setting *setting,
                                 int64_t expires_at, struct blob *keep) {
    struct entry *old = change->entry;
    if (old && old->form == FORM_BLOB && entry_blob(old) != keep) {
        blob_drop(change->ks->heap, entry_blob(old));
    }
    return change_shape(change, expires_at != NO_EXPIRY, setting->form, setting->text.len);
}

/* Anything but a string is deleted first: only its deadline and its clock go over to the new value.
 */
static struct entry *set_value(const struct string_target *target, struct setting setting) {
    struct keyspace *ks = target->ks;
    struct change change;
    change_open_any(&change, ks, target->db, target->key, target->now_ms);
    struct entry *old = change.entry;
    int64_t old_deadline = old ? entry_deadline(old) : NO_EXPIRY;
    int64_t expires_at = target->expires_at == KEEP_TTL ? old_deadline : target->expires_at;
    bool existed = old != NULL;
    uint32_t lru = old ? old->lru : lru_fresh(ks, target->now_ms);
    if (old && UNLIKELY(old->type != TYPE_STRING)) {
        change_drop(&change);
        old_deadline = NO_EXPIRY;
    }
    bool copied = setting.form == FORM_BLOB && setting.blob == NULL;
    struct blob *keep = copied ? reusable_blob(change.entry, setting.text.len) : NULL;
    struct entry *entry = reshape_for(&change, &setting, expires_at, keep);
    put_value(ks, entry, &setting, keep);

    entry->lru = lru & 0xFFFFFF;
    if (existed) {
        lru_touch(ks, entry, target->now_ms);
    }
    /* Valkey makes the new value with room for the old deadline, so that one counts here too. */
    bool has_ttl = expires_at != NO_EXPIRY;
    bool raw = setting.form != FORM_INT &&
               (setting.raw ||
                string_too_long_to_embed(target->key->name.len,
                                         has_ttl || old_deadline != NO_EXPIRY, setting.text.len));
    entry->flags = (uint8_t)((entry->flags & ~ENTRY_RAW) | (raw ? ENTRY_RAW : 0));
    if (has_ttl || old_deadline != NO_EXPIRY) {
        change_deadline(&change, old_deadline, expires_at);
    }
    return change_close_string(&change, target->event);
}

static struct setting text_setting(struct bytes value) {
    return (struct setting){
        .text = value,
        .form = value.len <= VALUE_INLINE_MAX ? FORM_INLINE : FORM_BLOB,
    };
}

struct entry *string_set_text(const struct string_target *target, struct bytes value) {
    return set_value(target, text_setting(value));
}

struct entry *string_set_raw(const struct string_target *target, struct bytes value) {
    struct setting setting = text_setting(value);
    setting.raw = true;
    return set_value(target, setting);
}

struct entry *string_set_blob(const struct string_target *target, struct blob *value) {
    static_assert(BLOB_VALUE_MIN > VALUE_INLINE_MAX, "neither inline nor a number");
    check(value->length >= BLOB_VALUE_MIN);
    struct setting setting = {
        .text = bytes_make(value->data, value->length),
        .form = FORM_BLOB,
        .blob = value,
    };
    return set_value(target, setting);
}

struct entry *string_set_int(const struct string_target *target, int64_t value) {
    struct setting setting = {.number = value, .form = FORM_INT};
    return set_value(target, setting);
}

struct entry *string_replace_int(const struct string_target *target, struct entry *entry,
                                 int64_t value) {
    if (entry->form != FORM_INT) {
        struct string_target keeping = *target;
        keeping.expires_at = KEEP_TTL;
        return string_set_int(&keeping, value);
    }
    struct change change;
    change_open(&change, target->ks, target->db, target->key, entry, target->now_ms);
    entry_put_int(entry, value);
    return change_close_string(&change, target->event);
}

struct entry *string_set(const struct string_target *target, struct bytes value) {
    int64_t number;
    if (value.len <= 20 && num_parse_i64(value, &number)) {
        return string_set_int(target, number);
    }
    return string_set_text(target, value);
}

/* ---- Editing in place ---- */

/* Even what does not say that it is growing (SETRANGE, SETBIT) often is, if it has outgrown a blob
 * before. */
static size_t blob_capacity_for(size_t length, bool growing, bool outgrown) {
    size_t spare = growing ? length : outgrown ? length / 8 : 0;
    return length + (spare < GROWING_SPARE_MAX ? spare : GROWING_SPARE_MAX);
}

/* The blob with room for `length`, and content of its own. The heap's count follows. */
static struct blob *blob_for_edit(struct keyspace *ks, struct blob *blob, size_t length,
                                  bool growing) {
    bool unshared = blob_unshared(blob);
    if (unshared && blob->capacity >= length) {
        return blob;
    }
    heap_disown(ks->heap, blob_bytes(blob));
    size_t capacity = blob_capacity_for(length, growing, length > blob->capacity);
    if (unshared) {
        blob = blob_resize(ks->heap, blob, capacity);
    } else {
        struct blob *copy = blob_new(ks->heap, blob->length, capacity);
        memcpy(copy->data, blob->data, blob->length);
        blob_unref(blob);
        blob = copy;
    }
    heap_adopt(ks->heap, blob_bytes(blob));
    return blob;
}

static char *edit_blob(struct keyspace *ks, struct entry *entry, size_t length, bool growing) {
    struct blob *blob = entry_blob(entry);
    size_t kept = blob->length < length ? blob->length : length;
    if (blob->length > length && !blob_unshared(blob)) {
        struct blob *copy = blob_new(ks->heap, length, length);
        memcpy(copy->data, blob->data, length);
        heap_disown(ks->heap, blob_bytes(blob));
        blob_unref(blob);
        heap_adopt(ks->heap, blob_bytes(copy));
        blob = copy;
    } else {
        blob = blob_for_edit(ks, blob, length, growing);
    }
    memset(blob->data + kept, 0, length - kept);
    blob->length = length;
    entry_put_root(entry, blob);
    return blob->data;
}

/* An integer becomes its text; the entry may move. */
static void int_to_text(struct change *change) {
    char text[NUMBER_TEXT_BYTES];
    size_t length = num_format_i64(text, entry_int(change->entry));
    bool has_ttl = change->entry->flags & ENTRY_HAS_TTL;
    memcpy(entry_value(change_shape(change, has_ttl, FORM_INLINE, length)), text, length);
}

static char *edit_inline(struct change *change, size_t length, bool growing) {
    struct entry *entry = change->entry;
    bool has_ttl = entry->flags & ENTRY_HAS_TTL;
    size_t kept = entry->value_bytes < length ? entry->value_bytes : length;
    if (length <= (growing ? GROWING_INLINE_MAX : VALUE_INLINE_MAX)) {
        entry = change_shape(change, has_ttl, FORM_INLINE, length);
        memset(entry_value(entry) + kept, 0, length - kept);
        return entry_value(entry);
    }
    struct shard_heap *heap = change->ks->heap;
    struct blob *blob = blob_new(heap, length, blob_capacity_for(length, growing, false));
    heap_adopt(heap, blob_bytes(blob));
    memcpy(blob->data, entry_value(entry), kept);
    memset(blob->data + kept, 0, length - kept);
    entry_put_root(change_shape(change, has_ttl, FORM_BLOB, 0), blob);
    return blob->data;
}

struct value string_new(struct shard_heap *heap, struct bytes text) {
    struct value value = {.type = TYPE_STRING, .form = FORM_INLINE};
    if (text.len <= 20 && num_parse_i64(text, &value.number)) {
        value.form = FORM_INT;
    } else if (text.len <= VALUE_INLINE_MAX) {
        value.bytes = text;
    } else {
        struct blob *blob = blob_new(heap, text.len, text.len);
        heap_adopt(heap, blob_bytes(blob));
        memcpy(blob->data, text.ptr, text.len);
        value.form = FORM_BLOB;
        value.root = blob;
    }
    return value;
}

char *string_edit(struct change *change, size_t length, bool growing) {
    struct keyspace *ks = change->ks;
    if (!change->entry) {
        struct entry *entry = change_shape(change, false, FORM_INLINE, 0);
        entry->lru = lru_fresh(ks, change->now_ms) & 0xFFFFFF;
    }
    check(change->entry->type == TYPE_STRING);
    change->entry->flags |= ENTRY_RAW;
    if (change->entry->form == FORM_BLOB) {
        return edit_blob(ks, change->entry, length, growing);
    }
    if (change->entry->form == FORM_INT) {
        int_to_text(change);
    }
    return edit_inline(change, length, growing);
}

/* ---- The forms ---- */

static const char *form_encoding(const struct value *value) {
    static const char *const names[] = {
        [STRING_INT] = "int",
        [STRING_EMBSTR] = "embstr",
        [STRING_RAW] = "raw",
    };
    return names[value_encoding(value)];
}

static uint64_t form_count(const struct value *value) {
    check(value->type == TYPE_STRING);
    return 1;
}

static size_t within_entry(const struct value *value) {
    check(value->type == TYPE_STRING);
    return 0;
}

static uint64_t form_walk(const struct value *value, uint64_t cursor, uint64_t count,
                          value_element_fn *visit, void *arg) {
    (void)count;
    check(cursor == 0);
    char scratch[NUMBER_TEXT_BYTES];
    struct value_element element = {.first = string_value_bytes(value, scratch)};
    visit(arg, &element);
    return 0;
}

static void inline_verify(const struct value *value) {
    check(value->bytes.len <= VALUE_INLINE_MAX);
}

static void int_verify(const struct value *value) {
    check(!value->raw);
}

static void blob_verify(const struct value *value) {
    const struct blob *blob = value->root;
    check(blob->length <= blob->capacity);
}

static size_t blob_memory(const struct value *value) {
    return blob_bytes(value->root);
}

/* One block: a few stores, whatever its size. */
static bool blob_free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    (void)budget;
    blob_drop(heap, value->root);
    value->root = NULL;
    return true;
}

static bool blob_copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                           uint64_t *cursor, size_t *budget) {
    const struct blob *source = from->root;
    if (*cursor == 0) {
        to->root = blob_try_new(heap, source->length);
        if (to->root == NULL) {
            return true;
        }
        heap_adopt(heap, blob_bytes(to->root));
    }
    size_t step = *budget > COPY_STEP_BYTES ? *budget : COPY_STEP_BYTES;
    size_t rest = source->length - *cursor, bytes = rest < step ? rest : step;
    memcpy(((struct blob *)to->root)->data + *cursor, source->data + *cursor, bytes);
    *cursor += bytes;
    budget_spend(budget, bytes);
    return bytes == rest;
}

static void blob_share(struct shard_heap *heap, const struct value *from, struct value *to) {
    blob_ref(from->root);
    heap_adopt(heap, blob_bytes(from->root));
    to->root = from->root;
}

static bool blob_is_own(const struct shard_heap *heap, const struct value *value) {
    const struct blob *blob = value->root;
    return blob->heap == heap && blob_unshared(blob);
}

static bool blob_relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                               size_t *budget) {
    check(*cursor == 0);
    size_t copied;
    value->root = blob_relocate(heap, value->root, &copied);
    budget_spend(budget, copied);
    return true;
}

const struct form string_form_inline = {
    .encoding = form_encoding,
    .count = form_count,
    .memory = within_entry,
    .walk = form_walk,
    .verify = inline_verify,
};

const struct form string_form_int = {
    .encoding = form_encoding,
    .count = form_count,
    .memory = within_entry,
    .walk = form_walk,
    .verify = int_verify,
};

const struct form string_form_blob = {
    .encoding = form_encoding,
    .count = form_count,
    .memory = blob_memory,
    .walk = form_walk,
    .verify = blob_verify,
    .free_some = blob_free_some,
    .copy_some = blob_copy_some,
    .share = blob_share,
    .is_own = blob_is_own,
    .relocate_some = blob_relocate_some,
};
