/* SPDX-License-Identifier: BSD-3-Clause */
/* Brains by themselves and a few of them together, on a network in memory (brain_net.h). What many
 * do under faults is in test/model/model_cluster.c. */
#include "test/unit/brain_net.h"

#include <criterion/criterion.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_C "cccccccccccccccccccccccccccccccccccccccc"
#define ID_S "5555555555555555555555555555555555555555"

static struct net net;

static bool has(struct net_host *host, const char *line, const char *part) {
    char *reply = net_ask(host, NULL, "%s", line);
    bool found = strstr(reply, part) != NULL;
    if (!found) {
        fprintf(stderr, "%s\n  is without: %s\n", reply, part);
    }
    free(reply);
    return found;
}

static void restart_from(struct net_host *host, const char *text) {
    net_crash(host);
    text_clear(&host->disk);
    text_append_text(&host->disk, text);
    net_boot(host);
}

/* ---- One ---- */

Test(brain, a_new_node_is_a_primary_without_slots) {
    net_init(&net, 1, 1, 1000);
    struct net_host *host = &net.hosts[0];
    net_run(&net, 3000);
    struct map *map = brain_map(host->brain);
    cr_assert_eq(map->nodes_count, 1);
    cr_assert_eq(map->myself, 0);
    cr_assert(map->nodes[0].flags & MAP_PRIMARY);
    cr_assert(map->nodes[0].flags & MAP_MYSELF);
    cr_assert_eq(map->state, MAP_STATE_FAIL);
    cr_assert_eq(map->owner[7], MAP_NONE);
    map_free(map);
    cr_assert(host->disk.len > 0);
    cr_assert(strstr(host->disk.ptr, ":6379@16379,,tls-port=0,shard-id=") != NULL);
    cr_assert(strstr(host->disk.ptr, " myself,master - 0 0 0 connected\n"
                                     "vars currentEpoch 0 lastVoteEpoch 0\n") != NULL);
    net_fini(&net);
}

Test(brain, it_serves_when_all_slots_are_its_own) {
    net_init(&net, 1, 2, 1000);
    struct net_host *host = &net.hosts[0];
    cr_assert(net_ok(host, "ADDSLOTSRANGE 0 16382"));
    net_run(&net, 10000);
    cr_assert(has(host, "INFO", "cluster_state:fail\r\ncluster_slots_assigned:16383\r\n"));
    cr_assert(net_ok(host, "ADDSLOTS 16383"));
    net_run(&net, 3000);
    cr_assert(has(host, "INFO",
                  "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"
                  "cluster_slots_ok:16384\r\n"));
    struct map *map = brain_map(host->brain);
    cr_assert_eq(map->owner[16383], 0);
    cr_assert_eq(map->nodes[0].slots_count, 16384);
    map_free(map);
    net_fini(&net);
}

Test(brain, slots_that_cannot_be_given_or_taken_are_refused_before_any_is) {
    net_init(&net, 1, 3, 1000);
    struct net_host *host = &net.hosts[0];
    cr_assert(net_ok(host, "ADDSLOTS 1 2 3"));
    cr_assert(net_says(host, "-ERR Slot 3 is already busy\r\n", "ADDSLOTS 4 3"));
    cr_assert(net_says(host, "-ERR Slot 4 specified multiple times\r\n", "ADDSLOTS 4 5 4"));
    cr_assert(net_says(host, "-ERR Invalid or out of range slot\r\n", "ADDSLOTS 16384"));
    cr_assert(net_says(host, "-ERR Invalid or out of range slot\r\n", "ADDSLOTS -1"));
    cr_assert(net_says(host, "-ERR Slot 4 is already unassigned\r\n", "DELSLOTS 3 4"));
    cr_assert(net_says(host, "-ERR start slot number 9 is greater than end slot number 8\r\n",
                       "ADDSLOTSRANGE 9 8"));
    cr_assert(net_says(host,
                       "-ERR wrong number of arguments for 'cluster|addslotsrange' command\r\n",
                       "ADDSLOTSRANGE 1 2 3"));
    cr_assert(has(host, "INFO", "cluster_slots_assigned:3\r\n"));
    cr_assert(net_ok(host, "DELSLOTSRANGE 2 3"));
    cr_assert(has(host, "NODES", " connected 1\n"));
    struct brain_asks asks = {.keys = 1};
    char *reply = net_ask(host, &asks, "FLUSHSLOTS");
    cr_assert_str_eq(reply, "-ERR DB must be empty to perform CLUSTER FLUSHSLOTS.\r\n");
    free(reply);
    cr_assert(net_ok(host, "FLUSHSLOTS"));
    cr_assert(has(host, "INFO", "cluster_slots_assigned:0\r\n"));
    net_fini(&net);
}

Test(brain, epochs_are_set_once_and_bumped) {
    net_init(&net, 1, 4, 1000);
    struct net_host *host = &net.hosts[0];
    cr_assert(net_says(host, "-ERR Invalid config epoch specified: -1\r\n", "SET-CONFIG-EPOCH -1"));
    cr_assert(net_ok(host, "SET-CONFIG-EPOCH 7"));
    cr_assert(
        net_says(host, "-ERR Node config epoch is already non-zero\r\n", "SET-CONFIG-EPOCH 8"));
    cr_assert(net_says(host, "+STILL 7\r\n", "BUMPEPOCH"));
    cr_assert(net_says(host, "-ERR Missing timeout value\r\n", "SETSLOT 5 STABLE TIMEOUT"));
    net_run(&net, 100);
    cr_assert(strstr(host->disk.ptr, "vars currentEpoch 7 ") != NULL);
    net_fini(&net);
}

Test(brain, what_it_wrote_it_reads) {
    static const char text[] = ID_A
        " 10.0.0.1:6379@16379,h1.example,nodename=one,availability-zone=az,tls-port=0,"
        "shard-id=" ID_S " myself,master - 0 0 4 connected 0-5 7 [5->-" ID_B "] [9-<-" ID_B
        "]\n" ID_B " 10.0.0.2:6379@16379,,tls-port=0,shard-id=" ID_B
        " master - 0 0 5 disconnected 8-10\n" ID_C " fe80::1:6379@16379,,tls-port=0,shard-id=" ID_B
        " slave,fail " ID_B " 0 0 5 disconnected\nvars currentEpoch 9 lastVoteEpoch 8\n";
    net_init(&net, 1, 5, 1000);
    struct net_host *host = &net.hosts[0];
    host->settings.hostname = "h1.example";
    host->settings.human_name = "one";
    host->settings.availability_zone = "az";
    restart_from(host, text);
    struct text again;
    text_init(&again);
    brain_file(host->brain, &again);
    cr_assert_str_eq(again.ptr, text);
    text_fini(&again);
    struct map *map = brain_map(host->brain);
    cr_assert_eq(map->nodes_count, 3);
    cr_assert_eq(map->migrating_count, 1);
    cr_assert_eq(map->migrating[0].slot, 5);
    cr_assert_eq(map->importing[0].node, 1);
    cr_assert_eq(map->nodes[2].primary, 1);
    cr_assert_str_eq(map->nodes[2].ip, "fe80::1");
    cr_assert(map->is_open[9 / 8] >> 1 & 1);
    cr_assert_eq(map->current_epoch, 9);
    map_free(map);
    net_fini(&net);
}

Test(brain, a_file_that_cannot_be_true_is_refused) {
    static const char *const bad[] = {
        "vars currentEpoch 1 lastVoteEpoch 0\n",
        ID_A " :6379@16379 master - 0 0 0 connected\n",
        ID_A " :6379@16379 myself,master - 0 0 0 connected\n" ID_A
             " :6379@16379 master - 0 0 0 connected\n",
        ID_A " :6379@16379 myself,master - 0 0 0 connected\n" ID_B
             " :6379@16379 myself,master - 0 0 0 connected\n",
        ID_A " :6379@16379 myself,prince - 0 0 0 connected\n",
        ID_A " :6379@16379,,colour=red myself,master - 0 0 0 connected\n",
        ID_A " :6379@16379 myself,master - 0 0 0 connected 16384\n",
        ID_A " :6379@16379 myself,master - 0 0 0 connected 5-4\n",
        ID_A " :6379@16379 myself,master - 0 0 0 connected [5->-x]\n",
        ID_A " :6379@16379 myself,master - 0 0\n",
        ID_A " nothing myself,master - 0 0 0 connected\n",
        "xyz :6379@16379 myself,master - 0 0 0 connected\n",
        ID_A " :6379@16379 myself,master - 0 0 0 connected\nvars currentEpoch\n",
    };
    net_init(&net, 1, 6, 1000);
    struct net_host *host = &net.hosts[0];
    struct brain_now now = net_now(host);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct text err;
        text_init(&err);
        struct brain *brain =
            brain_new(&host->settings, &net_world, host, bytes_of_text(bad[i]), &now, &err);
        cr_assert_null(brain, "%s", bad[i]);
        cr_assert(err.len > 0);
        text_fini(&err);
    }
    net_fini(&net);
}

Test(brain, reset_hard_is_another_node) {
    char before[41], after[41];
    net_init(&net, 1, 7, 1000);
    struct net_host *host = &net.hosts[0];
    cr_assert(net_ok(host, "ADDSLOTS 5"));
    cr_assert(net_ok(host, "SET-CONFIG-EPOCH 3"));
    net_id(host, before);
    struct brain_asks asks = {.keys = 1};
    char *reply = net_ask(host, &asks, "RESET");
    cr_assert_str_eq(reply,
                     "-ERR CLUSTER RESET can't be called with master nodes containing keys\r\n");
    free(reply);
    cr_assert(net_ok(host, "RESET"));
    cr_assert_str_eq(net_id(host, after), before);
    cr_assert(has(host, "INFO", "cluster_slots_assigned:0\r\n"));
    cr_assert(has(host, "INFO", "cluster_current_epoch:3\r\n"));
    cr_assert(net_ok(host, "RESET HARD"));
    cr_assert(strcmp(net_id(host, after), before) != 0);
    cr_assert(has(host, "INFO", "cluster_current_epoch:0\r\n"));
    net_fini(&net);
}

/* ---- Several ---- */

/* `primaries` with a share of the slots each, and the other hosts their replicas in turn. */
static void form(unsigned count, unsigned primaries, uint64_t seed) {
    char line[128], id[41];
    net_init(&net, count, seed, 1000);
    for (unsigned i = 0; i < primaries; i++) {
        snprintf(line, sizeof line, "ADDSLOTSRANGE %u %u", i * MAP_SLOTS / primaries,
                 (i + 1) * MAP_SLOTS / primaries - 1);
        cr_assert(net_ok(&net.hosts[i], line));
        snprintf(line, sizeof line, "SET-CONFIG-EPOCH %u", i + 1);
        cr_assert(net_ok(&net.hosts[i], line));
    }
    for (unsigned i = 1; i < count; i++) {
        snprintf(line, sizeof line, "MEET %s %u", net.hosts[i].ip, NET_PORT);
        cr_assert(net_ok(&net.hosts[0], line));
    }
    net_run(&net, 6000);
    for (unsigned i = primaries; i < count; i++) {
        snprintf(line, sizeof line, "REPLICATE %s", net_id(&net.hosts[i % primaries], id));
        cr_assert(net_ok(&net.hosts[i], line));
        net.hosts[i].offset = net.hosts[i].applied = 100;
        net.hosts[i % primaries].offset = 100;
    }
    net_run(&net, 4000);
}

static unsigned count_flag(struct net_host *host, uint32_t flag) {
    struct map *map = brain_map(host->brain);
    unsigned count = 0;
    for (unsigned i = 0; i < map->nodes_count; i++) {
        count += (map->nodes[i].flags & flag) != 0;
    }
    map_free(map);
    return count;
}

/* All that live see one owner of each slot, and serve. */
static bool one_view(void) {
    struct map *first = NULL;
    bool same = true;
    for (unsigned i = 0; i < net.count; i++) {
        if (net.hosts[i].brain == NULL) {
            continue;
        }
        struct map *map = brain_map(net.hosts[i].brain);
        same &= map->state == MAP_STATE_OK;
        if (first == NULL) {
            first = map;
            continue;
        }
        same &= map->nodes_count == first->nodes_count;
        for (unsigned slot = 0; slot < MAP_SLOTS && same; slot++) {
            same = map->owner[slot] == first->owner[slot];
        }
        map_free(map);
    }
    map_free(first);
    return same;
}

static bool becomes_one_view(int64_t ms) {
    for (int64_t until = net.mono + ms; net.mono < until && !one_view();) {
        net_run(&net, 100);
    }
    return one_view();
}

Test(brain, nodes_that_meet_one_know_all) {
    form(6, 3, 11);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(count_flag(&net.hosts[i], MAP_PRIMARY), 3);
        cr_assert_eq(count_flag(&net.hosts[i], MAP_REPLICA), 3);
        cr_assert_eq(count_flag(&net.hosts[i], MAP_FAIL | MAP_PFAIL), 0);
    }
    cr_assert_str_eq(net.hosts[3].follows, net.hosts[0].ip);
    net_fini(&net);
}

Test(brain, a_replica_takes_over_from_a_primary_that_is_gone) {
    form(6, 3, 12);
    cr_assert(becomes_one_view(10000));
    int64_t begin = net.mono;
    net_crash(&net.hosts[0]);
    while (net.hosts[3].follows[0] != '\0' && net.mono < begin + 10000) {
        net_run(&net, 10);
    }
    cr_assert_str_eq(net.hosts[3].follows, "");
    cr_assert(net.mono - begin < 2500, "%lld", (long long)(net.mono - begin));
    cr_assert(becomes_one_view(5000));
    net_boot(&net.hosts[0]); /* and is a replica when it is back */
    cr_assert(becomes_one_view(10000));
    cr_assert_str_eq(net.hosts[0].follows, net.hosts[3].ip);
    net_fini(&net);
}

Test(brain, of_two_replicas_the_one_with_more_data_takes_over) {
    for (uint64_t seed = 0; seed < 5; seed++) {
        form(9, 3, 100 + seed); /* replicas of 0: 3 and 6 */
        cr_assert(becomes_one_view(10000));
        unsigned behind = seed % 2 ? 3 : 6, ahead = 9 - behind;
        net.cut[0][behind] = net.cut[behind][0] = true; /* for less than a timeout */
        net.hosts[0].offset = 200;
        net_run(&net, 300);
        cr_assert_eq(net.hosts[ahead].applied, 200);
        cr_assert_eq(net.hosts[behind].applied, 100);
        net_crash(&net.hosts[0]);
        cr_assert(becomes_one_view(10000));
        net_run(&net, 3000);
        cr_assert_str_eq(net.hosts[ahead].follows, "");
        cr_assert_str_eq(net.hosts[behind].follows, net.hosts[ahead].ip);
        net_fini(&net);
    }
}

Test(brain, a_failover_by_hand_waits_for_the_data) {
    form(6, 3, 13);
    cr_assert(becomes_one_view(10000));
    cr_assert(net_says(&net.hosts[0], "-ERR You should send CLUSTER FAILOVER to a replica\r\n",
                       "FAILOVER"));
    net.hosts[0].offset = 500;
    cr_assert(net_ok(&net.hosts[3], "FAILOVER"));
    int64_t begin = net.mono;
    while (net.hosts[3].follows[0] != '\0' && net.mono < begin + 5000) {
        net_run(&net, 10);
    }
    cr_assert_str_eq(net.hosts[3].follows, "");
    cr_assert_eq(net.hosts[3].offset, 500);
    cr_assert_eq(net.hosts[0].paused_count, 1);
    cr_assert(becomes_one_view(5000));
    cr_assert_str_eq(net.hosts[0].follows, net.hosts[3].ip);
    cr_assert_eq(net.hosts[0].paused_until, 0);
    net_fini(&net);
}

/* All are started again elsewhere: at addresses of nobody, or at each other's. */
static bool heals_elsewhere(bool named, bool swapped, uint64_t seed) {
    char names[6][16], ips[6][32];
    form(6, 3, seed);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < 6; i++) {
        snprintf(names[i], sizeof names[i], "node-%u", i);
        strcpy(ips[i], net.hosts[i].ip);
        if (named) {
            struct brain_now now = net_now(&net.hosts[i]);
            net.hosts[i].settings.hostname = names[i];
            brain_configure(net.hosts[i].brain, &net.hosts[i].settings, &now);
        }
    }
    net_run(&net, 5000);
    for (unsigned i = 0; i < 6; i++) {
        net_crash(&net.hosts[i]);
        if (swapped) {
            strcpy(net.hosts[i].ip, ips[(i + 1) % 6]);
        } else {
            snprintf(net.hosts[i].ip, sizeof net.hosts[i].ip, "10.0.1.%u", i + 1);
        }
    }
    for (unsigned i = 0; i < 6; i++) {
        net_boot(&net.hosts[i]);
    }
    bool heals = becomes_one_view(20000);
    for (unsigned i = 0; i < 6 && heals; i++) { /* what each says of itself, too */
        heals = has(&net.hosts[i], "NODES", net.hosts[i].ip) &&
                count_flag(&net.hosts[i], MAP_FAIL | MAP_PFAIL | MAP_NOADDR) == 0 &&
                (net.hosts[i].follows[0] == '\0' || net_at(&net, net.hosts[i].follows) != NULL);
        for (unsigned j = 0; j < 6 && heals; j++) {
            char line[64];
            snprintf(line, sizeof line, "%s:%u@", net.hosts[j].ip, NET_PORT);
            heals = has(&net.hosts[i], "NODES", line);
        }
    }
    net_fini(&net);
    return heals;
}

Test(brain, nodes_that_all_have_new_addresses_find_each_other_by_their_names) {
    for (uint64_t seed = 0; seed < 5; seed++) {
        cr_assert(heals_elsewhere(true, false, 300 + seed));
        cr_assert(heals_elsewhere(true, true, 400 + seed));
    }
    cr_assert(!heals_elsewhere(false, false, 300)); /* how should they? */
}

static unsigned least_told, most_told;

static void count_told(struct net *at, struct net_host *from, struct net_host *to,
                       struct bytes bytes) {
    (void)at, (void)from, (void)to;
    struct wire_packet packet;
    if (wire_parse(bytes, &packet) == WIRE_GOOD && packet.type == WIRE_PING) {
        least_told = packet.count < least_told ? packet.count : least_told;
        most_told = packet.count > most_told ? packet.count : most_told;
    }
}

Test(brain, as_many_nodes_are_told_of_as_are_wanted) {
    form(10, 3, 31);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < 10; i++) {
        struct brain_now now = net_now(&net.hosts[i]);
        net.hosts[i].settings.gossip_percent = 80;
        brain_configure(net.hosts[i].brain, &net.hosts[i].settings, &now);
    }
    least_told = 100;
    most_told = 0;
    net.sniff = count_told;
    net_run(&net, 10000);
    cr_assert_eq(least_told, 8);
    cr_assert_eq(most_told, 8);
    net_fini(&net);
}

Test(brain, takeover_asks_nobody) {
    form(6, 3, 14);
    cr_assert(becomes_one_view(10000));
    net_crash(&net.hosts[0]);
    net_crash(&net.hosts[1]);
    cr_assert(net_ok(&net.hosts[3], "FAILOVER TAKEOVER"));
    cr_assert(net_ok(&net.hosts[4], "FAILOVER TAKEOVER"));
    cr_assert(becomes_one_view(15000));
    net_fini(&net);
}

Test(brain, a_slot_that_moves_is_everybodys_news) {
    char line[128], from[41], to[41];
    form(3, 3, 15);
    cr_assert(becomes_one_view(10000));
    net_id(&net.hosts[0], from);
    net_id(&net.hosts[1], to);
    snprintf(line, sizeof line, "SETSLOT 5 IMPORTING %s", from);
    cr_assert(net_ok(&net.hosts[1], line));
    snprintf(line, sizeof line, "SETSLOT 5 MIGRATING %s", to);
    cr_assert(net_ok(&net.hosts[0], line));
    cr_assert(has(&net.hosts[0], "NODES", " [5->-"));
    cr_assert(has(&net.hosts[1], "NODES", " [5-<-"));
    snprintf(line, sizeof line, "SETSLOT 5 NODE %s", to);
    cr_assert(net_ok(&net.hosts[1], line));
    cr_assert(net_ok(&net.hosts[0], line));
    cr_assert(becomes_one_view(5000));
    cr_assert(has(&net.hosts[2], "NODES", " 0-4 6-5460"));
    cr_assert(!strstr(net.hosts[0].disk.ptr, "[5"));
    net_fini(&net);
}

static void hand_over(struct net_host *primary, struct net_host *replica) {
    cr_assert(net_ok(replica, "FAILOVER"));
    for (unsigned i = 0; i < 500 && strcmp(primary->follows, replica->ip) != 0; i++) {
        net_run(&net, 10);
    }
    cr_assert_str_eq(primary->follows, replica->ip);
    cr_assert(becomes_one_view(10000));
}

/* Was: the source went on to send clients to who had died, and who came back as a replica of its
 * successor forgot what was on its way. */
Test(brain, a_slot_on_its_way_goes_on_with_who_takes_over_at_either_end) {
    char line[128], ids[6][41], leaves[6][64], comes[6][64];
    form(6, 3, 31);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < 6; i++) {
        net_id(&net.hosts[i], ids[i]);
        snprintf(leaves[i], sizeof leaves[i], " [5->-%s]", ids[i]);
        snprintf(comes[i], sizeof comes[i], " [5-<-%s]", ids[i]);
    }
    /* Both ends, and their replicas by the stream. */
    for (unsigned i = 0; i < 6; i++) {
        const struct brain_asks asks = {.from_primary = i >= 3};
        if (i % 3 < 2) {
            snprintf(line, sizeof line, "SETSLOT 5 %s %s", i % 3 == 0 ? "MIGRATING" : "IMPORTING",
                     ids[1 - i % 3]);
            char *reply = net_ask(&net.hosts[i], &asks, "%s", line);
            cr_assert_str_eq(reply, "+OK\r\n");
            free(reply);
        }
    }
    hand_over(&net.hosts[1], &net.hosts[4]);
    cr_assert(has(&net.hosts[0], "NODES", leaves[4]));
    cr_assert(has(&net.hosts[3], "NODES", leaves[4]));
    cr_assert(has(&net.hosts[4], "NODES", comes[0]));
    cr_assert(has(&net.hosts[1], "NODES", comes[0]));
    hand_over(&net.hosts[0], &net.hosts[3]);
    cr_assert(has(&net.hosts[3], "NODES", leaves[4]));
    cr_assert(has(&net.hosts[0], "NODES", leaves[4]));
    cr_assert(has(&net.hosts[4], "NODES", comes[3]));
    cr_assert(has(&net.hosts[1], "NODES", comes[3]));
    net_fini(&net);
}

/* Was: who became a replica meanwhile knew of no open slot, and had none when it took over. */
Test(brain, a_replica_that_has_got_its_copy_hears_of_the_slots_on_their_way) {
    char line[128], ids[4][41], leaves[80], comes[80];
    form(4, 3, 32);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < 4; i++) {
        net_id(&net.hosts[i], ids[i]);
    }
    snprintf(line, sizeof line, "SETSLOT 5 MIGRATING %s", ids[1]);
    cr_assert(net_ok(&net.hosts[0], line));
    snprintf(line, sizeof line, "SETSLOT 16000 IMPORTING %s", ids[2]);
    cr_assert(net_ok(&net.hosts[0], line));
    net_run(&net, 3000);
    snprintf(leaves, sizeof leaves, "5 MIGRATING %s ", ids[1]);
    snprintf(comes, sizeof comes, "16000 IMPORTING %s ", ids[2]);
    text_clear(&net.hosts[0].told);
    struct brain_now now = net_now(&net.hosts[0]);
    brain_followed(net.hosts[0].brain, &now);
    cr_assert(strstr(net.hosts[0].told.ptr, leaves) && strstr(net.hosts[0].told.ptr, comes));
    net_fini(&net);
}

/* Was: who heard of it by the old primary alone, and of a successor whose epoch is one that it had
 * before it was a replica, took the slots for nobody's. */
Test(brain, a_successor_is_known_by_whom_it_follows) {
    char line[128], ids[4][41];
    form(4, 3, 33);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < 4; i++) {
        net_id(&net.hosts[i], ids[i]);
    }
    cr_assert(net_ok(&net.hosts[3], "REPLICATE NO ONE"));
    net_run(&net, 1000);
    cr_assert(net_says(&net.hosts[3], "+BUMPED 4\r\n", "BUMPEPOCH"));
    net_run(&net, 3000);
    snprintf(line, sizeof line, "REPLICATE %s", ids[0]);
    cr_assert(net_ok(&net.hosts[3], line));
    cr_assert(becomes_one_view(10000));
    net_run(&net, 3000);
    for (unsigned i = 1; i < 3; i++) {
        net.cut[3][i] = net.cut[i][3] = true;
    }
    cr_assert(net_ok(&net.hosts[3], "FAILOVER TAKEOVER"));
    net_run(&net, 400);
    for (unsigned i = 0; i < 3; i++) {
        struct map *map = brain_map(net.hosts[i].brain);
        cr_assert_neq(map->owner[0], MAP_NONE);
        cr_assert(memcmp(map->nodes[map->owner[0]].id, ids[3], 40) == 0);
        map_free(map);
    }
    net_fini(&net);
}

Test(brain, who_is_forgotten_stays_away) {
    char line[128], id[41];
    form(4, 3, 16);
    cr_assert(becomes_one_view(10000));
    snprintf(line, sizeof line, "REPLICATE NO ONE");
    cr_assert(net_ok(&net.hosts[3], line));
    net_run(&net, 1000);
    snprintf(line, sizeof line, "FORGET %s", net_id(&net.hosts[3], id));
    cr_assert(net_ok(&net.hosts[0], line));
    net_run(&net, 5000);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(has(&net.hosts[i], "INFO", "cluster_known_nodes:3\r\n"));
    }
    net_fini(&net);
}

Test(brain, a_message_reaches_all_and_a_sharded_one_its_shard) {
    form(6, 3, 17);
    cr_assert(becomes_one_view(10000));
    struct brain_now now = net_now(&net.hosts[0]);
    brain_publish(net.hosts[0].brain, BYTES("ch"), BYTES("hello"), false, &now);
    brain_publish(net.hosts[0].brain, BYTES("sh"), BYTES("you"), true, &now);
    net_run(&net, 100);
    for (unsigned i = 1; i < 6; i++) {
        cr_assert_str_eq(net.hosts[i].published.ptr, i == 3 ? "ch=hello Ssh=you " : "ch=hello ");
    }
    net_fini(&net);
}

Test(brain, a_slow_disk_holds_votes_and_nothing_else) {
    form(6, 3, 18);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 1; i < 6; i++) {
        net.hosts[i].disk_fails = i < 3; /* the voters' */
    }
    net_crash(&net.hosts[0]);
    net_run(&net, 10000);
    cr_assert_str_neq(net.hosts[3].follows, "");
    cr_assert(has(&net.hosts[1], "INFO", "cluster_nodes_fail:1\r\n"));
    cr_assert_eq(count_flag(&net.hosts[1], MAP_PFAIL), 0);
    net.hosts[1].disk_fails = net.hosts[2].disk_fails = false;
    cr_assert(becomes_one_view(15000));
    cr_assert_str_eq(net.hosts[3].follows, "");
    net_fini(&net);
}

Test(brain, a_strangers_packet_changes_nothing) {
    form(3, 3, 19);
    cr_assert(becomes_one_view(10000));
    struct text packet, before, after;
    text_init(&packet);
    text_init(&before);
    text_init(&after);
    uint8_t slots[WIRE_SLOTS_BYTES];
    memset(slots, 0xff, sizeof slots);
    struct net_host *host = &net.hosts[0];
    struct brain_now now = net_now(host);
    char id[41];
    net_run(&net, 200);
    brain_file(host->brain, &before);
    for (unsigned type = 0; type < WIRE_TYPES; type++) {
        struct net_conn *conn = calloc(1, sizeof *conn);
        conn->next = net.conns;
        net.conns = conn;
        conn->is_up = true;
        conn->ends[1].host = host;
        conn->ends[0].last = &conn->ends[0].first;
        conn->ends[1].last = &conn->ends[1].first;
        conn->ends[1].link = brain_link_accepted(host->brain, conn, "10.9.9.9", host->ip, &now);
        struct wire_packet head = {.type = (uint16_t)type,
                                   .current_epoch = 99,
                                   .config_epoch = 99,
                                   .sender = ID_A,
                                   .ip = "",
                                   .slots = slots,
                                   .port = 1,
                                   .bus_port = 2,
                                   .flags = MAP_PRIMARY};
        struct wire_update update = {99, net_id(&net.hosts[1], id), slots};
        wire_begin(&packet, &head);
        if (type == WIRE_FAIL) {
            wire_put_id(&packet, net_id(&net.hosts[1], id));
        } else if (type == WIRE_UPDATE) {
            wire_put_update(&packet, &update);
        } else if (type == WIRE_PUBLISH || type == WIRE_PUBLISH_SHARD) {
            wire_put_publish(&packet, BYTES("a"), BYTES("b"));
        }
        wire_end(&packet);
        brain_packet(host->brain, conn->ends[1].link, packet.ptr, packet.len, &now);
    }
    brain_file(host->brain, &after);
    cr_assert_str_eq(after.ptr, before.ptr);
    cr_assert_eq(host->published.len, 0);
    net_run(&net, 3000);
    cr_assert(one_view());
    text_fini(&packet);
    text_fini(&before);
    text_fini(&after);
    net_fini(&net);
}

/* Others' names went into nodes.conf as they came: one with a line break in it was a line of its
 * own there, and the node did not start any more. */
Test(brain, names_that_a_line_cannot_hold_are_none) {
    static const char *const names[] = {"a\nb", "a b", "a,b", "a\"b", "a'b", "\x7f", "a\tb"};
    form(2, 2, 21);
    cr_assert(becomes_one_view(10000));
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct net_host *host = &net.hosts[0];
        struct brain_now now = net_now(host);
        struct text packet, file;
        text_init(&packet);
        text_init(&file);
        for (struct net_conn *conn = net.conns; conn != NULL; conn = conn->next) {
            if (!conn->is_up || conn->ends[1].host != host || conn->ends[1].link == NULL) {
                continue;
            }
            uint8_t slots[WIRE_SLOTS_BYTES] = {0};
            char id[41];
            struct wire_packet head = {.type = WIRE_PING,
                                       .sender = net_id(&net.hosts[1], id),
                                       .ip = names[i],
                                       .slots = slots,
                                       .mflags = WIRE_EXTENSIONS,
                                       .port = 6379,
                                       .bus_port = 16379,
                                       .flags = MAP_PRIMARY};
            wire_begin(&packet, &head);
            wire_put_extension_text(&packet, WIRE_EXT_HOSTNAME, names[i]);
            wire_put_extension_text(&packet, WIRE_EXT_HUMAN_NAME, names[i]);
            wire_put_extension_text(&packet, WIRE_EXT_CLIENT_IPV4, names[i]);
            wire_put_extension_text(&packet, WIRE_EXT_ZONE, i % 2 ? names[i] : "b\xc3\xa9");
            wire_end(&packet);
            brain_packet(host->brain, conn->ends[1].link, packet.ptr, packet.len, &now);
            break;
        }
        cr_assert_gt(packet.len, 0);
        brain_file(host->brain, &file);
        cr_assert_null(strstr(file.ptr, names[i]), "%s", file.ptr);
        cr_assert_eq(strstr(file.ptr, "availability-zone=b\xc3\xa9,") != NULL, i % 2 == 0, "%s",
                     file.ptr);
        restart_from(host, file.ptr);
        text_fini(&packet);
        text_fini(&file);
        net_run(&net, 3000);
    }
    net_fini(&net);
}

/* What known nodes send is believed, so what comes of it may be wrong; but it comes to something.
 */
Test(brain, bytes_that_are_turned_on_their_way_break_nothing) {
    for (uint64_t seed = 40; seed < 43; seed++) {
        form(6, 3, seed);
        net.turned_one_in = 3;
        for (unsigned n = 0; n < 10; n++) {
            struct net_host *host = &net.hosts[rng_below(&net.rng, 6)];
            if (host->brain == NULL) {
                net_boot(host);
            } else if (n % 3 == 0) {
                net_crash(host);
            } else {
                free(net_ask(host, NULL, n % 2 ? "FAILOVER" : "BUMPEPOCH"));
            }
            net_run(&net, 1500);
        }
        for (unsigned i = 0; i < 6; i++) { /* and what was written can be read */
            if (net.hosts[i].brain != NULL) {
                free(net_ask(&net.hosts[i], NULL, "NODES"));
                map_free(brain_map(net.hosts[i].brain));
                net_crash(&net.hosts[i]);
            }
            net_boot(&net.hosts[i]);
        }
        net_fini(&net);
    }
}

/* ---- Slots that leave at once ---- */

static void told(struct net_host *host, enum brain_export_news news, const char *text) {
    struct brain_now now = net_now(host);
    brain_export_tell(host->brain, host->export, news, bytes_of_text(text), &now);
}

/* What it wanted since it was asked last is this. */
static bool wanted(struct net_host *host, const char *expected) {
    bool same = strcmp(host->exported.len > 0 ? host->exported.ptr : "", expected) == 0;
    if (!same) {
        fprintf(stderr, "%s\n  is not: %s\n", host->exported.ptr, expected);
    }
    text_clear(&host->exported);
    return same;
}

static bool holds(struct net_host *host, uint16_t slot) {
    struct map *map = brain_map(host->brain);
    bool is = map_holds(map, slot);
    map_free(map);
    return is;
}

static bool seals(struct net_host *host, uint16_t slot) {
    struct map *map = brain_map(host->brain);
    bool is = map_seals(map, slot);
    map_free(map);
    return is;
}

static void map_taken(struct net_host *host) {
    struct brain_now now = net_now(host);
    brain_map_taken(host->brain, &now);
}

/* Slots 0 to 9 of the first host are granted to the second. */
static void grant(void) {
    struct net_host *source = &net.hosts[0];
    char line[128], to[41];
    snprintf(line, sizeof line, "MIGRATESLOTS SLOTSRANGE 0 9 NODE %s", net_id(&net.hosts[1], to));
    cr_assert(net_ok(source, line));
    cr_assert(wanted(source, "open:6379 "));
    told(source, BRAIN_EXPORT_ASKED, "");
    told(source, BRAIN_EXPORT_ACCEPTED, "");
    cr_assert(wanted(source, "ACK walk "));
    told(source, BRAIN_EXPORT_WALKED, "");
    cr_assert(wanted(source, "SNAPSHOT-EOF "));
    told(source, BRAIN_EXPORT_TOLD, "REQUEST-PAUSE");
    cr_assert(wanted(source, "wait "));
    cr_assert(!holds(source, 0));
    told(source, BRAIN_EXPORT_LITTLE, "");
    cr_assert(wanted(source, ""));
    cr_assert(holds(source, 0) && !seals(source, 0));
    map_taken(source);
    cr_assert(wanted(source, "drain "));
    cr_assert(holds(source, 0) && seals(source, 9) && !holds(source, 10));
    told(source, BRAIN_EXPORT_DRAINED, "");
    cr_assert(wanted(source, "PAUSED "));
    told(source, BRAIN_EXPORT_TOLD, "REQUEST-FAILOVER");
    cr_assert(wanted(source, "")); /* before it is on the disk */
    net_run(&net, 100);
    cr_assert(wanted(source, "FAILOVER-GRANTED "));
    cr_assert(net_says(source,
                       "-ERR Slots that were granted to their new owner already are not taken "
                       "back\r\n",
                       "CANCELSLOTMIGRATIONS"));
}

static bool is_held_for(int64_t ms) {
    bool held = seals(&net.hosts[0], 0);
    for (int64_t until = net.mono + ms; net.mono < until && held;) {
        net_run(&net, 100);
        map_taken(&net.hosts[0]);
        held = seals(&net.hosts[0], 0);
    }
    return held;
}

static bool is_let_go_within(int64_t ms) {
    return !is_held_for(ms);
}

static void cut(unsigned a, unsigned b, bool is) {
    net.cut[a][b] = net.cut[b][a] = is;
}

Test(brain, slots_that_were_granted_are_held_until_the_claim) {
    char line[128], from[41];
    form(3, 3, 21);
    cr_assert(becomes_one_view(10000));
    grant();
    cr_assert(is_held_for(20000));
    net_id(&net.hosts[0], from);
    for (unsigned slot = 0; slot < 10; slot++) {
        snprintf(line, sizeof line, "SETSLOT %u IMPORTING %s", slot, from);
        cr_assert(net_ok(&net.hosts[1], line));
    }
    for (unsigned slot = 0; slot < 10; slot++) {
        char to[41];
        snprintf(line, sizeof line, "SETSLOT %u NODE %s", slot, net_id(&net.hosts[1], to));
        cr_assert(net_ok(&net.hosts[1], line));
    }
    cr_assert(is_let_go_within(2000));
    net_run(&net, 300);
    cr_assert(has(&net.hosts[0], "GETSLOTMIGRATIONS", "success"));
    cr_assert_gt(net.hosts[0].dropped_count, 0);
    cr_assert(becomes_one_view(5000));
    net_fini(&net);
}

Test(brain, slots_that_the_target_has_not_got_are_taken_back_with_a_greater_epoch) {
    char line[32], id[41];
    form(3, 3, 22);
    cr_assert(becomes_one_view(10000));
    grant();
    told(&net.hosts[0], BRAIN_EXPORT_LOST, "");
    cr_assert(is_held_for(900)); /* what was under way may come of it still */
    cr_assert(is_let_go_within(2000));
    cr_assert(has(&net.hosts[0], "GETSLOTMIGRATIONS", "failed"));
    net_run(&net, 2000);
    snprintf(line, sizeof line, " 5 connected");
    cr_assert(has(&net.hosts[2], "NODES", line));
    cr_assert(has(&net.hosts[2], "NODES", net_id(&net.hosts[0], id)));
    cr_assert(becomes_one_view(5000));
    net_fini(&net);
}

/* Was: a source that started again behind a grant took writes, which were lost with the claim. */
Test(brain, slots_that_were_granted_are_held_by_who_starts_again) {
    form(3, 3, 26);
    cr_assert(becomes_one_view(10000));
    grant();
    cut(0, 1, true);
    for (unsigned i = 0; i < 3; i++) {
        net_crash(&net.hosts[0]);
        net_boot(&net.hosts[0]);
        cr_assert(holds(&net.hosts[0], 9) && seals(&net.hosts[0], 0) && !seals(&net.hosts[0], 10));
        cr_assert(is_held_for(1500));
    }
    cr_assert(has(&net.hosts[0], "GETSLOTMIGRATIONS", "failover-granted"));
    cut(0, 1, false);
    cr_assert(is_let_go_within(10000));
    cr_assert(has(&net.hosts[0], "GETSLOTMIGRATIONS", "failed"));
    net_run(&net, 1000);
    net_crash(&net.hosts[0]);
    net_boot(&net.hosts[0]);
    cr_assert(!seals(&net.hosts[0], 0));
    cr_assert(becomes_one_view(10000));
    net_fini(&net);
}

Test(brain, slots_whose_target_does_not_answer_are_held_until_it_does) {
    form(3, 3, 23);
    cr_assert(becomes_one_view(10000));
    grant();
    cut(0, 1, true);
    told(&net.hosts[0], BRAIN_EXPORT_LOST, "");
    cr_assert(is_held_for(20000)); /* the third reaches both: nobody has failed */
    cut(0, 1, false);
    cr_assert(is_let_go_within(10000));
    cr_assert(becomes_one_view(10000));
    net_fini(&net);
}

Test(brain, slots_whose_target_has_failed_are_held_for_a_node_timeout_more) {
    form(3, 3, 24);
    cr_assert(becomes_one_view(10000));
    grant();
    net_crash(&net.hosts[1]);
    told(&net.hosts[0], BRAIN_EXPORT_LOST, "");
    for (unsigned i = 0; i < 100 && count_flag(&net.hosts[0], MAP_FAIL) == 0; i++) {
        net_run(&net, 100);
    }
    cr_assert_eq(count_flag(&net.hosts[0], MAP_FAIL), 1);
    cr_assert(is_held_for(800));
    cr_assert(is_let_go_within(1000));
    net_boot(&net.hosts[1]);
    cr_assert(becomes_one_view(10000));
    net_fini(&net);
}

Test(brain, what_breaks_a_migration_before_the_grant_lets_go_at_once) {
    struct net_host *source = &net.hosts[0];
    char line[128], to[41];
    form(2, 2, 25);
    cr_assert(becomes_one_view(10000));
    snprintf(line, sizeof line, "MIGRATESLOTS SLOTSRANGE 0 9 NODE %s", net_id(&net.hosts[1], to));
    cr_assert(net_ok(source, line));
    cr_assert(net_says(source, "-ERR I am already migrating slot 0.\r\n", line));
    cr_assert(net_says(source, "-ERR Slot export in progress.\r\n", "SETSLOT 5 STABLE"));
    told(source, BRAIN_EXPORT_ACCEPTED, "");
    told(source, BRAIN_EXPORT_WALKED, "");
    told(source, BRAIN_EXPORT_TOLD, "REQUEST-PAUSE");
    told(source, BRAIN_EXPORT_LITTLE, "");
    map_taken(source);
    cr_assert(seals(source, 9));
    told(source, BRAIN_EXPORT_LOST, "");
    cr_assert(holds(source, 9) && !seals(source, 9));
    map_taken(source);
    cr_assert(!holds(source, 9));
    cr_assert(wanted(source, "open:6379 ACK walk SNAPSHOT-EOF wait drain close "));
    cr_assert(net_ok(source, line));
    told(source, BRAIN_EXPORT_ACCEPTED, "");
    cr_assert(net_ok(source, "DELSLOTS 9"));
    net_run(&net, 200);
    cr_assert(has(source, "GETSLOTMIGRATIONS", "Slots are no longer owned by myself"));
    net_fini(&net);
}
