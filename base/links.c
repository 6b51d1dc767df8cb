/* SPDX-License-Identifier: BSD-3-Clause */
/* Chains in buckets, at most as many elements as buckets; see the header. */
#include "base/links.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

#define BUCKETS_MIN 16

void links_init(struct links *links) {
    *links = (struct links){0};
}

static void resize(struct links *links, size_t buckets_count) {
    struct link **buckets = NULL;
    if (buckets_count > 0) {
        buckets = must_calloc(buckets_count, sizeof(struct link *));
    }
    for (size_t i = 0; i < links->buckets_count; i++) {
        for (struct link *link = links->buckets[i], *next; link != NULL; link = next) {
            next = link->next;
            struct link **bucket = &buckets[link->hash & (buckets_count - 1)];
            link->next = *bucket;
            *bucket = link;
        }
    }
    free(links->buckets);
    links->buckets = buckets;
    links->buckets_count = buckets_count;
}

void links_fini(struct links *links) {
    check(links->count == 0);
    resize(links, 0);
}

void links_add(struct links *links, struct link *link) {
    if (links->count == links->buckets_count) {
        resize(links, links->count > 0 ? links->count * 2 : BUCKETS_MIN);
    }
    struct link **bucket = &links->buckets[link->hash & (links->buckets_count - 1)];
    link->next = *bucket;
    *bucket = link;
    links->count++;
}

void links_remove(struct links *links, struct link *link) {
    struct link **at = &links->buckets[link->hash & (links->buckets_count - 1)];
    while (*at != link) {
        at = &(*at)->next;
    }
    *at = link->next;
    links->count--;
    if (links->count == 0 && links->buckets_count > BUCKETS_MIN) {
        resize(links, 0);
    }
}
