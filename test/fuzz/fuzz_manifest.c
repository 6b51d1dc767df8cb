/* SPDX-License-Identifier: BSD-3-Clause */
/* Manifests: whatever bytes they are, nothing is read past them; what is taken is, written again,
 * the same bytes. The checksum of what has a last line is made right first.
 */
#include "base/check.h"
#include "persist/log/manifest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define END_BYTES 21 /* "end ", 16 digits, a line's end */

static void make_right(char *bytes, size_t size) {
    char end[END_BYTES + 1];
    if (size >= END_BYTES && memcmp(bytes + size - END_BYTES, "end ", 4) == 0) {
        uint64_t hash = XXH3_64bits(bytes, size - END_BYTES);
        snprintf(end, sizeof end, "end %016llx\n", (unsigned long long)hash);
        memcpy(bytes + size - END_BYTES, end, END_BYTES);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = malloc(size + (size == 0));
    memcpy(bytes, data, size);
    make_right(bytes, size);
    struct manifest manifest;
    manifest_init(&manifest);
    if (manifest_decode(bytes_make(bytes, size), &manifest) == NULL) {
        struct text again;
        text_init(&again);
        manifest_encode(&again, &manifest);
        check(bytes_equal(text_bytes(&again), bytes_make(bytes, size)));
        for (uint32_t i = 0; i < manifest.count; i++) {
            const struct manifest_segment *named = &manifest.segments[i];
            struct log_segment segment = {.shard = named->shard,
                                          .generation = named->generation,
                                          .sequence = named->sequence,
                                          .salt = named->salt};
            check(manifest_check(&manifest, i, &segment, named->bytes) == NULL);
        }
        text_fini(&again);
    } else {
        check(manifest.segments == NULL && manifest.count == 0);
    }
    manifest_fini(&manifest);
    free(bytes);
    return 0;
}
