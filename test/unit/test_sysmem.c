/* SPDX-License-Identifier: BSD-3-Clause */
#include "shard/memory/sysmem.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REGION ((size_t)4 << 20)

Test(sysmem, mapped_pages_are_aligned_and_zero) {
    for (size_t align = 4096; align <= REGION; align *= 4) {
        size_t bytes = 3 * 4096;
        char *pages = sysmem_map(bytes, align);
        cr_assert_eq((uintptr_t)pages % align, 0);
        for (size_t i = 0; i < bytes; i++) {
            cr_assert_eq(pages[i], 0);
        }
        memset(pages, 'x', bytes);
        sysmem_discard(pages, bytes);
        cr_assert(pages[0] == 0 && pages[bytes - 1] == 0);
        sysmem_unmap(pages, bytes);
    }
}

Test(sysmem, discard_takes_whole_pages_only) {
    size_t page = (size_t)getpagesize();
    char *pages = sysmem_map(4 * page, page);
    memset(pages, 'x', 4 * page);
    sysmem_discard(pages + 1, page - 1);
    sysmem_discard(pages + 1, 2);
    cr_assert(pages[0] == 'x' && pages[1] == 'x' && pages[page - 1] == 'x');
    sysmem_discard(pages + 1, 3 * page);
    cr_assert(pages[page - 1] == 'x' && pages[page] == 0);
    cr_assert(pages[3 * page - 1] == 0 && pages[3 * page] == 'x');
    sysmem_unmap(pages, 4 * page);
}

static unsigned mappings(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    cr_assert_not_null(file);
    unsigned lines = 0;
    for (int c; (c = fgetc(file)) != EOF;) {
        lines += c == '\n';
    }
    fclose(file);
    return lines;
}

/* Each region had a hole behind it, so that each was a mapping of its own: with 65530 of them, 256
 * GB, the kernel gave no more and the server ended. */
Test(sysmem, regions_of_a_heap_join_into_few_mappings) {
    enum { COUNT = 200 };
    void *regions[COUNT];
    unsigned before = mappings();
    for (int i = 0; i < COUNT; i++) {
        regions[i] = sysmem_map(REGION, REGION);
    }
    unsigned after = mappings();
    cr_assert_lt(after, before + COUNT / 10, "%u mappings became %u", before, after);
    for (int i = 0; i < COUNT; i++) {
        sysmem_unmap(regions[i], REGION);
    }
}
