/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/config_helper.h"

#include "server/config/config_row.h"

static struct memory_fs *memory;
static struct config *config;

static void start(void) {
    memory = memory_fs_new();
    config = config_defaults();
    config->shards = 4;
}

static void stop(void) {
    config_free(config);
    memory_fs_free(memory);
}

TestSuite(config_nodes, .init = start, .fini = stop);

static void set(const char *name, const char *value) {
    const struct config_row *row = config_row_find(bytes_of_text(name), NULL);
    struct bytes word = bytes_of_text(value);
    struct text reason;
    text_init(&reason);
    struct config_input in = {.reason = &reason, .loading_file = true};
    cr_assert(config_row_parse(row, config, &word, 1, &in), "%s: %s", name, reason.ptr);
    text_fini(&reason);
}

Test(config_nodes, ports_count_up_but_for_those_that_are_none) {
    set("tls-port", "0");
    set("cluster-announce-port", "30000");
    config_become_node(config, 3, 4);
    expect_get(config, "port", "port=6382");
    expect_get(config, "tls-port", "tls-port=0");
    expect_get(config, "cluster-announce-port", "cluster-announce-port=30003");
    expect_get(config, "shards", "shards=1");
}

Test(config_nodes, names_get_the_number_before_their_extension) {
    set("unixsocket", "/run/shoal.d/socket");
    set("cluster-config-file", ".nodes");
    set("dbfilename", "a.b.rdb");
    config_become_node(config, 0, 4);
    expect_get(config, "unixsocket", "unixsocket=/run/shoal.d/socket-0");
    expect_get(config, "cluster-config-file", "cluster-config-file=.nodes-0");
    expect_get(config, "dbfilename", "dbfilename=a.b-0.rdb");
    expect_get(config, "cluster-announce-human-nodename", "cluster-announce-human-nodename=");
}

Test(config_nodes, memory_is_shared_out_and_a_limit_stays_one) {
    set("maxmemory", "3");
    set("maxmemory-clients", "25%");
    set("unauthenticated-maxmemory", "10");
    config_become_node(config, 1, 4);
    expect_get(config, "maxmemory", "maxmemory=1");
    expect_get(config, "maxmemory-clients", "maxmemory-clients=25%");
    expect_get(config, "unauthenticated-maxmemory", "unauthenticated-maxmemory=2");
}

Test(config_nodes, what_was_split_can_be_joined) {
    set("maxmemory", "4gb");
    set("unixsocket", "/run/s.sock");
    config_become_node(config, 2, 4);
    struct config *whole = config_nodes_join(config);
    expect_get(whole, "port", "port=6379");
    expect_get(whole, "maxmemory", "maxmemory=4294967296");
    expect_get(whole, "unixsocket", "unixsocket=/run/s.sock");
    expect_get(whole, "cluster-config-file", "cluster-config-file=nodes.conf");
    expect_get(whole, "shards", "shards=4");
    config_free(whole);
}

Test(config_nodes, what_others_have_too_cannot_be_set_for_one) {
    config_become_node(config, 2, 4);
    const char *own[] = {"port", "cluster-announce-human-nodename", "dbfilename"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        cr_assert(config_is_by_node(config_row_find(bytes_of_text(own[i]), NULL), config));
    }
    cr_assert_not(config_is_by_node(config_row_find(BYTES("maxmemory"), NULL), config));
    cr_assert_not(config_is_by_node(config_row_find(BYTES("timeout"), NULL), config));
    config = must_set(config, memory, "maxmemory", BYTES("1gb"));
    struct config *whole = config_nodes_join(config);
    expect_get(whole, "maxmemory", "maxmemory=4294967296");
    config_free(whole);
}

Test(config_nodes, a_node_that_is_the_whole_server_is_left_alone) {
    struct config *other = config_defaults();
    config_nodes_split(config, other);
    expect_get(config, "shards", "shards=4");
    expect_get(config, "port", "port=6379");
    struct config *whole = config_nodes_join(config);
    expect_get(whole, "dbfilename", "dbfilename=dump.rdb");
    cr_assert_not(config_is_by_node(config_row_find(BYTES("port"), NULL), config));
    config_free(whole);
    config_free(other);
}
