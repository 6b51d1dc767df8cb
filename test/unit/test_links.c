/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/links.h"

#include "growth.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct thing {
    struct link link;
    uint64_t number;
};

static struct thing *find(const struct links *links, uint64_t number) {
    for (struct link *at = links_first(links, links_hash(number)); at != NULL; at = at->next) {
        struct thing *thing = LINK_ENTRY(at, struct thing, link);
        if (thing->number == number) {
            return thing;
        }
    }
    return NULL;
}

static void things_come_and_go(unsigned n) {
    struct links links;
    links_init(&links);
    struct thing *things = malloc(n * sizeof *things);
    cr_assert_not_null(things);
    for (unsigned i = 0; i < n; i++) {
        things[i] = (struct thing){.link.hash = links_hash(i), .number = i};
        cr_assert_null(find(&links, i));
        links_add(&links, &things[i].link);
    }
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(find(&links, i), &things[i]);
        links_remove(&links, &things[i].link);
        cr_assert_null(find(&links, i));
    }
    cr_assert_eq(links_memory(&links) > 16 * sizeof(struct link *), false);
    links_fini(&links);
    free(things);
}

Test(links, things_are_found_while_they_are_in) {
    things_come_and_go(1);
    things_come_and_go(17);
    things_come_and_go(5000);
}

Test(links, many_cost_no_more_than_few) {
    assert_grows_gently(things_come_and_go, 1000);
}

/* As connections are, whose ids are drawn by one thread and shared out among all. */
Test(links, numbers_in_steps_do_not_share_few_buckets) {
    for (unsigned step = 1; step <= 1024; step *= 2) {
        struct links links;
        links_init(&links);
        static struct thing things[4096];
        for (unsigned i = 0; i < 4096; i++) {
            things[i].link.hash = links_hash((uint64_t)i * step + 1);
            links_add(&links, &things[i].link);
        }
        for (unsigned i = 0; i < 4096; i++) {
            unsigned chain = 0;
            for (struct link *at = links_first(&links, things[i].link.hash); at; at = at->next) {
                chain++;
            }
            cr_assert_leq(chain, 8, "a chain of %u at steps of %u", chain, step);
        }
        for (unsigned i = 0; i < 4096; i++) {
            links_remove(&links, &things[i].link);
        }
        links_fini(&links);
    }
}

Test(links, the_same_hash_may_be_there_several_times) {
    struct links links;
    links_init(&links);
    struct thing things[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    for (unsigned i = 0; i < 3; i++) {
        things[i].link.hash = 5;
        links_add(&links, &things[i].link);
    }
    links_remove(&links, &things[1].link);
    unsigned seen = 0;
    for (struct link *at = links_first(&links, 5); at != NULL; at = at->next) {
        seen |= 1u << LINK_ENTRY(at, struct thing, link)->number;
    }
    cr_assert_eq(seen, 5);
    links_remove(&links, &things[0].link);
    links_remove(&links, &things[2].link);
    links_fini(&links);
}
