/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/cluster/redirect.h"

#include "test/unit/config_helper.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Three primaries, 0 to 2, with a third of the slots each; 3 is a replica of 0. */
static struct map_node nodes[4];
static struct map map;
static struct map_open_slot migrating, importing;
static struct config *config;
static uint16_t node;

static void setup(void) {
    config = config_defaults();
    map = (struct map){.nodes_count = 4, .nodes = nodes, .myself = 0};
    for (unsigned i = 0; i < 4; i++) {
        nodes[i] = (struct map_node){
            .id = "",
            .ip = "10.0.0.9",
            .hostname = "",
            .client_ipv4 = "",
            .client_ipv6 = "",
            .port = (uint16_t)(7000 + i),
            .flags = i < 3 ? MAP_PRIMARY : MAP_REPLICA,
            .primary = i < 3 ? MAP_NONE : 0,
        };
    }
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        map.owner[slot] = (uint16_t)(slot * 3 / MAP_SLOTS);
    }
}

static void teardown(void) {
    config_free(config);
}

TestSuite(redirect, .init = setup, .fini = teardown);

#define MINE   100
#define THEIRS 9000 /* of node 1 */

static enum redirect_verdict judge(struct redirect_question question) {
    node = 77;
    return redirect_judge(&map, config, &question, &node);
}

static void migrate(uint16_t slot, uint16_t to) {
    migrating = (struct map_open_slot){slot, to};
    map.migrating = &migrating;
    map.migrating_count = 1;
    map.is_open[slot / 8] |= (uint8_t)(1 << slot % 8);
}

static void import(uint16_t slot, uint16_t from) {
    importing = (struct map_open_slot){slot, from};
    map.importing = &importing;
    map.importing_count = 1;
    map.is_open[slot / 8] |= (uint8_t)(1 << slot % 8);
}

#define JUDGE(...) judge((struct redirect_question){__VA_ARGS__})

Test(redirect, who_has_the_slot_serves_it) {
    cr_expect_eq(JUDGE(.slot = MINE), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = MINE, .writes = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = THEIRS), REDIRECT_MOVED);
    cr_expect_eq(node, 1);
    cr_expect_eq(JUDGE(.slot = THEIRS, .asking = true), REDIRECT_MOVED);
    map.owner[MINE] = MAP_NONE;
    cr_expect_eq(JUDGE(.slot = MINE), REDIRECT_UNOWNED);
}

Test(redirect, a_cluster_that_is_down_serves_what_it_is_told_to) {
    map.state = MAP_STATE_FAIL;
    cr_expect_eq(JUDGE(.slot = MINE), REDIRECT_DOWN);
    cr_expect_eq(JUDGE(.slot = THEIRS), REDIRECT_DOWN);
    cr_expect_eq(JUDGE(.slot = MINE, .shard_channels = true), REDIRECT_NOT);
    config->cluster_allow_pubsubshard_when_down = false;
    cr_expect_eq(JUDGE(.slot = MINE, .shard_channels = true), REDIRECT_DOWN);
    config->cluster_allow_reads_when_down = true;
    cr_expect_eq(JUDGE(.slot = MINE), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = MINE, .writes = true), REDIRECT_READS);
    cr_expect_eq(JUDGE(.slot = THEIRS), REDIRECT_MOVED);
    map.owner[MINE] = MAP_NONE; /* says so first */
    cr_expect_eq(JUDGE(.slot = MINE, .writes = true), REDIRECT_UNOWNED);
}

Test(redirect, keys_of_a_slot_that_goes_are_asked_for_at_its_next_owner) {
    migrate(MINE, 2);
    cr_expect_eq(JUDGE(.slot = MINE, .here = 1), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = MINE, .missing = 1), REDIRECT_ASK);
    cr_expect_eq(node, 2);
    cr_expect_eq(JUDGE(.slot = MINE, .missing = 2, .many = true), REDIRECT_ASK);
    cr_expect_eq(JUDGE(.slot = MINE, .here = 1, .missing = 1, .many = true), REDIRECT_TRY_AGAIN);
    cr_expect_eq(JUDGE(.slot = MINE), REDIRECT_NOT); /* nobody has looked */
    cr_expect_eq(JUDGE(.slot = MINE, .missing = 1, .migrates = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = MINE, .here = 1, .other_db = true), REDIRECT_TRY_AGAIN);
    cr_expect_eq(JUDGE(.slot = MINE + 1, .missing = 1), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = MINE, .missing = 1, .shard_channels = true), REDIRECT_NOT);
}

Test(redirect, a_slot_that_comes_is_served_to_who_asks) {
    import(THEIRS, 1);
    cr_expect_eq(JUDGE(.slot = THEIRS, .here = 1), REDIRECT_MOVED);
    cr_expect_eq(JUDGE(.slot = THEIRS, .missing = 1, .asking = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = THEIRS, .here = 2, .asking = true, .many = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = THEIRS, .here = 1, .missing = 1, .asking = true, .many = true),
                 REDIRECT_TRY_AGAIN);
    cr_expect_eq(JUDGE(.slot = THEIRS, .missing = 2, .asking = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = THEIRS, .migrates = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = THEIRS, .other_db = true), REDIRECT_TRY_AGAIN);
}

Test(redirect, a_replica_serves_reads_to_who_wants_them) {
    map.myself = 3;
    cr_expect_eq(JUDGE(.slot = MINE), REDIRECT_MOVED);
    cr_expect_eq(node, 0);
    cr_expect_eq(JUDGE(.slot = MINE, .readonly = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = MINE, .readonly = true, .writes = true), REDIRECT_MOVED);
    cr_expect_eq(JUDGE(.slot = MINE, .shard_channels = true), REDIRECT_NOT);
    cr_expect_eq(JUDGE(.slot = THEIRS, .readonly = true), REDIRECT_MOVED);
    migrate(MINE, 2);
    cr_expect_eq(JUDGE(.slot = MINE, .readonly = true, .missing = 1), REDIRECT_ASK);
    cr_expect_eq(JUDGE(.slot = MINE, .missing = 1), REDIRECT_MOVED);
    nodes[3].primary = MAP_NONE;
    cr_expect_eq(JUDGE(.slot = MINE, .readonly = true), REDIRECT_MOVED);
}

static const char *told(enum redirect_verdict verdict, uint16_t to, unsigned via) {
    static char text[REDIRECT_BYTES];
    redirect_tell(text, &map, config, verdict, THEIRS, to, via);
    cr_expect(redirect_is_told(text), "%s", text);
    return text;
}

Test(redirect, a_node_is_called_as_the_client_reaches_it) {
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, 0), "MOVED 9000 10.0.0.9:7001");
    nodes[1].tls_port = 8001;
    nodes[1].client_ipv4 = "1.2.3.4";
    nodes[1].client_ipv6 = "::7";
    cr_expect_str_eq(told(REDIRECT_ASK, 1, REDIRECT_VIA_TLS), "ASK 9000 1.2.3.4:8001");
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, REDIRECT_VIA_IPV6), "MOVED 9000 ::7:7001");
    nodes[1].client_port = 70;
    nodes[1].client_tls_port = 80;
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, 0), "MOVED 9000 1.2.3.4:70");
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, REDIRECT_VIA_TLS), "MOVED 9000 1.2.3.4:80");
    config->cluster_preferred_endpoint_type = CONFIG_ENDPOINT_HOSTNAME;
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, 0), "MOVED 9000 ?:70");
    nodes[1].hostname = "one.example";
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, 0), "MOVED 9000 one.example:70");
    config->cluster_preferred_endpoint_type = CONFIG_ENDPOINT_UNKNOWN;
    cr_expect_str_eq(told(REDIRECT_MOVED, 1, 0), "MOVED 9000 :70");
}

Test(redirect, each_verdict_has_its_words) {
    cr_expect_str_eq(told(REDIRECT_CROSSES, 0, 0),
                     "CROSSSLOT Keys in request don't hash to the same slot");
    cr_expect_str_eq(told(REDIRECT_UNOWNED, 0, 0), "CLUSTERDOWN Hash slot not served");
    cr_expect_str_eq(told(REDIRECT_DOWN, 0, 0), "CLUSTERDOWN The cluster is down");
    cr_expect_str_eq(told(REDIRECT_READS, 0, 0),
                     "CLUSTERDOWN The cluster is down and only accepts read commands");
    cr_expect_str_eq(told(REDIRECT_TRY_AGAIN, 0, 0),
                     "TRYAGAIN Multiple keys request during rehashing of slot");
    cr_expect_not(redirect_is_told("OOM command not allowed when used memory > 'maxmemory'."));
    cr_expect_not(redirect_is_told("READONLY You can't write against a read only replica."));
}
