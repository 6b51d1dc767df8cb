# SPDX-License-Identifier: BSD-3-Clause
"""Nothing secret is written down or shown: passwords go in by every door, and then everything that tells of what was done is read.
Runs against Valkey too, without what only Shoal has."""

import itertools
import signal
import urllib.error
import urllib.request

import pytest

from resp import RespError, encode
from server import free_port, wait_for
from test_crash import last_words, logged, start_mortal  # noqa: F401

pytestmark = [pytest.mark.plain_port, pytest.mark.row_each]

MARK = "hush"  # is in every secret, and in nothing else


def words_of(kind, port):
    """Commands that bring a secret: right, wrong, cut short, in other cases, of users and directives that there are not."""
    names = ("%s%d" % (MARK, n) for n in itertools.count())
    secret = lambda: next(names)  # noqa: E731
    yield "AUTH", secret()
    yield "auth", "default", secret()
    yield "AUTH", "nobody", secret()
    yield "HELLO", "3", "AUTH", "default", secret()
    yield "HELLO", "2", "SETNAME", "me", "auth", "nobody", secret()
    yield "HELLO", "2", "SETNAME", "auth", "AUTH", "default", secret()
    yield "HELLO", "2", "AUTH", "default", secret(), "nonsense"
    yield "ACL", "SETUSER", "u", "on", ">" + secret(), "+get"
    yield "acl", "setuser", "u", "on", ">" + secret(), "+nonsense"
    yield "ACL", "SETUSER", "u", "<" + secret()
    yield "ACL", "SETUSER", "v", "(~a", ">" + secret()
    for name in ("requirepass", "primaryauth", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass"):
        yield "CONFIG", "SET", name, secret()
        yield "config", "set", "maxmemory", "0", name.upper(), secret()
        yield "CONFIG", "SET", name, secret(), "nonsense", "1"
    yield "CONFIG", "SET", "primaryuser", secret()
    yield "MIGRATE", "127.0.0.1", port, "key", "0", "1000", "AUTH", secret()
    yield "MIGRATE", "127.0.0.1", port, "key", "0", "1000", "COPY", "auth2", "default", secret(), "KEYS", "auth"
    yield "MIGRATE", "127.0.0.1", port, "", "0", "1000", "AUTH2", "default", secret(), "REPLACE", "KEYS", "key"
    yield "MIGRATE", "127.0.0.1", port, "key", "0", "1000", "AUTH2", "default", secret(), "nonsense"
    if kind != "shoal":
        return
    # Of these Valkey tells in its slow log, and of some in MONITOR: it looks for secrets as it runs them.
    yield "AUTH", secret(), secret(), secret()
    yield "HELLO", "9", "AUTH", "default", secret()
    yield "HELLO", "2", "nonsense", "AUTH", "default", secret()
    yield "ACL", "DRYRUN", "u", "AUTH", "default", secret()
    yield "ACL", "DRYRUN", "u", "SET", "k", secret()
    yield "CONFIG", "SET", "requirepass", secret(), "maxmemory"
    yield "CONFIG", "SET", "metrics-password", secret()
    yield "CONFIG", "SET", "METRICS-PASSWORD", secret(), "maxmemory"


def shown(c, kind):
    """What a server tells those who may ask."""
    logs = [("SLOWLOG", "GET", "-1")]
    if kind != "redis":
        logs += [("COMMANDLOG", "GET", "-1", what) for what in ("slow", "large-request", "large-reply")]
    for call in logs + [("ACL", "LOG"), ("CLIENT", "LIST"), ("INFO", "everything"), ("LATENCY", "HISTOGRAM"), ("ACL", "LIST"), ("MEMORY", "DOCTOR")]:
        reply = c.do(*call)
        assert not isinstance(reply, RespError), call
        yield " ".join(call), repr(reply)


def page(port, path):
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.read().decode()


def test_nothing_secret_is_told(start_server, kind, shards, tmp_path):
    metrics = free_port()
    config = {"loglevel": "debug", "slowlog-log-slower-than": "0", "slowlog-max-len": "10000", "latency-monitor-threshold": "1", "aclfile": str(tmp_path / "users.acl")}
    (tmp_path / "users.acl").write_text("user default on nopass ~* &* +@all\nuser admin on nopass ~* &* +@all\n")
    if kind != "redis":
        config.update({"hide-user-data-from-log": "no", "commandlog-request-larger-than": "0", "commandlog-reply-larger-than": "0"})
    if kind == "shoal":
        config.update({"metrics-port": str(metrics), "crash-log-enabled": "yes"})
    other = start_server(requirepass=MARK + "-theirs", loglevel="debug")
    s = start_server(config=config)
    with s.raw() as admin, s.raw() as monitor:
        assert admin.do("AUTH", "admin", "x") == "OK"
        assert monitor.do("MONITOR") == "OK"
        for round in ("alone", "multi", "pipeline"):
            with s.raw() as c:
                c.do("AUTH", "admin", "x")
                c.do("SET", "key", "v")
                for words in words_of(kind, other.port):
                    if round == "multi":
                        c.do("MULTI")
                        c.do(*words)
                        c.do("EXEC")
                    elif round == "alone":
                        c.do(*words)
                    else:
                        c.send(encode(*words))
                    if words[0].upper() == "HELLO":
                        c.do("HELLO", "2") if round != "pipeline" else c.send(encode("HELLO", "2"))
                if round == "pipeline":
                    c.send(encode("QUIT"))
                    while c.sock.recv(1 << 16):
                        pass
        # Links of its own: to a primary that wants another password, and one that is answered late.
        admin.do("CONFIG", "SET", "primaryauth", MARK + "-link")
        admin.do("REPLICAOF", "127.0.0.1", other.port)
        assert wait_for(lambda: "WRONGPASS" in s.log() or "invalid username-password" in s.log(), 60)
        admin.do("REPLICAOF", "NO", "ONE")
        admin.do("CONFIG", "SET", "requirepass", MARK + "-ours")
        (tmp_path / "users.acl").write_text("user default on >%s-file +nonsense\nuser admin nonsense >%s-file\n" % (MARK, MARK))
        told = [("ACL LOAD", str(admin.do("ACL", "LOAD")))]
        told += list(shown(admin, kind))
        if kind == "shoal":
            for path in ("/metrics", "/", "/healthz", "/readyz", "/api/state"):
                told.append((path, page(metrics, path)))
        admin.do("ECHO", "the-end")
        seen = b""
        while b"the-end" not in seen:
            seen += monitor.sock.recv(1 << 16)
        told.append(("MONITOR", seen.decode()))
        assert "redacted" in seen.decode()
        admin.do("CONFIG", "SET", "requirepass", "")
    told.append(("log", s.log()))
    told.append(("log of the other", other.log()))
    for what, text in told:
        at = text.find(MARK)
        assert at < 0, "%s tells: %s" % (what, text[max(0, at - 200) : at + 60])


@pytest.mark.shoal_only
def test_nothing_secret_is_in_the_report_of_a_crash(start_mortal):  # noqa: F811
    s = start_mortal(hide_user_data_from_log="no", loglevel="debug", slowlog_log_slower_than="0")
    with s.raw() as c, s.raw() as monitor:
        assert monitor.do("MONITOR") == "OK"
        for words in words_of("shoal", 1):
            c.do(*words)
            c.do("HELLO", "2")
        c.do("MULTI")
        for words in words_of("shoal", 1):
            c.do(*words)
        c.send(encode("DEBUG", "ASSERT") + encode("EXEC"))
        with pytest.raises((OSError, EOFError)):
            while True:
                c.read()
    last_words(s, signal.SIGABRT)
    report = logged(s)
    assert any("Command in hand" in row for row in report) and not [row for row in report if MARK in row]
