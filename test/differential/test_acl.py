# SPDX-License-Identifier: BSD-3-Clause
"""Users made of rules drawn at random, right and wrong ones, and what they may do: each reply as Valkey gives it, byte for byte in
both protocols; what GETUSER, LIST and DRYRUN say, what each user is answered, whose connection is closed, what ACL LOG has."""

import os
import random
import re

import pytest

from resp import encode

N = int(os.environ.get("SHOAL_ACL_STEPS", "400"))
SEEDS = [int(s) for s in os.environ.get("SHOAL_ACL_SEEDS", "1,2,3").split(",")]

USERS = ["alice", "bob", "carol", "Alice"]
CATEGORIES = """keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow blocking
dangerous connection transaction scripting all nosuch READ""".split()
COMMANDS = """get set mget mset del exists type expire lpush lrange lpop blpop lmove sadd smembers sinterstore hset hget hgetall zadd
zrange zrangestore incr append copy rename object sort sort_ro config client select move swapdb publish subscribe psubscribe spublish
ssubscribe eval evalsha fcall function script multi exec discard watch ping echo keys scan dbsize flushdb flushall xadd xread
xreadgroup pfcount bitfield acl memory command info GET sEt auth hello reset quit nosuch bitop georadius msetex""".split()
SUBCOMMANDS = """config|get config|set client|id client|list client|kill client|setname object|freq object|encoding acl|whoami acl|setuser
acl|list memory|usage command|docs script|load function|list config|nosuch client|ID get|sub select|0 select|1 select|x set|a|b
config|get|port client|nosuch nosuch|x object|encoding|k| |get select|""".split()
KEYS = ["a", "a1", "ab", "b", "b1", "{x}a", "{x}b", "k\xe9", "", "a b"]
PATTERNS = ["*", "a*", "b*", "a", "?", "a1", "[ab]*", "{x}*", "\\*", "a?", "**", "nosuch", "", "b"]
CHANNELS = ["*", "c*", "c", "c1", "d", "d?", "[cd]*", "", "**"]
HEARD = ["c", "c1", "d", "d1", "e", "c*", "d?", "*"]
HASHES = ["a" * 64, "0" * 64, "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2", "A" * 64, "a" * 63, "g" * 64, ""]
PASSWORDS = ["p", "foobar", "", "p q", "long" * 20]

# What users try. k: one of KEYS, c: one of HEARD, v: a value, n: a small number.
TRIES = """
GET k|SET k v|SET k v GET|SET k v XX|MGET k k|MSET k v k v|DEL k k|EXISTS k k|TYPE k|TTL k|EXPIRE k 100|PERSIST k|STRLEN k|APPEND k v|INCR k|GETDEL k|GETEX k|GETEX k PERSIST|GETSET k v|SETNX k v|LCS k k|MSETEX 2 k v k v|TOUCH k|UNLINK k|OBJECT ENCODING k|OBJECT FREQ k|OBJECT NOSUCH k
COPY k k|COPY k k DB n|COPY k k DB n REPLACE|COPY k k DB x|RENAME k k|RENAMENX k k|MOVE k n|MOVE k x|SELECT n|SELECT 0|SELECT x|SWAPDB n n|SWAPDB 0 x|KEYS *|DBSIZE|RANDOMKEY|SORT k|SORT k ALPHA|SORT k BY w_* ALPHA|SORT k GET # ALPHA|SORT k BY nosort GET x* ALPHA|SORT k ALPHA STORE k|SORT_RO k ALPHA|SORT_RO k BY w_* ALPHA|SORT_RO k GET w_* ALPHA
LPUSH k v|RPUSH k v v|LPOP k|LRANGE k 0 -1|LLEN k|LMOVE k k LEFT RIGHT|LMPOP 2 k k LEFT|RPOPLPUSH k k|SADD k v|SCARD k|SMOVE k k v|SINTERSTORE k k k|SUNION k k|SINTERCARD 2 k k|HSET k f v|HGET k f|HLEN k|HDEL k f|ZADD k 1 v|ZCARD k|ZRANGESTORE k k 0 -1|ZUNIONSTORE k 2 k k|ZUNION 2 k k|ZMPOP 1 k MIN|ZPOPMIN k
XADD k 1-1 f v|XLEN k|XREAD STREAMS k 0|XREAD COUNT 1 STREAMS k k 0 0|XGROUP CREATE k g 0 MKSTREAM|XREADGROUP GROUP g c STREAMS k >|XINFO STREAM k|PFADD k v|PFCOUNT k|PFCOUNT k k|PFMERGE k k|BITFIELD k GET u8 0|BITFIELD k SET u8 0 1|BITFIELD_RO k GET u8 0|BITOP AND k k k|GEOADD k 1 1 v|GEORADIUS k 1 1 1 m|GEORADIUS k 1 1 1 m STORE k|GEOSEARCHSTORE k k FROMLONLAT 1 1 BYRADIUS 1 m
PUBLISH c v|SPUBLISH c v|PING|ECHO v|COMMAND COUNT|CONFIG GET maxclients|CONFIG SET maxclients 10000|CLIENT GETNAME|CLIENT SETNAME v|CLIENT NO-EVICT ON|ACL WHOAMI|ACL GENPASS x|ACL NOSUCH|MEMORY USAGE k|WATCH k|UNWATCH|MULTI|EXEC|DISCARD|SCRIPT EXISTS x|FUNCTION STATS
EVAL !return_1 0|EVAL !call_get 1 k|EVAL !call_set 1 k|EVAL !pcall_get 1 k|EVAL !pcall_set 1 k|EVAL !other 0|EVAL_RO !call_get 1 k|EVAL !check 1 k|EVAL !select 0|EVAL !publish 0|FCALL nosuch 1 k|NOSUCH|NOSUCH k|GET|GET k k|SET k|CONFIG|CONFIG NOSUCH|CLIENT|DEBUG JMAP|FLUSHDB|AUTH nosuch p|AUTH wrong
""".replace("\n", "|").strip("|").split("|")
SCRIPTS = {
    "!return_1": "return 1",
    "!call_get": "return redis.call('GET', KEYS[1])",
    "!call_set": "return redis.call('SET', KEYS[1], 'v')",
    "!pcall_get": "return redis.pcall('GET', KEYS[1])",
    "!pcall_set": "return {redis.pcall('SET', KEYS[1], 'v'), redis.pcall('GET', KEYS[1])}",
    "!other": "return redis.pcall('CONFIG', 'GET', 'maxclients')",
    "!check": "return {tostring(redis.acl_check_cmd('GET', KEYS[1])), tostring(redis.acl_check_cmd('set', KEYS[1], 'v')), tostring(redis.acl_check_cmd('publish', 'c', 'v'))}",
    "!select": "return {redis.pcall('SELECT', '1'), redis.pcall('SET', 'a', 'v')}",
    "!publish": "return redis.pcall('PUBLISH', 'c1', 'v')",
}


class Rules:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def pick(self, *from_):
        return self.rng.choice(self.rng.choice(from_))

    def command(self):
        r = self.rng
        return r.choice("+-") + r.choice([lambda: r.choice(COMMANDS), lambda: r.choice(SUBCOMMANDS), lambda: "@" + r.choice(CATEGORIES)])()

    def selected(self):
        """What a selector may hold too."""
        r = self.rng
        return r.choice(
            [
                self.command, self.command, self.command, self.command,
                lambda: "~" + r.choice(PATTERNS), lambda: "~" + r.choice(PATTERNS),
                lambda: r.choice(["%R~", "%W~", "%RW~", "%WR~", "%rw~", "%R", "%~", "%X~", "%RR~"]) + r.choice(PATTERNS),
                lambda: "&" + r.choice(CHANNELS),
                lambda: "db=" + r.choice(["0", "1", "0,1", "2,1,0", "1,1", "", "x", "0,", "-1", "99", "0 1"]),
                lambda: r.choice(["allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands", "alldbs", "resetdbs", "ALLKEYS"]),
            ]
        )()  # fmt: skip

    def rule(self):
        r = self.rng
        n = r.random()
        if n < 0.62:
            return self.selected()
        if n < 0.75:
            return "(%s)" % " ".join(self.selected() for _ in range(r.randrange(4)))
        if n < 0.8:
            return r.choice(["(", ")", "(+get", "~a)", "()", "(on)", "((+get))", "(reset)", "(>p)", "(+get) ", "(~a* +get"])
        return r.choice(
            [
                lambda: r.choice(["on", "on", "on", "off", "ON"]),
                lambda: r.choice(["nopass", "nopass", "resetpass", "clearselectors", "reset", "sanitize-payload", "skip-sanitize-payload"]),
                lambda: r.choice("><") + r.choice(PASSWORDS),
                lambda: r.choice("#!") + r.choice(HASHES),
                lambda: r.choice(["nosuch", "", "+", "-", "~", "&", "%", "@", "+@", "on off", "db=", ">", "~a b", "& "]),
            ]
        )()

    def set_user(self):
        r = self.rng
        rules = [self.rule() for _ in range(r.choice((0, 1, 1, 2, 3, 5)))]
        if r.random() < 0.3:
            rules = ["on", "nopass"] + rules
        if r.random() < 0.15:
            rules = ["reset"] + rules
        if r.random() < 0.1:
            rules += ["+@all", "~*", "&*"]
        return ["ACL", "SETUSER", r.choice(USERS)] + rules

    def tried(self):
        r = self.rng
        out = []
        for word in r.choice(TRIES).split():
            drawn = {"k": lambda: r.choice(KEYS), "c": lambda: r.choice(HEARD), "v": lambda: r.choice(["v", "1"]), "n": lambda: r.choice("0123")}.get(word)
            out.append(drawn() if drawn else SCRIPTS.get(word, word))
        return out


def said(c, words):
    """The reply, or that there is none any more."""
    try:
        c.send(encode(*[w.encode("latin-1") if isinstance(w, str) else w for w in words]))
        return c.read_raw()[1]
    except (OSError, EOFError):
        return b"closed"


class Side:
    """One server: a connection that may do all, and one for each user that got in."""

    def __init__(self, server, protocol):
        self.server, self.protocol = server, protocol
        self.admin = server.raw(timeout=30)
        self.admin.do("HELLO", protocol)
        self.admin.do("FLUSHALL")
        for user in USERS:
            self.admin.do("ACL", "DELUSER", user)
        self.admin.do("ACL", "LOG", "RESET")
        self.users = {}

    def come(self, user, password):
        """Its connection; anew when it has been closed."""
        if user in self.users:
            self.users.pop(user).close()
        c = self.server.raw(timeout=30)
        answers = [said(c, ["AUTH", user, password])]
        answers.append(shown(said(c, ["HELLO", self.protocol])))
        self.users[user] = c
        return answers

    def close(self):
        for c in [self.admin, *self.users.values()]:
            c.close()


def shown(raw):
    """Of HELLO whether it was done."""
    return raw[:1] + (raw if raw[:1] == b"-" else b"")


def members(raw):
    """RANDOMKEY, KEYS: the order is each server's own."""
    return sorted(raw.split(b"\r\n"))


UNORDERED = ("KEYS", "SUNION", "RANDOMKEY", "MEMORY", "FUNCTION", "COMMAND")


def plain(words, raw):
    name = words[0].upper() if words else ""
    if name in UNORDERED and raw[:1] in b"*$~%:":
        return members(raw) if name == "KEYS" else raw[:1]
    if name == "ACL" and len(words) > 1 and words[1].upper() == "GENPASS" and raw[:1] == b"$":
        return len(raw)
    if name in ("EVAL", "EVAL_RO"):  # which script it was; Valkey numbers its functions so as well
        raw = re.sub(rb"(script: |user_script:|@user_)[0-9a-f:]+", rb"\1", raw)
    return raw


def both(sides, words, which):
    """They say the same."""
    ours, theirs = (plain(words, said(which(side), words)) for side in sides)
    assert ours == theirs, words
    return ours


LOGGED = (b"reason", b"context", b"object", b"username", b"count", b"entry-id")


def log(side):
    """What ACL LOG has, but for times and the client's own numbers."""
    out = []
    for entry in side.admin.do("ACL", "LOG", "20"):
        fields = dict(list(entry)) if side.protocol == "3" else dict(zip(entry[::2], entry[1::2]))
        assert list(fields) == [b"count", b"reason", b"context", b"object", b"username", b"age-seconds", b"client-info", b"entry-id", b"timestamp-created", b"timestamp-last-updated"]
        info = dict(word.split(b"=", 1) for word in fields[b"client-info"].split() if b"=" in word)
        out.append(tuple(fields[name] for name in LOGGED) + (info[b"cmd"], info[b"user"], info[b"db"], info[b"resp"]))
    first = out[-1][LOGGED.index(b"entry-id")] if out else 0
    return [tuple(v - first if name == b"entry-id" else v for name, v in zip(LOGGED + (b"",) * 4, row)) for row in out]


@pytest.mark.parametrize("protocol", ("2", "3"))
@pytest.mark.parametrize("seed", SEEDS)
def test_users_are_made_and_kept_within_their_rules_as_in_valkey(shoal, valkey, seed, protocol):
    rules = Rules(seed)
    rng = rules.rng
    sides = [Side(server, protocol) for server in (shoal, valkey)]

    def admin(*words):
        return both(sides, list(words), lambda side: side.admin)

    try:
        for step in range(N):
            words = rules.set_user()
            done = admin(*words)
            user = words[2]
            admin("ACL", "GETUSER", user)
            if rng.random() < 0.2:
                admin("ACL", "LIST")
                admin("ACL", "USERS")
            if rng.random() < 0.04:
                admin("ACL", "DELUSER", *rng.sample(USERS, rng.randrange(1, 3)))
            for _ in range(4):
                admin("ACL", "DRYRUN", user, *rules.tried())
            for name in list(sides[0].users):
                if rng.random() < 0.7:
                    both(sides, rules.tried(), lambda side: side.users[name])
            if rng.random() < 0.5 and done == b"+OK\r\n":
                password = rng.choice(PASSWORDS)
                came = [side.come(user, password) for side in sides]
                assert came[0] == came[1], (user, password)
                if came[0][0] == b"+OK\r\n":
                    for _ in range(6):
                        both(sides, rules.tried(), lambda side: side.users[user])
            if step % 20 == 19:
                assert log(sides[0]) == log(sides[1])
                admin("ACL", "LOG", "RESET")
    finally:
        for side in sides:
            side.admin.do("CONFIG", "SET", "maxclients", "10000")
            for user in USERS:
                side.admin.do("ACL", "DELUSER", user)
            side.close()


@pytest.mark.parametrize("protocol", ("2", "3"))
def test_each_command_of_the_grammar_alone_by_each_kind_of_user(shoal, valkey, protocol):
    """DRYRUN and what is answered agree, on both servers."""
    rules = Rules(7)
    sides = [Side(server, protocol) for server in (shoal, valkey)]
    kinds = [
        ["~*", "+@all"], ["~a*", "+@all"], ["%R~*", "+@all"], ["%W~*", "+@all"], ["+@all"], ["~*", "+@read"], ["~*", "&*", "-@all"],
        ["~*", "&c*", "+@all", "-@write"], ["~*", "+@all", "db=0"], ["~*", "&*", "+@all", "db=1"], ["+get", "~a*", "(+set ~b*)"], ["%R~a*", "%W~b*", "+@all"],
    ]  # fmt: skip
    try:
        for kind in kinds:
            both(sides, ["ACL", "SETUSER", "alice", "reset", "on", "nopass", *kind], lambda side: side.admin)
            for text in TRIES:
                if text.split()[0] in ("MULTI", "EXEC", "DISCARD", "WATCH", "AUTH"):
                    continue
                came = [side.come("alice", "x") for side in sides]
                assert came[0] == came[1]
                words = [SCRIPTS.get(w, {"k": "a1", "c": "c1", "n": "1"}.get(w, w)) for w in text.split()]
                told = both(sides, ["ACL", "DRYRUN", "alice", *words], lambda side: side.admin)
                real = both(sides, words, lambda side: side.users["alice"])
                if isinstance(real, bytes) and not text.startswith(("EVAL", "SORT", "NOSUCH", "GET", "CONFIG", "CLIENT", "ACL", "OBJECT NOSUCH")):
                    assert (told == b"+OK\r\n") == (not real.startswith(b"-NOPERM")) or told[:1] == b"-", words
    finally:
        for side in sides:
            side.admin.do("ACL", "DELUSER", "alice")
            side.close()


def test_what_is_kept_for_exec_is_judged_in_its_database(shoal, valkey):
    """A SELECT that was kept counts for what is kept behind it, and not for EXEC itself."""
    scenes = [
        ["SELECT 0", "MULTI", "SET k v", "SELECT 2", "GET k", "SET k w", "SELECT 0", "SET k x", "GET k", "EXEC", "DISCARD", "GET k"],
        ["SELECT 0", "MULTI", "SET k v", "SELECT 2", "GET k", "EXEC", "SET k 2", "SELECT 2", "GET k", "SET k 3"],
        ["SELECT 2", "MULTI", "GET k", "SELECT 0", "SET k 1", "SELECT 2", "GET k", "SELECT 1", "EXEC", "GET k", "SET k 3", "SELECT 3"],
        ["SELECT 0", "MULTI", "SET k v", "SELECT 4", "EXEC", "SELECT 0", "MULTI", "SELECT 4", "SET k v", "DISCARD", "SET k v", "SELECT x"],
        ["SELECT 0", "MULTI", "SELECT x", "SET k 1", "GET k", "EXEC", "WATCH k", "SELECT 2", "WATCH k", "MULTI", "EVAL return(1) 0", "EXEC"],
        ["SELECT x", "MOVE k x", "MOVE k 1", "COPY k l DB x", "COPY k l DB 1", "SWAPDB 0 1", "SWAPDB x 0", "FLUSHALL", "DBSIZE", "SELECT 15"],
    ]
    rules = ["on nopass (db=0,1 +@all -@read ~*) (db=2,3 +@all -@write ~*)", "on nopass +@all ~* db=0,2", "on nopass (+@all ~k db=0) (+select +get db=2 %R~k) +multi +exec"]
    replies = []
    for server in (shoal, valkey):
        said = []
        with server.raw() as admin:
            for rule in rules:
                admin.do("FLUSHALL"), admin.do("ACL", "DELUSER", "scene"), admin.do("ACL", "SETUSER", "scene", *acl_words(rule))
                for scene in scenes:
                    with server.raw() as c:
                        c.do("AUTH", "scene", "x")
                        said += [(rule, question, c.do(*question.split())) for question in scene]
            admin.do("ACL", "DELUSER", "scene")
        replies.append(said)
    assert [(ours, theirs[2]) for ours, theirs in zip(*replies) if ours != theirs] == []


def acl_words(rule):
    """A selector is one word."""
    return [word.strip() for word in re.findall(r"\([^)]*\)|\S+", rule)]
