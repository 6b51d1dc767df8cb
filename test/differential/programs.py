# SPDX-License-Identifier: BSD-3-Clause
"""Programs of Lua for EVAL, made at random: what they return, what they call and with what, what goes wrong in them and where.

A table has one key that is no number at most, and sets are asked for one element: the order of others is Lua's own business
(docs/compat.md).
"""

import random

from script_libs import Expressions, quoted

KEYS = ["{p}s", "{p}n", "{p}l", "{p}h", "{p}z", "{p}set", "{p}none", "{p}x"]
FILL = [
    ("SET", "{p}s", "text"),
    ("SET", "{p}n", "41"),
    ("RPUSH", "{p}l", "a", "b", "c"),
    ("HSET", "{p}h", "f", "1"),
    ("ZADD", "{p}z", "1.5", "m"),
    ("SADD", "{p}set", "e"),
]
TYPED = {"string": ("GET",), "list": ("LRANGE", "0", "-1"), "hash": ("HGETALL",), "zset": ("ZRANGE", "0", "-1", "WITHSCORES"), "set": ("SORT", "ALPHA")}

# What may be called. k: one of KEYS, v: any value.
CALLS = """
GET k|SET k v|SET k v NX|SET k v GET|SET k v EX 100|SET k v XX KEEPTTL|INCR k|INCRBY k v|INCRBYFLOAT k v|APPEND k v|STRLEN k|DEL k|DEL k k|EXISTS k k|TYPE k|MGET k k k|MSET k v k v
LPUSH k v|RPUSH k v v|LPOP k|LPOP k 2|RPOP k 0|LRANGE k 0 -1|LLEN k|LINDEX k v|LINSERT k BEFORE v v|LMOVE k k LEFT RIGHT|BLPOP k 0|BLPOP k 0.1|BRPOPLPUSH k k 0|BLMOVE k k LEFT LEFT 0
HSET k v v|HGET k v|HGETALL k|HMGET k v v|HDEL k f|HLEN k|HINCRBY k f v|HINCRBYFLOAT k f 0.1|HEXISTS k f|HRANDFIELD k
ZADD k 1 v|ZADD k NX CH 2 m|ZADD k INCR 1 m|ZSCORE k v|ZSCORE k m|ZRANGE k 0 -1 WITHSCORES|ZRANGE k 0 -1|ZINCRBY k v m|ZRANK k m WITHSCORE|ZCARD k|ZPOPMIN k|ZPOPMAX k 2|ZMSCORE k m v|ZRANDMEMBER k
SADD k v|SREM k e|SISMEMBER k e|SMISMEMBER k e v|SCARD k|SPOP k|SMOVE k k e|SINTERCARD 2 k k
EXPIRE k 100|EXPIRE k v|PERSIST k|TTL k|PEXPIRETIME k|EXPIRETIME k|OBJECT ENCODING k|OBJECT REFCOUNT k|OBJECT|OBJECT NONE k|OBJECT ENCODING|RENAME k k|COPY k k|COPY k k REPLACE|GETSET k v|GETDEL k|GETEX k PERSIST|SETNX k v|SETRANGE k v v|GETRANGE k 0 v
BITCOUNT k|SETBIT k 7 1|GETBIT k v|BITFIELD k GET u8 0 INCRBY i8 8 v|XADD k 1-1 a b|XADD k 1-1|XLEN k|XRANGE k - +|PFADD k v|PFCOUNT k|GEOADD k 1 1 m|GEOPOS k m x|GEODIST k m m|SORT k|SORT k ALPHA
PING|PING v|ECHO v|ECHO|SELECT 3|SELECT 0|SELECT v|SELECT 99|DBSIZE|KEYS {p}none|SWAPDB 3 4|WATCH k|UNWATCH|MULTI|EXEC|DISCARD|SUBSCRIBE v|PUBLISH v v|SPUBLISH v v|PUBSUB NUMSUB v|EVAL v 0|EVALSHA v 0|SCRIPT FLUSH|FCALL v 0|FCALL_RO v 1 k|ACL WHOAMI|ACL CAT|ACL SETUSER v|ACL GETUSER default|ACL LOG RESET|ACL|ACL NONE
HELLO|HELLO 3|AUTH v|CLIENT GETNAME|CLIENT ID|CLIENT|CLIENT NONE|RESET|QUIT|MONITOR|WAIT 0 0|CONFIG GET maxmemory|CONFIG SET maxmemory v|CONFIG NONE|COMMAND GETKEYS GET k|COMMAND GETKEYS PING|COMMAND NONE|SAVE|BGSAVE|SHUTDOWN|DEBUG JMAP|READONLY|MEMORY USAGE
nosuch|nosuch k v|get k|gEt k|GET|GET k k|SET k|DEL|EVAL|MGET|LPUSH k|HSET k f|ZADD k x m|ZADD k nan m|SETEX k 0 v|INCRBYFLOAT k nan|EXPIRE k nan|LPOP k -1|BLPOP k nan|RESTORE k 0 v|LCS k k|FLUSHALL NONE
""".replace("\n", "|").strip("|").split("|")

# Wrong in itself; each is one expression.
WRONG = """
nil + 1|nothing_at_all|nothing.x|('x').y.z|('x')()|{} .. ''|1 .. {}|{} < 1|{} < {}|nil .. ''|#nil|-{}|'a' + 1|'10' + 1|1 < '2'|redis.nothing()|redis.nothing|server.nothing|cjson.nothing|string.nothing|KEYS.x.y|KEYS[99]|ARGV[99]|ARGV[0]|KEYS[1.5]|ARGV[#ARGV]
error('plain')|error('level 0', 0)|error('level 1', 1)|error('level 2', 2)|error('level 9', 9)|error()|error(nil)|error(42)|error(true)|error({})|error({err='ERR mine'})|error({err='MINE of it'})|error({err='nocode'})|error({err=''})|error({err='-MINUS it'})|error({err='two\\r\\nlines'})
error({err=5})|error({ok='fine'})|error({'list'})|error(redis.error_reply('MY reply'))|error({err='MINE x', source='s', line=7})|assert(false)|assert(nil, 'said')|assert(false, {err='MINE asserted'})|assert(1, 2)|redis.error_reply()|redis.error_reply(1)|redis.error_reply({})|redis.error_reply('a', 'b')|redis.error_reply('')|redis.error_reply('-')
redis.error_reply('-CODE text')|redis.error_reply('CODE text')|redis.error_reply('text')|redis.error_reply('--CODE x')|redis.error_reply(' x')|redis.error_reply('a\\r\\nb')|redis.error_reply('a\\0b c')|redis.status_reply('FINE')|redis.status_reply('a b')|redis.status_reply('')|redis.status_reply()|redis.status_reply(1)|redis.status_reply('a\\r\\nb')|redis.status_reply('a\\0b')
redis.call()|redis.pcall()|redis.call(nil)|redis.call(true)|redis.call({})|redis.pcall({})|redis.pcall('GET', nil)|redis.pcall('GET', true)|redis.pcall('GET', {})|redis.call('GET', print)|redis.call('')|redis.call('GET\\0', 'x')|redis.call('GET ', 'x')|redis.call(1)|redis.call('ECHO', 1)|redis.call('ECHO', 1.5)|redis.call('ECHO', 1e15)|redis.call('ECHO', 1e17)|redis.call('ECHO', 2^53)|redis.call('ECHO', -2^63)|redis.call('ECHO', 0.1)|redis.call('ECHO', 1/3)|redis.call('ECHO', 1/0)|redis.call('ECHO', -1/0)|redis.call('ECHO', 3.0)|redis.call('ECHO', -0)|redis.call('ECHO', 1e-7)|redis.call('ECHO', 123456789012)
redis.sha1hex()|redis.sha1hex('')|redis.sha1hex('a\\0b')|redis.sha1hex(1.5)|redis.sha1hex({})|redis.sha1hex('a', 'b')|redis.setresp()|redis.setresp(1)|redis.setresp(4)|redis.setresp('3')|redis.setresp(3, 3)|redis.setresp('x')|redis.setresp(2)|redis.setresp(3)|redis.log()|redis.log(1)|redis.log('x', 'y')|redis.log(9, 'y')|redis.log(-1, 'y')|redis.set_repl()|redis.set_repl(9)|redis.set_repl('x')|redis.set_repl(redis.REPL_NONE)|redis.replicate_commands()|redis.replicate_commands(1)
getmetatable(_G)|getmetatable(_G).__index|getmetatable(_G).__newindex|redis.acl_check_cmd()|redis.acl_check_cmd({})|redis.acl_check_cmd('set', {})|redis.acl_check_cmd('get', nil)|redis.acl_check_cmd('nosuch')|redis.acl_check_cmd('get', 'x')|redis.acl_check_cmd(1)|redis.acl_check_cmd('config|get')|redis.acl_check_cmd('config', 'get', 'x')|redis.register_function('x', print)|redis.register_function|redis.LOG_WARNING|redis.REPL_ALL|redis.REPL_AOF|redis.SERVER_NAME|server.SERVER_NAME|redis == server|rawequal(redis, server)|redis.breakpoint|redis.debug
x = 1|_G.x = 1|_G.KEYS = 1|KEYS = 1|ARGV = {}|KEYS[1] = 'k'|redis.call = 1|redis.x = 1|string.x = 1|string.format = nil|math.pi = 3|cjson.x = 1|server.x = 1|_G._G = {}|rawset(_G, 'x', 1)|rawset(redis, 'x', 1)|rawset(string, 'x', 1)|setmetatable(_G, {})|setmetatable(redis, {})|setmetatable(string, nil)|getmetatable(redis)|getmetatable(string)|getmetatable('').x|getmetatable('').__index == string|(function() getmetatable('').__index = {} end)()
(function() getmetatable('').x = 1 end)()|setmetatable('', {})|setmetatable(1, {})|setmetatable({}, 1)|table.insert(redis, 1)|table.insert(_G, 1)|table.sort(redis)|table.remove(string)|table.setn({}, 1)|table.getn({1, 2})|table.foreach({1}, error)|table.foreachi({}, error)|table.maxn({1, 2, nil, 4})|rawget(_G, 'x')|rawget(redis, 'x')|_G.x|_G['no\\0thing']|_G[1]|_G[{}]|_G[nil]|rawlen|rawget(_G, 'print')|next(getmetatable('x'))|next({})|next({}, 1)|pairs(nil)|ipairs()|unpack(nil)|unpack({}, 1, 1e8)|unpack({1, 2, 3}, 2)|select('#')|select(0)|select(-1, 1, 2)
print|print('x')|dofile|dofile('x')|loadfile|require|require('x')|module|package|io|debug|os.time|os.time()|os.exit()|os.execute|os.clock() >= 0|getfenv|setfenv|newproxy|getfenv()|collectgarbage('count') > 0|gcinfo() > 0|collectgarbage('nothing')|load|load(function() end)|loadstring('return')|loadstring('return 5')()|loadstring('x =')|loadstring('return x')()|loadstring('x = 1')()|loadstring('\\27Lua')|loadstring(string.dump(function() end))|string.dump|_VERSION|xpcall(error, function(e) return e end)|coroutine.wrap(function() coroutine.yield(7) end)()
coroutine.resume(coroutine.create(function() return redis.call('GET', '{p}s') end))|coroutine.wrap(function() return redis.call('INCR', '{p}s') end)()|coroutine.yield()|coroutine.running()|coroutine.status(coroutine.create(print or error))|tostring(nil)|tonumber('0x10')|tonumber('z', 36)|tonumber('8', 8)|tonumber('')|tonumber({})|tostring()|type()|('x'):rep(3)|('x'):rep(-1)|('%d'):format('x')|('%d'):format(1.5)|('%s'):format()|('%q'):format('a\\n\\0b')|('%5.1f'):format(1/3)|('%y'):format(1)|('a,b'):gsub(',', '%1')|('abc'):find('[a')|('abc'):find('b', 1, true)|('abc'):byte(-1)|string.char(256)|math.random(0)|math.floor(-1.5)|math.huge|-math.huge|math.pi|math.mod|math.fmod(7, -3)|math.ldexp(1, 70)
(function() local t = setmetatable({}, {__index = function(_, k) return k end}) return t[1] end)()|setmetatable({}, {__index = {ok = 'x'}})|setmetatable({1, 2}, {__len = error})|setmetatable({}, {__tostring = function() return 'S' end})|tostring(setmetatable({}, {__tostring = function() return 'S' end}))|setmetatable({}, {__call = function() return 9 end})()|setmetatable({}, {__concat = function() return 'C' end}) .. 'x'|setmetatable({}, {__metatable = 'locked'})|getmetatable(setmetatable({}, {__metatable = 'locked'}))|setmetatable(setmetatable({}, {__metatable = 1}), {})|setmetatable({}, {__newindex = error})
""".replace("\n", "|").strip("|").split("|")
# The separator is part of one of them.
WRONG = [w for w in WRONG if "config" not in w] + ["redis.acl_check_cmd('config|get')", "redis.acl_check_cmd('config', 'get', 'x')"]

NUMBERS = "0 1 -1 3.7 -3.7 2^31 2^53 -2^53 2^53+1 2^62 2^63 -2^63 2^64 1e300 -1e300 1/0 -1/0 0/0 0.1 1e15 123456789012345678 -0".split()
STRINGS = [b"", b"a", b"12", b"-3", b"1.5", b"a b", b"x\r\ny", b"\0\1\xff", b"+OK", b"-ERR x", b"nan", b"x" * 70]
SINGLE = ["ok", "err", "double", "big_number", "map", "set", "verbatim_string", "nothing", "attribute"]


class Programs:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.expressions = Expressions(seed + 1000)

    def string(self):
        return quoted(self.rng.choice(STRINGS))

    def key(self):
        r = self.rng.random()
        if r < 0.5:
            return "KEYS[%d]" % self.rng.randrange(1, len(KEYS) + 1)
        return "'%s'" % self.rng.choice(KEYS) if r < 0.97 else self.string()

    def simple(self):
        r = self.rng
        return r.choice([lambda: r.choice(NUMBERS), self.string, lambda: r.choice(["nil", "true", "false", "ARGV[1]", "ARGV[2]", "#KEYS"])])()

    def table(self, depth):
        r = self.rng
        kind = r.randrange(8)
        if kind < 3:
            return "{%s}" % ", ".join(self.value(depth + 1) for _ in range(r.randrange(5)))
        name = r.choice(SINGLE)
        if kind < 6 and name != "big_number":
            inner = self.simple()
        elif name in ("map", "set"):
            inner = r.choice(["{[%s] = %s}" % (r.choice(["'a'", "1", "1.5", "true", "'\\r\\n'"]), self.value(depth + 1)), self.value(depth + 1)])
        elif name == "big_number":
            inner = r.choice(["'12345678901234567890'", "'-3'", "'0'", "1", "nil"])
        elif name == "verbatim_string":
            inner = "{format = %s, string = %s}" % (r.choice(["'txt'", "'mkd'", "'a'", "'toolong'", "1", "''", "nil"]), self.simple())
        else:
            inner = self.value(depth + 1)
        return "{%s = %s%s}" % (name, inner, r.choice(["", "", ", 1", ", 1, nil, 3"]))

    def value(self, depth=0):
        r = self.rng.random()
        if depth > 3 or r < 0.4:
            return self.simple()
        return self.table(depth) if r < 0.7 else self.expression(depth + 1)

    def word(self, word):
        r = self.rng.random()
        if word == "k":
            return self.key()
        if word == "v":
            return self.simple() if r < 0.7 else self.value(3)
        return quoted(word.encode())

    def called(self):
        words = [self.word(w) for w in self.rng.choice(CALLS).split()]
        if self.rng.random() < 0.04:
            words.insert(self.rng.randrange(len(words) + 1), self.value(2))
        if self.rng.random() < 0.04:
            words.pop()
        return "%s.%s(%s)" % (self.rng.choice(["redis", "redis", "server"]), self.rng.choice(["call", "pcall", "pcall"]), ", ".join(words))

    def wrong(self):
        text = self.rng.choice(WRONG)
        if " = " in text and not text.startswith("(") and "{" not in text.split(" = ")[0] and "(" not in text.split(" = ")[0]:
            return "(function() %s end)()" % text
        return text

    def library(self):
        return self.expressions.next()

    def expression(self, depth=0):
        r = self.rng.random()
        if r < 0.55:
            return self.called()
        if r < 0.8:
            return self.wrong()
        if r < 0.85:
            return self.library()
        inner = "function() return %s end" % self.value(depth + 1)
        return self.rng.choice(["pcall(%s)" % inner, "(%s)()" % inner, "{pcall(%s)}" % inner, "select(2, pcall(%s))" % inner, "type(%s)" % self.value(depth + 1)])

    def statement(self, depth=0):
        r = self.rng.randrange(12)
        if r < 5:
            return ["out[#out + 1] = %s" % self.expression()]
        if r < 7:
            return ["local good, what = pcall(function()", *self.statement(depth + 1), "end)", "out[#out + 1] = good", "out[#out + 1] = what"] if depth < 2 else [self.assigned()]
        if r == 7:
            return ["for i = 1, %d do" % self.rng.randrange(3), *self.statement(depth + 1), "end"] if depth < 2 else [self.assigned()]
        if r == 8:
            return ["if %s then" % self.value(2), *self.statement(depth + 1), "end"] if depth < 2 else [self.assigned()]
        if r == 9:
            return ["redis.setresp(%d)" % self.rng.choice((2, 3))]
        return [self.assigned()]

    def assigned(self):
        return "local v = %s" % self.expression()

    def next(self):
        """(text, keys, arguments)"""
        r = self.rng
        lines = ["local out = {}"]
        if r.random() < 0.3:
            lines.append("redis.setresp(3)")
        for _ in range(r.randrange(5)):
            lines += self.statement()
        lines.append("return %s" % r.choice([self.value, self.expression, lambda: "out", lambda: "out"])())
        return "\n".join(lines), KEYS, [r.choice(["1", "text", "", "-7"]) for _ in range(r.randrange(4))]
