/* SPDX-License-Identifier: BSD-3-Clause */
/* Clusters of brains under everything that networks, disks and clocks do (test/unit/brain_net.h).
 *
 * Faults are drawn from a seed for a while, then all is mended. Seen from outside, by packets
 * alone: 1 nobody votes twice in an epoch, also over crashes that lose what was not on the disk; 2
 * no epoch is claimed with slots by two nodes, so a slot has one owner in an epoch; 3 when all is
 * mended, all soon have one view, and a slot's owner is who claimed it with the largest epoch that
 * was ever told. SHOAL_CLUSTER_SEEDS=n runs n seeds instead of a few, from SHOAL_CLUSTER_SEED on.
 */
#include "cluster/brain/brain_private.h"
#include "test/unit/brain_net.h"

#include <criterion/criterion.h>

#define EPOCHS_MAX 20000
#define FAULTS     40

struct witness {
    int8_t claimant[EPOCHS_MAX];            /* host, or -1 */
    int8_t vote[NET_HOSTS_MAX][EPOCHS_MAX]; /* for whom; -1: none */
    uint64_t largest[MAP_SLOTS / 64];       /* of slots, one of 64 is looked at */
    int8_t largest_by[MAP_SLOTS / 64];
    unsigned wrong;
    uint64_t elections, epoch_max;
    bool quiet;
    bool moves; /* slots move by hand, and who gets one takes an epoch without asking */
};

static void wrong(struct witness *witness, const char *what, uint64_t epoch, unsigned a,
                  unsigned b) {
    witness->wrong++;
    if (!witness->quiet) {
        fprintf(stderr, "%s: epoch %llu, hosts %u and %u\n", what, (unsigned long long)epoch, a, b);
    }
}

static void see(struct net *net, struct net_host *from, struct net_host *to, struct bytes bytes) {
    struct witness *witness = net->sniffer;
    struct wire_packet packet;
    cr_assert_eq(wire_parse(bytes, &packet), WIRE_GOOD);
    if (packet.light) {
        return;
    }
    cr_assert(packet.current_epoch < EPOCHS_MAX);
    witness->epoch_max =
        packet.current_epoch > witness->epoch_max ? packet.current_epoch : witness->epoch_max;
    if (packet.type == WIRE_AUTH_ACK) {
        int8_t *vote = &witness->vote[from->i][packet.current_epoch];
        if (*vote >= 0 && *vote != (int8_t)to->i) {
            wrong(witness, "two votes", packet.current_epoch, from->i, to->i);
        }
        *vote = (int8_t)to->i;
        const char *written = strstr(from->disk.ptr, "lastVoteEpoch ");
        if (written == NULL || strtoull(written + 14, NULL, 10) < packet.current_epoch) {
            wrong(witness, "a vote that is not on the disk", packet.current_epoch, from->i, to->i);
        }
    }
    witness->elections += packet.type == WIRE_AUTH_REQUEST;
    if (packet.primary != NULL) {
        return;
    }
    bool claims = false;
    for (unsigned at = 0; at < MAP_SLOTS / 64; at++) {
        if (!brain_bit(packet.slots, at * 64)) {
            continue;
        }
        claims = true;
        if (packet.config_epoch >= witness->largest[at]) {
            witness->largest[at] = packet.config_epoch;
            witness->largest_by[at] = (int8_t)from->i;
        }
    }
    if (!claims) {
        return;
    }
    int8_t *claimant = &witness->claimant[packet.config_epoch];
    if (*claimant >= 0 && *claimant != (int8_t)from->i && !witness->moves) {
        wrong(witness, "two claimants", packet.config_epoch, (unsigned)*claimant, from->i);
    }
    *claimant = (int8_t)from->i;
}

/* ---- A cluster ---- */

static void form(struct net *net, struct witness *witness, unsigned count, unsigned primaries,
                 uint64_t seed) {
    char line[128], id[41];
    memset(witness, 0, sizeof *witness);
    memset(witness->claimant, -1, sizeof witness->claimant);
    memset(witness->vote, -1, sizeof witness->vote);
    net_init(net, count, seed, 1000);
    net->sniff = see;
    net->sniffer = witness;
    for (unsigned i = 0; i < primaries; i++) {
        snprintf(line, sizeof line, "ADDSLOTSRANGE %u %u", i * MAP_SLOTS / primaries,
                 (i + 1) * MAP_SLOTS / primaries - 1);
        cr_assert(net_ok(&net->hosts[i], line));
        snprintf(line, sizeof line, "SET-CONFIG-EPOCH %u", i + 1);
        cr_assert(net_ok(&net->hosts[i], line));
    }
    for (unsigned i = 1; i < count; i++) {
        snprintf(line, sizeof line, "MEET %s %u", net->hosts[i].ip, NET_PORT);
        cr_assert(net_ok(&net->hosts[0], line));
    }
    net_run(net, 6000);
    for (unsigned i = primaries; i < count; i++) {
        snprintf(line, sizeof line, "REPLICATE %s", net_id(&net->hosts[i % primaries], id));
        cr_assert(net_ok(&net->hosts[i], line));
    }
    for (unsigned i = 0; i < count; i++) {
        net->hosts[i].offset = net->hosts[i].applied = 100;
    }
    net_run(net, 3000);
}

static bool one_view(struct net *net, const struct witness *witness, bool say) {
    struct map *first = brain_map(net->hosts[0].brain);
    bool same = true;
    for (unsigned i = 0; i < net->count && same; i++) {
        struct map *map = brain_map(net->hosts[i].brain);
        same = map->state == MAP_STATE_OK && map->nodes_count == net->count;
        for (unsigned n = 0; n < map->nodes_count && same; n++) {
            same = !(map->nodes[n].flags & (MAP_FAIL | MAP_PFAIL));
        }
        same = same && memcmp(map->owner, first->owner, sizeof map->owner) == 0;
        for (unsigned at = 0; at < MAP_SLOTS / 64 && same && !witness->moves; at++) {
            char id[41];
            const char *owner = map->nodes[map->owner[at * 64]].id;
            struct net_host *by = &net->hosts[witness->largest_by[at]];
            same = strcmp(owner, net_id(by, id)) == 0;
        }
        if (!same && say) {
            char *nodes = net_ask(&net->hosts[i], NULL, "NODES");
            fprintf(stderr, "host %u, state %d %d:\n%s", i, map->state, map->why, nodes);
            free(nodes);
            nodes = net_ask(&net->hosts[0], NULL, "NODES");
            fprintf(stderr, "host 0:\n%s", nodes);
            free(nodes);
        }
        map_free(map);
    }
    map_free(first);
    return same;
}

static bool becomes_one_view(struct net *net, const struct witness *witness, int64_t ms) {
    for (int64_t until = net->mono + ms; net->mono < until;) {
        if (one_view(net, witness, false)) {
            return true;
        }
        net_run(net, 200);
    }
    return one_view(net, witness, !witness->quiet);
}

/* ---- Faults ---- */

static void cut_at_random(struct net *net) {
    struct rng *rng = &net->rng;
    unsigned kind = (unsigned)rng_below(rng, 4), alone = (unsigned)rng_below(rng, net->count);
    uint64_t side = rng_next(rng);
    unsigned bridge = (unsigned)rng_below(rng, net->count);
    for (unsigned i = 0; i < net->count; i++) {
        for (unsigned j = 0; j < net->count; j++) {
            bool apart = (side >> i & 1) != (side >> j & 1);
            bool cut = kind == 0   ? apart
                       : kind == 1 ? apart && i != bridge && j != bridge
                       : kind == 2 ? i == alone /* what it says is not heard */
                                   : i == alone || j == alone;
            net->cut[i][j] = cut && i != j;
        }
    }
}

static void fault(struct net *net) {
    struct rng *rng = &net->rng;
    struct net_host *host = &net->hosts[rng_below(rng, net->count)];
    switch (rng_below(rng, 10)) {
    case 0:
    case 1:
        cut_at_random(net);
        break;
    case 2:
    case 3:
        memset(net->cut, 0, sizeof net->cut);
        break;
    case 4:
    case 5:
        if (host->brain != NULL) {
            net_crash(host);
        } else {
            net_boot(host);
        }
        break;
    case 6:
        host->disk_ms = (int64_t)rng_below(rng, 3) * 400 + 3;
        break;
    case 7:
        host->wall_skew = (int64_t)rng_below(rng, 7200000) - 3600000;
        break;
    case 8:
        if (host->brain != NULL && host->follows[0] != '\0') {
            free(net_ask(host, NULL, "FAILOVER"));
        }
        break;
    case 9:
        host->disk_fails = !host->disk_fails;
        break;
    }
    for (unsigned i = 0; i < net->count; i++) { /* and clients write */
        net->hosts[i].offset += rng_below(rng, 100);
    }
}

/* A client is told OK when it is on the disk; it does not wait for ever. */
static bool is_done(struct net *net, struct net_host *host, const char *line) {
    char *reply = net_ask(host, NULL, "%s", line);
    bool ok = strcmp(reply, "+OK\r\n") == 0;
    free(reply);
    uint64_t version = brain_version(host->brain);
    for (int64_t until = net->mono + 1000; host->written_version < version && net->mono < until;) {
        net_step(net);
    }
    return ok && host->written_version >= version;
}

static uint64_t epoch_of(struct net_host *host) {
    return host->brain->self->config_epoch;
}

/* All replicas of who has taken a slot are up, and have heard of it. */
static bool replicas_know(struct net *net, struct net_host *target, unsigned slot) {
    const struct brain *brain = target->brain;
    bool know = true;
    char id[41];
    for (unsigned n = 0; n < brain->nodes_cap && know; n++) {
        const struct brain_node *replica = brain->nodes[n];
        if (replica == NULL || replica->primary != brain->self) {
            continue;
        }
        know = false;
        for (unsigned i = 0; i < net->count && !know; i++) {
            const struct net_host *host = &net->hosts[i];
            const struct brain_node *owner =
                host->brain != NULL ? brain_owner(host->brain, slot) : NULL;
            know = owner != NULL && memcmp(host->brain->self->id, replica->id, 40) == 0 &&
                   strcmp(owner->id, net_id(target, id)) == 0;
        }
    }
    return know;
}

/* As valkey-cli moves an empty slot, in the middle of everything; but in two cases the source is
 * not told to give it away, as nobody would have it then. It was elected since the beginning: it
 * may have taken it back from the target. Or a replica of the target does not know of it: who takes
 * over does not claim it then (SETSLOT does not wait for replicas). Peers have the first hole, too.
 */
static void move_slot(struct net *net) {
    char line[128], id[41];
    unsigned slot = (unsigned)rng_below(&net->rng, MAP_SLOTS / 64) * 64;
    struct net_host *target = &net->hosts[rng_below(&net->rng, net->count)], *source = NULL;
    if (target->brain == NULL || target->follows[0] != '\0') {
        return;
    }
    struct map *map = brain_map(target->brain);
    for (unsigned i = 0; i < net->count && map->owner[slot] != MAP_NONE; i++) {
        struct net_host *host = &net->hosts[i];
        if (host->brain != NULL && host != target &&
            strcmp(net_id(host, id), map->nodes[map->owner[slot]].id) == 0) {
            source = host;
        }
    }
    map_free(map);
    if (source == NULL) {
        return;
    }
    snprintf(line, sizeof line, "SETSLOT %u IMPORTING %s", slot, net_id(source, id));
    uint64_t epoch = epoch_of(source);
    bool goes_on = is_done(net, target, line);
    snprintf(line, sizeof line, "SETSLOT %u MIGRATING %s", slot, net_id(target, id));
    goes_on = goes_on && is_done(net, source, line);
    net_run(net, (int64_t)rng_below(&net->rng, 300));
    snprintf(line, sizeof line, "SETSLOT %u NODE %s", slot, net_id(target, id));
    goes_on = goes_on && is_done(net, target, line);
    net_run(net, (int64_t)rng_below(&net->rng, 50));
    for (int64_t until = net->mono + 1000;
         goes_on && !replicas_know(net, target, slot) && net->mono < until;) {
        net_step(net);
    }
    if (goes_on && epoch_of(source) == epoch && replicas_know(net, target, slot)) {
        is_done(net, source, line);
    }
}

static void mend(struct net *net) {
    memset(net->cut, 0, sizeof net->cut);
    for (unsigned i = 0; i < net->count; i++) {
        struct net_host *host = &net->hosts[i];
        host->disk_fails = false;
        host->disk_ms = 5;
        if (host->brain == NULL) {
            net_boot(host);
        }
    }
}

/* What is wrong with one seed. */
static unsigned torture(uint64_t seed, unsigned plants, bool moves, uint64_t *ret_elections) {
    static struct net net;
    static struct witness witness;
    struct rng rng;
    rng_seed(&rng, seed);
    unsigned primaries = 3 + (unsigned)rng_below(&rng, 2);
    unsigned count = primaries * 2 + (unsigned)rng_below(&rng, 3);
    form(&net, &witness, count, primaries, seed);
    witness.quiet = plants != 0;
    witness.moves = moves;
    for (unsigned n = 0; n < FAULTS; n++) {
        for (unsigned i = 0; i < count; i++) {
            if (net.hosts[i].brain != NULL) {
                net.hosts[i].brain->plants = plants;
            }
        }
        fault(&net);
        if (moves) {
            move_slot(&net);
        }
        net_run(&net, 50 + (int64_t)rng_below(&rng, 3000));
    }
    mend(&net);
    unsigned failed = becomes_one_view(&net, &witness, 60000) ? 0 : 1;
    if (failed && !witness.quiet) {
        fprintf(stderr, "seed %llu: not one view\n", (unsigned long long)seed);
    }
    *ret_elections += witness.elections;
    net_fini(&net);
    return failed + witness.wrong;
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

Test(cluster, one_vote_one_claimant_one_view) {
    uint64_t seeds = number("SHOAL_CLUSTER_SEEDS", 8), first = number("SHOAL_CLUSTER_SEED", 1);
    uint64_t elections = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        cr_assert_eq(torture(seed, 0, false, &elections), 0, "seed %llu", (unsigned long long)seed);
    }
    cr_assert(elections > seeds, "%llu", (unsigned long long)elections);
}

Test(cluster, slots_that_move_meanwhile_have_one_owner_in_the_end) {
    uint64_t seeds = number("SHOAL_CLUSTER_SEEDS", 6), first = number("SHOAL_CLUSTER_SEED", 1);
    uint64_t elections = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        cr_assert_eq(torture(seed, 0, true, &elections), 0, "seed %llu", (unsigned long long)seed);
    }
}

static bool is_found(unsigned plant, unsigned seeds) {
    uint64_t elections = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        if (torture(seed, plant, false, &elections) > 0) {
            return true;
        }
    }
    return false;
}

Test(cluster, a_vote_before_it_is_on_the_disk_is_found) {
    cr_assert(is_found(PLANT_EARLY_VOTE, 5));
}

Test(cluster, a_slot_that_goes_by_a_smaller_epoch_is_found) {
    cr_assert(is_found(PLANT_SMALL_EPOCH, 20));
}

/* ---- Ranks ---- */

/* A primary dies; of its replicas one has more than the others. Whether that one takes over. */
static bool best_wins(uint64_t seed, unsigned plants) {
    static struct net net;
    static struct witness witness;
    form(&net, &witness, 12, 3, seed); /* replicas of 0: 3, 6, 9 */
    unsigned best = 3 + 3 * (unsigned)(seed % 3);
    for (unsigned i = 3; i < 12; i += 3) {
        net.hosts[i].brain->plants = plants;
        net.cut[0][i] = net.cut[i][0] = i != best;
    }
    net.hosts[0].offset += 50;
    net_run(&net, 200);
    net_crash(&net.hosts[0]);
    net_run(&net, 5000);
    bool wins = net.hosts[best].follows[0] == '\0';
    net_fini(&net);
    return wins;
}

Test(cluster, the_replica_with_most_data_takes_over) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        cr_assert(best_wins(seed, 0), "seed %llu", (unsigned long long)seed);
    }
}

Test(cluster, ranks_that_are_ignored_are_found) {
    bool found = false;
    for (uint64_t seed = 1; seed <= 20 && !found; seed++) {
        found = !best_wins(seed, PLANT_NO_RANK);
    }
    cr_assert(found);
}
