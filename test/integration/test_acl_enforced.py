# SPDX-License-Identifier: BSD-3-Clause
"""What users may do is asked again when it matters: at EXEC, in scripts wherever they run, for keys that values name, for channels that
somebody hears already, and for who waits. Runs against Valkey, too."""

import pytest

from server import wait_for

CHANGED = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: "
NO_COMMAND, NO_KEY = CHANGED + "no permission to execute the command or subcommand", CHANGED + "no permission to touch the specified keys"


@pytest.fixture
def two(server):
    """One who may do all, and one who is alice."""
    with server.raw() as admin, server.raw() as alice:
        admin.do("FLUSHALL")
        admin.do("ACL", "SETUSER", "alice", "reset", "on", "nopass", "~*", "&*", "+@all")
        admin.do("ACL", "LOG", "RESET")
        alice.do("AUTH", "alice", "x")
        yield admin, alice
        admin.do("ACL", "DELUSER", "alice")


def rows(admin):
    """reason, context, object, user, count of what is in the log, the latest first"""
    fields = (b"reason", b"context", b"object", b"username", b"count")
    return [tuple(dict(zip(e[::2], e[1::2]))[f] for f in fields) for e in admin.do("ACL", "LOG", "200")]


def test_exec_leaves_out_what_may_not_be_done_any_more(two):
    admin, alice = two
    alice.do("MULTI")
    for words in (("SET", "a", "1"), ("GET", "a"), ("SET", "b", "1"), ("INCR", "a"), ("SELECT", "1"), ("INCR", "a"), ("PING",)):
        assert alice.do(*words) == "QUEUED"
    admin.do("ACL", "SETUSER", "alice", "-get", "resetkeys", "~a", "resetdbs", "db=0")
    assert alice.do("EXEC") == ["OK", NO_COMMAND, NO_KEY, 2, CHANGED + "no permission", 3, "PONG"]
    assert admin.do("GET", "a") == b"3" and admin.do("EXISTS", "b") == 0
    assert rows(admin) == [
        (b"database", b"multi", b"1", b"alice", 1),
        (b"key", b"multi", b"b", b"alice", 1),
        (b"command", b"multi", b"get", b"alice", 1),
    ]


def test_exec_over_all_shards(two):
    admin, alice = two
    keys = ["k%d" % i for i in range(40)]
    alice.do("MULTI")
    for key in keys:
        alice.do("SET", key, "v")
    alice.do("MSET", *[w for key in keys for w in (key + "x", "v")])
    alice.do("DBSIZE")
    admin.do("ACL", "SETUSER", "alice", "resetkeys", "~k?", "-mset")
    answers = alice.do("EXEC")
    assert answers == ["OK" if len(key) == 2 else NO_KEY for key in keys] + [NO_COMMAND, 10]
    assert sorted(admin.do("KEYS", "*")) == sorted(key.encode() for key in keys if len(key) == 2)


def test_what_a_transaction_itself_changes_counts_for_what_is_behind_it(two):
    admin, alice = two
    alice.do("MULTI")
    for words in (("GET", "a"), ("ACL", "SETUSER", "alice", "-get", "-ping"), ("PING",), ("GET", "a"), ("AUTH", "default", "x"), ("GET", "a")):
        alice.do(*words)
    assert alice.do("EXEC") == [None, "OK", NO_COMMAND, NO_COMMAND, "OK", None]
    assert alice.do("ACL", "WHOAMI") == b"default"


def test_what_is_not_allowed_is_not_queued(two):
    admin, alice = two
    admin.do("ACL", "SETUSER", "alice", "-set")
    alice.do("MULTI")
    assert alice.do("SET", "a", "1") == "NOPERM User alice has no permissions to run the 'set' command"
    assert alice.do("GET", "a") == "QUEUED"
    assert alice.do("EXEC") == "EXECABORT Transaction discarded because of previous errors."
    assert rows(admin) == [(b"command", b"multi", b"set", b"alice", 1)]


def test_scripts_have_the_rights_of_who_calls_them(two):
    admin, alice = two
    admin.do("ACL", "SETUSER", "alice", "resetkeys", "~k*", "-incr", "resetdbs", "db=0")
    for i in range(20):  # on all shards
        key = "k%d" % i
        assert alice.do("EVAL", "return redis.call('SET', KEYS[1], 'v')", "1", key) == "OK"
        assert alice.do("EVAL", "return redis.pcall('INCR', KEYS[1])", "1", key) == "ERR ACL failure in script: User alice has no permissions to run the 'incr' command"
        assert alice.do("EVAL", "return {redis.pcall('GET', KEYS[1]), redis.pcall('GET', ARGV[1])}", "1", key, "other%d" % i) == [
            b"v", "ERR ACL failure in script: No permissions to access a key",
        ]  # fmt: skip
        assert alice.do("EVAL_RO", "return redis.pcall('GET', ARGV[1])", "1", key, "other") == "ERR ACL failure in script: No permissions to access a key"
    assert alice.do("EVAL", "return redis.pcall('SELECT', '1')", "0") == "ERR ACL failure in script: No permissions to access database"
    assert alice.do("EVAL", "redis.call('SET', 'k', '1') return redis.pcall('MSET', 'k1', '2', 'l', '3')", "0") == "ERR ACL failure in script: No permissions to access a key"
    assert admin.do("MGET", "k", "k1", "l") == [b"1", b"v", None]
    seen = rows(admin)
    assert (b"command", b"lua", b"incr", b"alice", 20) in seen and (b"database", b"lua", b"1", b"alice", 1) in seen
    assert sum(row[4] for row in seen if row[0] == b"key") == 20 + 20 + 1


def test_functions_too(two):
    admin, alice = two
    admin.do("FUNCTION", "FLUSH")
    admin.do("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function(k, a) return {redis.pcall('SET', k[1], 'v'), redis.acl_check_cmd('get', a[1])} end)")
    admin.do("ACL", "SETUSER", "alice", "resetkeys", "%W~k*")
    for i in range(10):
        assert alice.do("FCALL", "f", "1", "k%d" % i, "k%d" % i) == "NOPERM No permissions to access a key"
    admin.do("ACL", "SETUSER", "alice", "%RW~k*", "-set")
    for i in range(10):
        assert alice.do("FCALL", "f", "1", "k%d" % i, "x") == ["ERR ACL failure in script: User alice has no permissions to run the 'set' command", None]
        assert alice.do("FCALL", "f", "1", "k%d" % i, "k") == ["ERR ACL failure in script: User alice has no permissions to run the 'set' command", 1]
    admin.do("FUNCTION", "FLUSH")


def test_acl_check_cmd_knows_keys_and_subcommands(two):
    admin, alice = two
    admin.do("ACL", "SETUSER", "alice", "resetkeys", "%R~a", "~s", "+@all", "-config|set", "resetchannels", "&c")
    for i in range(10):
        asks = "return {%s}" % ", ".join(
            "tostring(redis.acl_check_cmd(%s))" % words for words in ("'get', 'a'", "'set', 'a', 'v'", "'get', 'b'", "'config', 'set', 'x', 'y'", "'config', 'get'", "'publish', 'c', 'v'", "'publish', 'd', 'v'")
        )
        assert alice.do("EVAL", asks, "0" if i == 0 else "1", *(["s"] if i else [])) == [b"true", b"false", b"false", b"false", b"true", b"true", b"false"]
    assert rows(admin) == []


def test_what_values_name_may_be_read_by_who_may_read_all(two):
    admin, alice = two
    admin.do("RPUSH", "k", "1", "2")
    by = "ERR BY option of SORT denied due to insufficient ACL permissions."
    get = "ERR GET option of SORT denied due to insufficient ACL permissions."
    for keys in (["~k"], ["%R~k", "%W~*"], ["~?"], ["~**"]):
        admin.do("ACL", "SETUSER", "alice", "resetkeys", *keys)
        assert alice.do("SORT", "k", "BY", "w_*") == by
        assert alice.do("SORT_RO", "k", "BY", "w_*") == by
        assert alice.do("SORT", "k", "GET", "#") == get
        assert alice.do("SORT", "k", "BY", "nosort", "GET", "x_*") == get
        assert alice.do("SORT", "k", "BY", "nosort") == [b"1", b"2"]
        assert alice.do("EVAL_RO", "return redis.pcall('SORT_RO', KEYS[1], 'BY', 'w_*')", "1", "k") == by
        alice.do("MULTI")
        alice.do("SORT", "k", "BY", "w_*")
        alice.do("SORT", "k")
        assert alice.do("EXEC") == [by, [b"1", b"2"]]
    admin.do("ACL", "SETUSER", "alice", "resetkeys", "~k", "%R~*")
    assert alice.do("SORT", "k", "BY", "w_*", "GET", "#", "GET", "x_*") == [b"1", None, b"2", None]


def test_who_hears_what_he_may_not_is_closed(server, two):
    admin, _ = two
    subscribed = {}
    for name, words in (("c", ("SUBSCRIBE", "c1")), ("p", ("PSUBSCRIBE", "c*")), ("s", ("SSUBSCRIBE", "c2")), ("none", ("PING",))):
        subscribed[name] = server.raw()
        subscribed[name].do("AUTH", "alice", "x")
        subscribed[name].do("CLIENT", "SETNAME", name)
        subscribed[name].do(*words)

    def there():
        return {name for name in subscribed if b" name=%s " % name.encode() in admin.do("CLIENT", "LIST")}

    admin.do("ACL", "SETUSER", "alice", "resetchannels", "&c*")
    assert admin.do("PUBLISH", "c1", "v") == 2 and there() == {"c", "p", "s", "none"}
    admin.do("ACL", "SETUSER", "alice", "resetchannels", "&c1", "&c?")
    assert wait_for(lambda: there() == {"c", "s", "none"})
    admin.do("ACL", "SETUSER", "alice", "resetchannels", "&c2")
    assert wait_for(lambda: there() == {"s", "none"})
    admin.do("ACL", "SETUSER", "alice", "resetchannels")
    assert wait_for(lambda: there() == {"none"})
    admin.do("ACL", "DELUSER", "alice")
    assert wait_for(lambda: there() == set())
    for c in subscribed.values():
        c.close()


def test_who_waits_and_may_not_any_more_takes_nothing(server, two):
    admin, alice = two
    for i in range(8):
        key = "l%d" % i
        admin.do("ACL", "SETUSER", "alice", "+blpop")
        alice.send(b"*3\r\n$5\r\nBLPOP\r\n$2\r\n%s\r\n$1\r\n0\r\n" % key.encode())
        assert wait_for(lambda: b"cmd=blpop" in admin.do("CLIENT", "LIST", "USER", "alice") and b"flags=b" in admin.do("CLIENT", "LIST", "USER", "alice"))
        admin.do("ACL", "SETUSER", "alice", "-blpop")
        admin.do("RPUSH", key, "v")
        assert alice.read() == "NOPERM User alice has no permissions to run the 'blpop' command"
        assert admin.do("LLEN", key) == 1
        assert alice.do("PING") == "PONG"
    assert rows(admin) == [(b"command", b"toplevel", b"blpop", b"alice", 8)]


def test_who_is_turned_off_goes_on_and_may_not_come_again(server, two):
    admin, alice = two
    admin.do("ACL", "SETUSER", "alice", "off")
    assert alice.do("PING") == "PONG"
    assert alice.do("AUTH", "alice", "x") == "WRONGPASS invalid username-password pair or user is disabled."
    assert alice.do("ACL", "WHOAMI") == b"alice"
    assert rows(admin) == [(b"auth", b"toplevel", b"AUTH", b"alice", 1)]


def test_reset_is_default_again(server, two):
    admin, alice = two
    assert alice.do("RESET") == "RESET"
    assert alice.do("ACL", "WHOAMI") == b"default"
    alice.do("AUTH", "alice", "x")
    admin.do("ACL", "SETUSER", "default", "resetpass")
    try:
        assert alice.do("RESET") == "RESET"
        assert alice.do("PING") == "NOAUTH Authentication required."
    finally:
        admin.do("ACL", "SETUSER", "default", "nopass")


def test_client_kill_and_list_by_user(server, two):
    admin, alice = two
    assert b" user=alice " in alice.do("CLIENT", "INFO")
    # One of the test before may be listed for a moment.
    assert wait_for(lambda: admin.do("CLIENT", "LIST", "USER", "alice").count(b"\n") == 1)
    assert admin.do("CLIENT", "LIST", "USER", "nosuch") in (b"", "ERR No such user 'nosuch'")
    assert admin.do("CLIENT", "KILL", "USER", "nosuch") == "ERR No such user 'nosuch'"
    assert admin.do("CLIENT", "KILL", "USER", "alice") == 1
    assert wait_for(alice.is_closed)


@pytest.mark.parametrize("writes", [False, True], ids=["before it writes", "after it has written"])
def test_a_call_of_a_script_that_begins_anew_is_in_the_log_once(two, writes):
    """A script that was known to look for no keys but those it declares, and then does, begins a second time with all shards in view."""
    admin, alice = two
    admin.do("ACL", "SETUSER", "alice", "-set")
    script = "%s local e = redis.pcall('SET', 'denied', '1').err; if ARGV[1] == 'far' then redis.call('GET', KEYS[1] .. 'a'); redis.call('GET', KEYS[1] .. 'b') end; return {e, %d}"
    for n in range(10):
        text = script % ("redis.call('INCR', KEYS[1])" if writes else "", n)
        for _ in range(2):
            alice.do("EVAL", text, "1", "key%d" % n, "near")
        admin.do("ACL", "LOG", "RESET")
        reply = alice.do("EVAL", text, "1", "key%d" % n, "far")
        assert b"ACL failure in script" in reply[0] and reply[1] == n
        assert wait_for(lambda: len(rows(admin)) == 1)
        assert rows(admin) == [(b"command", b"lua", b"set", b"alice", 1)]


@pytest.mark.parametrize(
    "call, denied",
    [
        ("SELECT 15", "15"),
        ("MOVE k 2", "2"),
        ("SWAPDB 0 2", "2"),
        ("SWAPDB 3 2", "3"),
        ("COPY a b DB 2 DB 1", "2"),
        ("COPY a b REPLACE DB 1 DB 3 DB 2", "3"),
        ("COPY a b DB 3" + " DB 1" * 30, "3"),
        ("COPY a b" + " DB 1" * 30 + " DB 3", "3"),
        ("SELECT 16", "out of range"),
        ("SELECT -1", "out of range"),
        ("MOVE k 99", "out of range"),
        ("SWAPDB 2 99", "out of range"),
        ("COPY a b DB 2 DB 99", "out of range"),
        ("COPY a b DB x DB 2", "not an integer"),
        ("COPY a b foo DB 2", "syntax error"),
    ],
)
def test_databases_that_a_command_names(two, call, denied):
    """As in Valkey: COPY is refused for each database that it names, not for the last one alone; and what is no database at all
    the command refuses itself."""
    admin, alice = two
    admin.do("ACL", "SETUSER", "alice", "resetdbs", "db=0,1")
    admin.do("ACL", "LOG", "RESET")
    said = str(alice.do(*call.split()))
    if denied.isdigit():
        assert said == "NOPERM No permissions to access database"
        assert rows(admin) == [(b"database", b"toplevel", denied.encode(), b"alice", 1)]
        assert admin.do("ACL", "DRYRUN", "alice", *call.split()) == b"User alice has no permissions to access database " + denied.encode()
    else:
        assert denied in said and rows(admin) == []
        assert admin.do("ACL", "DRYRUN", "alice", *call.split()) == "OK"
