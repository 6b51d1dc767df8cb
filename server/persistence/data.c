/* SPDX-License-Identifier: BSD-3-Clause */
/* One operation after the other: each step asks for one, and goes on in a later turn. */
#include "server/persistence/data.h"

#include "base/check.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEMPORARY_NAME "shoal.manifest.new"
/* Nothing that is a manifest is larger. */
#define CONTENT_MAX ((int64_t)64 << 20)

enum step {
    STEP_BEGIN = 0, /* data_is_idle */
    STEP_DIR_MADE,
    STEP_OPENED,
    STEP_SIZE,
    STEP_READ,
    STEP_CLOSED,
    STEP_KNOWN,
    STEP_DIR_SYNCED,
    STEP_PARENT_SYNCED,
    STEP_WRITING,
    STEP_RENAMED,
    STEP_NAMES_SYNCED,
    STEP_CLEANING,
    STEP_CLEANED,
    STEP_FORGOTTEN,
};

void data_init(struct data *data, struct rt *rt) {
    *data = (struct data){.rt = rt, .found = -1};
    list_init(&data->changes);
    text_init(&data->dir);
    text_init(&data->content);
    text_init(&data->path);
    text_init(&data->other_path);
    manifest_init(&data->manifest);
    manifest_init(&data->next);
    manifest_init(&data->before);
}

void data_fini(struct data *data) {
    if (data->step == STEP_WRITING) {
        save_file_forget(&data->file);
    }
    text_fini(&data->dir);
    text_fini(&data->content);
    text_fini(&data->path);
    text_fini(&data->other_path);
    manifest_fini(&data->manifest);
    manifest_fini(&data->next);
    manifest_fini(&data->before);
    free(data->sequences);
}

void data_path(struct text *to, const char *dir, const char *dir_name, const char *name) {
    text_appendf(to, "%s/%s%s%s", dir, dir_name, name[0] != 0 ? "/" : "", name);
}

static void set_path(struct text *path, const struct data_change *change, const char *name) {
    text_clear(path);
    data_path(path, change->dir, change->dir_name, name);
}

/* ---- Operations ---- */

static void done(struct rt_file_op *op, int64_t result) {
    struct data *data = LIST_ENTRY(op, struct data, op);
    data->asked = false;
    data->result = result;
}

static struct rt_file_op *ask(struct data *data, enum step next) {
    check(!data->asked);
    data->asked = true;
    data->step = next;
    data->op.done = done;
    return &data->op;
}

static struct data_change *change_at(struct data *data) {
    return LIST_ENTRY(list_first(&data->changes), struct data_change, link);
}

static void over(struct data *data, int error) {
    struct data_change *change = change_at(data);
    list_remove(&change->link);
    manifest_fini(&data->next);
    data->step = STEP_BEGIN;
    change->done(change, error);
}

/* ---- Sequences ---- */

uint64_t data_last_sequence(const struct data *data, uint32_t shard) {
    return shard < data->sequences_count ? data->sequences[shard] : 0;
}

static void note_sequences(struct data *data, const struct manifest *manifest) {
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        if (segment->shard >= data->sequences_count) {
            uint32_t count = segment->shard + 1;
            data->sequences = must_realloc(data->sequences, count * sizeof *data->sequences);
            memset(data->sequences + data->sequences_count, 0,
                   (count - data->sequences_count) * sizeof *data->sequences);
            data->sequences_count = count;
        }
        if (segment->sequence > data->sequences[segment->shard]) {
            data->sequences[segment->shard] = segment->sequence;
        }
    }
}

/* ---- What is there ---- */

static bool is_where(const struct data *data, const char *dir) {
    return bytes_equal(text_bytes(&data->dir), bytes_of_text(dir));
}

static void know(struct data *data, bool is) {
    set_path(&data->dir, change_at(data), "");
    data->is = is;
    note_sequences(data, &data->manifest);
    data->step = STEP_KNOWN;
}

static void look(struct data *data) {
    set_path(&data->path, change_at(data), "");
    if (is_where(data, data->path.ptr)) {
        data->step = STEP_KNOWN;
        return;
    }
    manifest_fini(&data->manifest);
    data->is = data->unsure = false;
    data->sequences_count = 0;
    text_clear(&data->dir);
    set_path(&data->path, change_at(data), MANIFEST_NAME);
    rt_file_open(data->rt, ask(data, STEP_OPENED), data->path.ptr, RT_OPEN_READ, 0);
}

static void opened(struct data *data) {
    if (data->result == -ENOENT || data->result == -ENOTDIR) {
        know(data, false);
    } else if (data->result < 0) {
        over(data, (int)data->result);
    } else {
        data->found = (rt_file)data->result;
        rt_file_size(data->rt, ask(data, STEP_SIZE), data->found);
    }
}

static void sized(struct data *data) {
    int64_t size = data->result;
    text_clear(&data->content);
    if (size < 0 || size > CONTENT_MAX) {
        data->result = size < 0 ? size : -EBADMSG;
        data->step = STEP_READ;
        return;
    }
    text_reserve(&data->content, (size_t)size);
    data->content.len = (size_t)size;
    rt_file_read(data->rt, ask(data, STEP_READ), data->found, data->content.ptr, (size_t)size, 0);
}

static void content_read(struct data *data) {
    int64_t result = data->result;
    if (result >= 0) {
        struct bytes read = bytes_make(data->content.ptr, (size_t)result);
        result = manifest_decode(read, &data->manifest) != NULL ? -EBADMSG : 0;
    }
    data->found_error = result < 0 ? (int)result : 0;
    rt_file_close(data->rt, ask(data, STEP_CLOSED), data->found);
}

static void found_closed(struct data *data) {
    int error = data->found_error;
    data->found = -1;
    if (error != 0) {
        over(data, error);
    } else {
        know(data, true);
    }
}

/* ---- The change ---- */

static void known(struct data *data) {
    struct data_change *change = change_at(data);
    if (change->apply == NULL) {
        over(data, 0);
        return;
    }
    manifest_copy(&data->next, &data->manifest);
    data->next_is = change->apply(change, &data->next);
    if (!data->next_is) { /* it names nothing; generations go on */
        data->next.bases_count = data->next.count = 0;
    }
    if (!data->next_is && !data->is) {
        if (data->unsure) { /* it may be there again after a power cut */
            set_path(&data->path, change, "");
            rt_dir_sync(data->rt, ask(data, STEP_NAMES_SYNCED), data->path.ptr);
            return;
        }
        over(data, 0);
        return;
    }
#ifdef SHOAL_UNSAFE_DATA_NAMES /* for the test that crashes in the simulator show it */
    data->step = STEP_PARENT_SYNCED;
    data->result = 0;
    return;
#endif
    set_path(&data->path, change, "");
    rt_dir_sync(data->rt, ask(data, STEP_DIR_SYNCED), data->path.ptr);
}

static void dir_synced(struct data *data) {
    if (data->result < 0) {
        over(data, (int)data->result);
        return;
    }
    text_clear(&data->path);
    text_append_text(&data->path, change_at(data)->dir);
    rt_dir_sync(data->rt, ask(data, STEP_PARENT_SYNCED), data->path.ptr);
}

static void parent_synced(struct data *data) {
    if (data->result < 0) {
        over(data, (int)data->result);
        return;
    }
    if (!data->next_is) {
        set_path(&data->path, change_at(data), MANIFEST_NAME);
        set_path(&data->other_path, change_at(data), MANIFEST_GONE_NAME);
        rt_file_rename(data->rt, ask(data, STEP_RENAMED), data->path.ptr, data->other_path.ptr);
        return;
    }
    set_path(&data->path, change_at(data), TEMPORARY_NAME);
    save_file_init(&data->file, data->rt);
#ifdef SHOAL_UNSAFE_DATA_CONTENT /* the same */
    bool syncs = false;
#else
    bool syncs = true;
#endif
    save_file_open(&data->file, data->path.ptr, 0, syncs, false);
    manifest_encode(&data->file.filling, &data->next);
    save_file_end(&data->file);
    data->step = STEP_WRITING;
}

/* False: it is under way. */
static bool writing(struct data *data) {
    if (!save_file_step(&data->file)) {
        return false;
    }
    int error = data->file.error;
    save_file_fini(&data->file);
    if (error != 0) {
        over(data, error);
        return true;
    }
    set_path(&data->other_path, change_at(data), MANIFEST_NAME);
    rt_file_rename(data->rt, ask(data, STEP_RENAMED), data->path.ptr, data->other_path.ptr);
    return true;
}

static void renamed(struct data *data) {
    if (data->result < 0) {
        over(data, (int)data->result);
        return;
    }
    set_path(&data->path, change_at(data), "");
    rt_dir_sync(data->rt, ask(data, STEP_NAMES_SYNCED), data->path.ptr);
}

/* Whatever is on the disk, the new one is what a start would find now: if its name is not known to
 * last, files of both stay. */
static void names_synced(struct data *data) {
    manifest_fini(&data->before);
    if (data->result < 0) {
        manifest_fini(&data->manifest);
    } else {
        data->before = data->manifest;
    }
    data->manifest = data->next;
    manifest_init(&data->next);
    data->is = data->next_is;
    note_sequences(data, &data->manifest);
    data->removed = 0;
    data->unsure = data->result < 0;
    data->left_some |= data->result < 0;
    int error = data->result < 0 ? (int)data->result : 0;
    struct data_change *change = change_at(data);
    list_remove(&change->link);
    data->step = STEP_CLEANING;
    data->result = 0;
    change->done(change, error);
}

static bool names_segment(const struct manifest *manifest, uint32_t shard, uint64_t sequence) {
    for (uint32_t i = 0; i < manifest->count; i++) {
        if (manifest->segments[i].shard == shard && manifest->segments[i].sequence == sequence) {
            return true;
        }
    }
    return false;
}

/* The next of those that are no data any more; false: there is none. */
static bool next_left_over(struct data *data, char name[MANIFEST_NAME_BYTES]) {
    const struct manifest *before = &data->before;
    while (data->removed < before->bases_count + before->count) {
        uint32_t i = data->removed++;
        if (i < before->bases_count) {
            manifest_base_name(name, before->generation, before->bases[i].shard);
            if (!manifest_names_base(&data->manifest, before->generation, before->bases[i].shard)) {
                return true;
            }
            continue;
        }
        const struct manifest_segment *segment = &before->segments[i - before->bases_count];
        manifest_segment_name(name, segment->shard, segment->sequence);
        if (!names_segment(&data->manifest, segment->shard, segment->sequence)) {
            return true;
        }
    }
    return false;
}

static void clean(struct data *data) {
    char name[MANIFEST_NAME_BYTES];
    data->left_some |= data->result < 0;
    if (next_left_over(data, name)) {
        text_clear(&data->path);
        text_appendf(&data->path, "%s/%s", data->dir.ptr, name);
        rt_file_remove(data->rt, ask(data, STEP_CLEANING), data->path.ptr);
        return;
    }
    manifest_fini(&data->before);
    data->step = STEP_BEGIN;
    if (!data->is && !data->left_some) {
        rt_dir_sync(data->rt, ask(data, STEP_CLEANED), data->dir.ptr);
    }
}

/* Its files have gone for good: what it said of them may go. */
static void cleaned(struct data *data) {
    data->step = STEP_BEGIN;
    if (data->result >= 0) {
        text_clear(&data->path);
        text_appendf(&data->path, "%s/%s", data->dir.ptr, MANIFEST_GONE_NAME);
        rt_file_remove(data->rt, ask(data, STEP_FORGOTTEN), data->path.ptr);
    }
}

/* ---- In each turn ---- */

void data_ask(struct data *data, struct data_change *change) {
    list_push_back(&data->changes, &change->link);
}

static void begin(struct data *data) {
    const struct data_change *change = change_at(data);
    if (!change->makes_dir) {
        look(data);
        return;
    }
    set_path(&data->path, change, "");
    rt_dir_make(data->rt, ask(data, STEP_DIR_MADE), data->path.ptr, 0);
}

static void dir_made(struct data *data) {
    if (data->result < 0 && data->result != -EEXIST) {
        over(data, (int)data->result);
    } else {
        look(data);
    }
}

void data_step(struct data *data) {
    while (!data->asked) {
        switch ((enum step)data->step) {
        case STEP_BEGIN:
            if (list_empty(&data->changes)) {
                return;
            }
            begin(data);
            break;
        case STEP_DIR_MADE:
            dir_made(data);
            break;
        case STEP_OPENED:
            opened(data);
            break;
        case STEP_SIZE:
            sized(data);
            break;
        case STEP_READ:
            content_read(data);
            break;
        case STEP_CLOSED:
            found_closed(data);
            break;
        case STEP_KNOWN:
            known(data);
            break;
        case STEP_DIR_SYNCED:
            dir_synced(data);
            break;
        case STEP_PARENT_SYNCED:
            parent_synced(data);
            break;
        case STEP_WRITING:
            if (!writing(data)) {
                return;
            }
            break;
        case STEP_RENAMED:
            renamed(data);
            break;
        case STEP_NAMES_SYNCED:
            names_synced(data);
            break;
        case STEP_CLEANING:
            clean(data);
            break;
        case STEP_CLEANED:
            cleaned(data);
            break;
        case STEP_FORGOTTEN:
            data->step = STEP_BEGIN;
            break;
        }
    }
}
