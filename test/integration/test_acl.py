# SPDX-License-Identifier: BSD-3-Clause
"""Users: what rules make of them, what they may then do on any shard, files of users, and who is told what. Runs against Valkey too."""

import os
import time

import pytest
from resp import RespError, encode
from server import wait_for


@pytest.fixture(autouse=True)
def no_users(server, raw):
    yield
    for name in raw.do("ACL", "USERS"):
        if name != b"default":
            raw.do("ACL", "DELUSER", name)
    raw.do("ACL", "LOG", "RESET")


def text(reply):
    return reply.args[0] if isinstance(reply, RespError) else reply


def line(raw, name):
    return next((row.decode() for row in raw.do("ACL", "LIST") if row.split(b" ")[1] == name.encode()), None)


RULES = [
    (["~x", "%R~x"], "off ~x resetchannels -@all"),
    (["%R~x", "%W~x"], "off ~x resetchannels -@all"),
    (["%R~x", "&c", "db=1,0"], "off %R~x resetchannels &c db=0,1 -@all"),
    (["+get", "+set", "-get", "+get"], "off resetchannels -@all +set +get"),
    (["+config|get", "+config"], "off resetchannels -@all +config"),
    (["+select|0", "+SELECT|A"], "off resetchannels -@all +select|0 +select|a"),
    (["+@all", "-@dangerous", "allkeys", "allchannels"], "off ~* &* +@all -@dangerous"),
    (["(~x", "+get)", "(~y)"], "off resetchannels -@all (~x resetchannels -@all +get) (~y resetchannels -@all)"),
    (["on", "nopass", "+@all", "reset"], "off resetchannels -@all"),
]


@pytest.mark.parametrize("rules,told", RULES)
def test_rules_are_told_as_what_they_mean(raw, rules, told):
    assert raw.do("ACL", "SETUSER", "u", *rules) == "OK"
    assert line(raw, "u") == "user u " + told


WRONG = [
    (["+foo"], "'+foo': Unknown command or category name in ACL"),
    (["+select|"], "'+select|': Syntax error"),
    (["+config|get|x"], "'+config|get|x': Allowing first-arg of a subcommand is not supported"),
    (["%~x"], "'%~x': Syntax error"),
    (["<x"], "'<x': The password you are trying to remove from the user does not exist"),
    (["db=-1"], "'db=-1': The provided database ID is out of range"),
    (["on", "foo"], "'foo': Syntax error"),
]


@pytest.mark.parametrize("rules,why", WRONG)
def test_a_wrong_rule_changes_nothing(raw, rules, why):
    raw.do("ACL", "SETUSER", "u", "on", "+get")
    before = line(raw, "u")
    assert text(raw.do("ACL", "SETUSER", "u", "~y", *rules)) == "ERR Error in ACL SETUSER modifier " + why
    assert line(raw, "u") == before


@pytest.mark.shoal_only
@pytest.mark.parametrize("rule", ("+select| &ch*", "(~a) +get)", "(~a))"))
def test_what_a_file_could_not_hold_is_refused(raw, rule):
    """The first makes Valkey 9.1.2 end at ACL LIST; of the others it writes a file that it refuses to read."""
    raw.do("ACL", "SETUSER", "u", "on", "+get")
    before = line(raw, "u")
    assert text(raw.do("ACL", "SETUSER", "u", rule)) == "ERR Error in ACL SETUSER modifier '%s': Syntax error" % rule
    assert line(raw, "u") == before


@pytest.mark.shoal_only
def test_a_file_with_patterns_behind_all_keys_can_be_read(start_server, tmp_path):
    """%RW~* is told as ~*, which may have no pattern behind it where a user is made: what ACL SAVE of Valkey 9.1.2 writes then ACL LOAD refuses."""
    (tmp_path / "users.acl").write_text("")
    s = start_server(aclfile=str(tmp_path / "users.acl"))
    with s.raw() as c:
        assert c.do("ACL", "SETUSER", "u", "%RW~*", "~y") == "OK"
        assert line(c, "u") == "user u off ~* ~y resetchannels -@all"
        assert c.do("ACL", "SAVE") == "OK" and c.do("ACL", "LOAD") == "OK"
        assert line(c, "u") == "user u off ~* ~y resetchannels -@all"
        assert c.do("ACL", "SETUSER", "v", "~*", "~y").startswith("ERR Error in ACL SETUSER modifier '~y': Adding a pattern after the * pattern")


def test_a_user_may_do_what_its_rules_say_on_any_shard(server, raw):
    raw.do("ACL", "SETUSER", "u", "on", ">p", "+get", "+set", "%R~r:*", "~b:*")
    u = server.raw()
    assert text(u.do("AUTH", "u", "q")) == "WRONGPASS invalid username-password pair or user is disabled."
    assert u.do("AUTH", "u", "p") == "OK"
    for i in range(40):
        assert u.do("SET", "b:%d" % i, "v") == "OK"
        assert u.do("GET", "r:%d" % i) is None
        assert text(u.do("SET", "r:%d" % i, "v")) == "NOPERM No permissions to access a key"
    assert text(u.do("DEL", "b:1")) == "NOPERM User u has no permissions to run the 'del' command"


def test_a_change_is_seen_by_who_is_there(server, raw):
    raw.do("ACL", "SETUSER", "u", "on", "nopass", "+get", "~*")
    others = [server.raw() for _ in range(8)]
    for other in others:
        assert other.do("AUTH", "u", "x") == "OK"
        assert other.do("GET", "k") is None
    assert raw.do("ACL", "SETUSER", "u", "-get") == "OK"
    for other in others:
        assert text(other.do("GET", "k")) == "NOPERM User u has no permissions to run the 'get' command"
    assert raw.do("ACL", "DELUSER", "u", "nobody") == 1
    for other in others:
        assert other.is_closed()


def test_denials_are_logged_and_alike_ones_are_one(server, raw):
    raw.do("ACL", "LOG", "RESET")
    raw.do("ACL", "SETUSER", "u", "on", "nopass", "+get", "~x")
    u = server.raw()
    u.do("AUTH", "u", "x")
    for _ in range(3):
        u.do("GET", "y")
    u.do("DEL", "y")
    log = [dict(zip(e[::2], e[1::2])) for e in raw.do("ACL", "LOG")]
    assert [(e[b"count"], e[b"reason"], e[b"object"], e[b"username"]) for e in log] == [
        (1, b"command", b"del", b"u"),
        (3, b"key", b"y", b"u"),
    ]


def test_requirepass_is_the_password_of_the_default_user(start_server):
    server = start_server()
    raw = server.raw()
    assert raw.do("CONFIG", "SET", "requirepass", "one") == "OK"
    assert text(server.raw().do("PING")).startswith("NOAUTH")
    other = server.raw()
    assert other.do("AUTH", "one") == "OK" and other.do("PING") == "PONG"
    assert raw.do("CONFIG", "SET", "requirepass", "") == "OK"
    assert server.raw().do("PING") == "PONG"


# ---- The file of users ---------------------------------------------------------------------------------------------

KEPT = [
    ["on", ">secret", ">other", "~a*", "%R~b*", "%W~c", "&ch:*", "+@read", "-get", "+config|get", "+select|0", "db=0,3"],
    ["off", "nopass", "allkeys", "allchannels", "+@all", "-@dangerous", "alldbs"],
    ["on", "#" + "ab" * 32, "(~x +get)", "(%R~y db=1 +@read -mget)", "resetchannels"],
    [],
]


@pytest.fixture
def with_file(start_server, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user default on nopass ~* &* +@all\n")
    return start_server(aclfile=str(path)), path


def test_users_come_back_from_their_file(with_file, start_server):
    s, path = with_file
    with s.raw() as c:
        for n, rules in enumerate(KEPT):
            assert c.do("ACL", "SETUSER", "user%d" % n, *rules) == "OK"
        told = c.do("ACL", "LIST")
        assert c.do("ACL", "SAVE") == "OK"
        assert sorted(path.read_bytes().splitlines()) == sorted(told)
        assert c.do("ACL", "DELUSER", "user0", "user3") == 2
        assert c.do("ACL", "SETUSER", "user1", "on", "-@all") == "OK"
        assert c.do("ACL", "LOAD") == "OK"
        assert c.do("ACL", "LIST") == told
    again = start_server(aclfile=str(path))
    with again.raw() as c:
        assert sorted(c.do("ACL", "LIST")) == sorted(told)
        assert c.do("AUTH", "user0", "other") == "OK"
    if again.kind != "shoal":
        return  # a new file has the mode of all
    os.chmod(path, 0o600)
    with s.raw() as c:
        assert c.do("ACL", "SAVE") == "OK"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_with_a_fault_changes_nothing(with_file):
    s, path = with_file
    with s.raw() as c:
        assert c.do("ACL", "SETUSER", "u", "on", "+get") == "OK"
        told = c.do("ACL", "LIST")
        for content in ("user a +nosuch\n", "user a on\nuser a off\n", "nonsense\n", "user a (+get\n"):
            path.write_text("user b on\n" + content)
            assert "ACL errors detected" in text(c.do("ACL", "LOAD")), content
            assert c.do("ACL", "LIST") == told
        path.unlink()
        assert "opening file" in text(c.do("ACL", "LOAD"))
        assert c.do("ACL", "LIST") == told
        path.mkdir()
        assert "There was an error trying to save the ACLs" in text(c.do("ACL", "SAVE"))


def test_whose_user_is_not_in_the_file_is_closed(with_file):
    s, path = with_file
    with s.raw() as c, s.raw() as gone, s.raw() as stays:
        for name, client in (("gone", gone), ("stays", stays)):
            assert c.do("ACL", "SETUSER", name, "on", "nopass", "+@all") == "OK"
            assert client.do("AUTH", name, "x") == "OK"
        path.write_text("user default on nopass ~* &* +@all\nuser stays on nopass +@all -echo\n")
        assert c.do("ACL", "LOAD") == "OK"
        with pytest.raises((OSError, EOFError)):
            gone.do("PING")
        assert stays.do("PING") == "PONG" and "NOPERM" in text(stays.do("ECHO", "x"))


def test_many_who_save_and_load_at_once(with_file):
    s, path = with_file
    clients = [s.raw() for _ in range(8)]
    for round in range(5):
        for n, c in enumerate(clients):
            c.send(encode("ACL", "SETUSER", "user%d" % n, "on", "+get") + encode("ACL", "SAVE") + encode("ACL", "LOAD") + encode("PING"))
        for c in clients:
            assert c.read_some(4) == ["OK", "OK", "OK", "PONG"]
    with s.raw() as c:
        assert c.do("ACL", "LOAD") == "OK"
        assert {name.decode() for name in c.do("ACL", "USERS")} >= {"default"}
        assert c.do("MULTI") == "OK"
        for words in (("ACL", "SETUSER", "last", "on"), ("ACL", "SAVE"), ("ACL", "LOAD")):
            assert c.do(*words) == "QUEUED"
        assert c.do("EXEC") == ["OK", "OK", "OK"]
    assert "user last on" in path.read_text()
    for c in clients:
        c.close()


@pytest.mark.shoal_only
def test_a_file_that_takes_long_delays_nobody(with_file):
    """Its worker stood still meanwhile, with all its clients."""
    s, path = with_file
    path.unlink()
    os.mkfifo(path)  # who opens it waits for a writer
    clients = [s.raw() for _ in range(8)]
    try:
        clients[0].send(encode("ACL", "LOAD"))
        for n, c in enumerate(clients[1:]):
            assert c.do("SET", "k%d" % n, "v") == "OK" and c.do("ACL", "SETUSER", "u%d" % n) == "OK"
        with s.raw() as c:
            assert wait_for(lambda: b"cmd=acl|load" in c.do("CLIENT", "LIST"))
    finally:
        with open(path, "w") as f:
            f.write("user default on nopass ~* &* +@all\nuser late on +ping\n")
    assert clients[0].read() == "OK"
    assert clients[1].do("ACL", "USERS") == [b"default", b"late"]
    for c in clients:
        c.close()


# ---- Rules without measure -----------------------------------------------------------------------------------------

GIANTS = 20_000
GIANT = {
    "keys": ["~key:%d:*" % n for n in range(GIANTS)] + ["%%R~key:%d:*" % n for n in range(0, GIANTS, 2)],
    "channels": ["resetchannels"] + ["&news:%d" % n for n in range(GIANTS)] * 2,
    "passwords": [">pass%d" % n for n in range(GIANTS)] + ["<pass%d" % n for n in range(0, GIANTS, 2)],
    "firsts": ["+select|%d" % n for n in range(GIANTS)] + ["+get|%d" % n for n in range(GIANTS)] + ["-get", "+get"] * 2000,
    "dbs": ["db=" + ",".join(str(n % 50_000) for n in range(GIANTS * 2, 0, -1))],
    "selectors": ["(~s:%d +get)" % n for n in range(GIANTS // 4)],
    "huge": ["~" + "[a-y]*" * 50_000, "&" + "x" * (1 << 20), "+get", "(~" + "y" * (1 << 20) + " +set)"],
    "words": ["+@all", "-@all", "+@read", "-@write", "+get", "-get", "on", "off", "reset"] * 500 + ["~k", "+get"],
}


@pytest.mark.shoal_only  # Valkey compares each pattern with all others
@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.row_each
def test_users_of_giant_rules_cost_what_they_take_to_read(with_file, slow):
    """A hundred thousand patterns of one user took more than a minute, as each was compared with all others, and with
    them all who have their keys on that shard. Memory is given back when they go."""
    s, path = with_file
    patience = 60 * slow
    with s.raw(timeout=patience) as c, s.raw(timeout=patience) as other:
        c.do("ACL", "SETUSER", "keys", *GIANT["keys"])
        c.do("ACL", "DELUSER", "keys")
        before = s.rss()
        for name, rules in GIANT.items():
            began = time.monotonic()
            assert c.do("ACL", "SETUSER", name, "on", *rules) == "OK"
            assert time.monotonic() - began < 5 * slow, name
            assert other.do("SET", "k", "v") == "OK"
        told = c.do("ACL", "LIST")
        users = {row.split(b" ")[1].decode(): row for row in told}
        assert users["keys"].count(b"~key:") == GIANTS and users["channels"].count(b"&news:") == GIANTS
        assert users["passwords"].count(b"#") == GIANTS // 2 and users["selectors"].count(b"(~s:") == GIANTS // 4
        assert users["firsts"].endswith(b"+select|%d +get" % (GIANTS - 1))
        for name in GIANT:
            assert len(c.do("ACL", "GETUSER", name)) >= 12
        for name, call, said in (
            ("keys", ("GET", "key:1:x"), b"the 'get' command"),
            ("huge", ("GET", "a" * 5000), b"the 'a"),
            ("firsts", ("SELECT", GIANTS), b"the 'select' command"),
            ("selectors", ("GET", "s:x"), b"the 's:x' key"),
            ("words", ("GET", "k2"), b"the 'k2' key"),
        ):
            assert said in text(c.do("ACL", "DRYRUN", name, *call)), name
        assert c.do("ACL", "DRYRUN", "selectors", "GET", "s:%d" % (GIANTS // 4 - 1)) == "OK"
        assert c.do("ACL", "DRYRUN", "words", "GET", "k") == "OK"
        # As a file they are the same.
        assert c.do("ACL", "SAVE") == "OK" and sorted(path.read_bytes().splitlines()) == sorted(told)
        assert c.do("ACL", "LOAD") == "OK" and c.do("ACL", "LIST") == told
        assert c.do("ACL", "DELUSER", *GIANT) == len(GIANT)
        assert s.rss() - before < (64 << 20) * slow


@pytest.mark.slow
@pytest.mark.row_each
def test_thousands_of_users(with_file, slow):
    s, path = with_file
    count = 3000
    names = ["u%05d" % n for n in range(count)]
    with s.raw(timeout=60 * slow) as c, s.raw(timeout=60 * slow) as other:
        for start in range(0, count, 500):
            c.send(b"".join(encode("ACL", "SETUSER", name, "on", ">p" + name, "~%s:*" % name, "+get") for name in names[start : start + 500]))
            assert other.do("PING") == "PONG"
            assert c.read_some(500) == ["OK"] * 500
        told = c.do("ACL", "LIST")
        assert len(told) == count + 1
        assert c.do("ACL", "SAVE") == "OK" and c.do("ACL", "LOAD") == "OK" and c.do("ACL", "LIST") == told
        for name in names[:: count // 10]:
            assert other.do("AUTH", name, "p" + name) == "OK" and other.do("GET", name + ":1") is None
            assert "NOPERM" in text(other.do("GET", "v:1"))
        assert c.do("ACL", "DELUSER", *names[1:], "nobody", names[1]) == count - 1
        assert c.do("ACL", "USERS") == [b"default", names[0].encode()]
