# SPDX-License-Identifier: BSD-3-Clause
"""What a server says and refuses where a user would else believe something that is not so."""

import os
import re
import socket
import subprocess

import pytest

from resp import Raw, RespError
from server import ServerFailed, free_port, wait_for

pytestmark = pytest.mark.row_each

MISSED = re.compile(r"# Set, but without effect, because what they are about is not there yet: (.*)")


def missed(server):
    return MISSED.findall(server.log())


# ---- directives that do not act ----------------------------------------------------------------------------------------


@pytest.mark.shoal_only
def test_what_is_set_and_does_not_act_is_said_at_the_start(start_server):
    s = start_server(maxmemory="100mb", save=["100", "1"], io_threads="4", hash_max_listpack_entries="5", timeout="10", hz="20")
    assert missed(s) == ["io-threads"]


@pytest.mark.shoal_only
@pytest.mark.parametrize("options", (
    {},
    {"save": ["3600", "1", "300", "100", "60", "10000"], "maxmemory": "0", "latency-monitor-threshold": "0"},
    {"save": "", "maxmemory-policy": "allkeys-lru", "set-max-intset-entries": "9"},
    {"slowlog-log-slower-than": "-1", "commandlog-reply-larger-than": "-1", "bgsave-cpulist": ""},
))  # fmt: skip
def test_what_is_not_set_is_not_mentioned(start_server, options):
    assert missed(start_server(config=options)) == []


@pytest.mark.shoal_only
def test_zero_is_not_off_everywhere(start_server):
    """It is the first processor."""
    s = start_server(config={"bgsave-cpulist": "0", "io-threads": "1"})
    assert missed(s)[0] == "bgsave-cpulist"
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "io-threads", "2", "slowlog-log-slower-than", "5") == "OK"
        assert missed(s)[1:] == ["io-threads"]
        assert c.do("CONFIG", "SET", "io-threads", "3", "activedefrag", "yes") == "OK"
        assert missed(s)[2:] == ["io-threads"]


@pytest.mark.shoal_only
def test_config_set_says_it_too(start_server):
    s = start_server()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "maxmemory", "1mb", "hz", "20", "io-threads", "2") == "OK"
        assert missed(s) == ["io-threads"]
        assert c.do("CONFIG", "SET", "maxmemory", "1mb") == "OK"
        assert c.do("CONFIG", "SET", "timeout", "7") == "OK"
        assert len(missed(s)) == 1
        assert c.do("CONFIG", "SET", "maxmemory", "0") == "OK"
        assert len(missed(s)) == 1
        assert c.do("CONFIG", "SET", "io-threads", "3") == "OK"
        assert missed(s)[1:] == ["io-threads"]


@pytest.mark.shoal_only
def test_a_stock_configuration_file_promises_nothing(start_server):
    """The defaults of valkey.conf, line for line: nothing in them is missed."""
    s = start_server(config_file="save 3600 1 300 100 60 10000\nappendonly no\nmaxmemory 0\noom-score-adj no\nactivedefrag no\n"
                                 "latency-monitor-threshold 0\nslowlog-log-slower-than 10000\nnotify-keyspace-events \"\"\nio-threads 1\n")  # fmt: skip
    assert missed(s) == []


# ---- data of others ----------------------------------------------------------------------------------------------------


@pytest.mark.shoal_only
def test_data_elsewhere_does_not_matter(start_server):
    s = start_server(start=False, dbfilename="other.rdb")
    open(os.path.join(s.dir, "dump.rdb"), "w").close()
    s.start()


# ---- oom-score-adj -----------------------------------------------------------------------------------------------------


def score(server):
    with open("/proc/%d/oom_score_adj" % server.pid) as f:
        return int(f.read())


def test_oom_score_at_the_start(start_server):
    own = int(open("/proc/self/oom_score_adj").read())
    assert score(start_server()) == own
    assert score(start_server(oom_score_adj="yes", oom_score_adj_values=["11", "200", "800"])) == own + 11
    assert score(start_server(oom_score_adj="absolute", oom_score_adj_values=["900", "901", "902"])) == 900


def test_oom_score_by_config_set(start_server):
    s = start_server()
    own = score(s)
    with s.raw() as c:

        def set(*words):
            assert c.do("CONFIG", "SET", *words) == "OK"
            return score(s)

        assert set("oom-score-adj-values", "10 20 30") == own
        assert set("oom-score-adj", "yes") == own + 10
        assert set("oom-score-adj-values", "15 20 30") == own + 15
        assert set("oom-score-adj", "absolute", "oom-score-adj-values", "700 700 700") == 700
        assert set("oom-score-adj", "relative", "oom-score-adj-values", "2000 2000 2000") == 1000
        assert set("oom-score-adj-values", "0 0 0") == own
        assert set("oom-score-adj-values", "5 5 5") == own + 5
        assert set("oom-score-adj", "no") == own
        assert set("oom-score-adj-values", "9 9 9") == own
        assert set("oom-score-adj", "yes") == own + 9
        assert "oom-score-adj-values configuration may not work" not in s.log()
        assert set("oom-score-adj-values", "9 9 8") == own + 9
        assert "oom-score-adj-values configuration may not work" in s.log()


def test_oom_score_goes_back_with_all_else(start_server):
    s = start_server()
    own = score(s)
    with socket.socket() as taken, s.raw() as c:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        reply = c.do("CONFIG", "SET", "oom-score-adj", "yes", "oom-score-adj-values", "33 34 35", "port", str(taken.getsockname()[1]))
        assert isinstance(reply, RespError) and "Unable to listen on this port" in str(reply)
        assert score(s) == own
        assert c.do("CONFIG", "GET", "oom-score-adj") == [b"oom-score-adj", b"no"]


def test_oom_score_that_may_not_be(server_binary, base_config, kind, tmp_path):
    """As a user who may not lower it: CONFIG SET fails and leaves all as it was; a start goes on without."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    if kind == "redis":
        pytest.skip("it says it in other words")
    tmp_path.chmod(0o777)
    os.chdir("/")
    for values, expected in (("10 20 30", 10), ("-900 1 2", 0)):
        port = free_port()
        options = dict(base_config, port=port, save="", **{"oom-score-adj": "absolute"})
        line = [server_binary] + [w for name, value in options.items() for w in ("--" + name, str(value))] + ["--oom-score-adj-values"] + values.split()
        with open(tmp_path / "out", "w") as out:
            proc = subprocess.Popen(line, user=65534, group=65534, extra_groups=[], stdout=out, stderr=out)
        try:
            def connected():
                try:
                    with Raw(("127.0.0.1", port)) as c:
                        return c.do("PING") == "PONG"
                except OSError:
                    return False

            assert wait_for(connected), (tmp_path / "out").read_text()
            assert int(open("/proc/%d/oom_score_adj" % proc.pid).read()) == expected
            if expected == 0:
                assert "Unable to write oom_score_adj: Permission denied" in (tmp_path / "out").read_text()
                continue
            with Raw(("127.0.0.1", port)) as c:
                reply = c.do("CONFIG", "SET", "hz", "30", "oom-score-adj-values", "-900 4 3")
                assert isinstance(reply, RespError)
                assert str(reply) == (
                    "ERR CONFIG SET failed (possibly related to argument 'oom-score-adj-values') - Failed to set current oom_score_adj. Check server logs."
                )
                assert c.do("CONFIG", "GET", "oom-score-adj-values") == [b"oom-score-adj-values", b"10 20 30"]
                assert c.do("CONFIG", "GET", "hz") == [b"hz", b"10"]
            assert int(open("/proc/%d/oom_score_adj" % proc.pid).read()) == 10
        finally:
            proc.terminate()
            assert proc.wait(60) == 0


# ---- the first lines ---------------------------------------------------------------------------------------------------


@pytest.mark.shoal_only
def test_the_log_says_what_is_served(start_server, tmp_path):
    """Every address, not whether there is one: a bind of 127.0.0.1 and one of * read alike."""
    path = str(tmp_path / "sock")
    s = start_server(bind=["127.0.0.1", "-127.0.0.2"], unixsocket=path)
    assert re.findall(r"\* Listening on (.*)", s.log()) == ["127.0.0.1:%d" % s.port, "127.0.0.2:%d" % s.port, "unix socket " + path]
    port = free_port()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "bind", "127.0.0.1") == "OK"
        assert c.do("CONFIG", "SET", "port", str(port)) == "OK"
        assert c.do("CONFIG", "SET", "port", str(port), "hz", "20") == "OK"
    said = re.findall(r"\* Listening on (.*)", s.log())[3:]
    assert said == ["127.0.0.1:%d" % s.port, "unix socket " + path, "127.0.0.1:%d" % port, "unix socket " + path]
    s.port = port


@pytest.mark.shoal_only
def test_the_log_says_where_the_configuration_came_from(start_server, server_binary, tmp_path):
    s = start_server(config_file="timeout 9\n")
    assert "* Configuration loaded from %s/server.conf" % s.dir in s.log()
    s = start_server()
    assert "* Configuration loaded, without a file" in s.log()


def test_the_log_says_that_there_was_no_configuration(server_binary, tmp_path):
    """In a network of its own, because the port is that of the defaults."""
    alone = ["unshare", "--net"]
    if subprocess.run(alone + ["true"], capture_output=True).returncode != 0:
        pytest.skip("only root can make a network")
    with open(tmp_path / "out", "w") as out:
        proc = subprocess.Popen(alone + [server_binary], stdout=out, stderr=out, cwd=tmp_path)
    line = r"# Warning: [Nn]o config file specified, using the default config\. In order to specify a config file use /\S+ /path/to/\w+\.conf"
    try:
        assert wait_for(lambda: "Ready to accept" in (tmp_path / "out").read_text())
        assert re.search(line, (tmp_path / "out").read_text())
    finally:
        proc.terminate()
        assert proc.wait(60) == 0


@pytest.mark.shoal_only
def test_the_commit_is_named(start_server, server_binary):
    said = subprocess.run([server_binary, "--version"], capture_output=True, text=True).stdout
    found = re.fullmatch(r"Shoal server v=\S+ shoal=\d+\.\d+\.\d+ sha=([0-9a-f]{8,}):([01]) malloc=(\w+) bits=64 build=([0-9a-f]{16})\n", said)
    assert found, said
    s = start_server()
    info = s.info("server")
    assert said.startswith("Shoal server v=%s shoal=%s sha=" % (info["valkey_version"], info["shoal_version"]))
    assert (info["redis_git_sha1"], info["redis_git_dirty"], info["redis_build_id"]) == (found.group(1), found.group(2), found.group(4))
    assert "commit=%s, modified=%s" % found.group(1, 2) in s.log()
    assert s.info("memory")["mem_allocator"] == found.group(3)
