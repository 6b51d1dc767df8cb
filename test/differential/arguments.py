# SPDX-License-Identifier: BSD-3-Clause
"""arguments: calls whose arguments are wrong in every way: which check comes first, and what it says.

Each call is a sound one of TEMPLATES, changed: words dropped, doubled, swapped, put in from the command's own options, and numbers at
their limits in place of others. They run on keys of all types, which are filled anew before each part of a run. What could wait stands
between MULTI and EXEC, where it does not.
"""

import random

LIMITS = [str(n) for bits in (31, 32, 63, 64) for n in (2**bits - 1, 2**bits, 2**bits + 1, -(2**bits), -(2**bits) - 1, 1 - 2**bits)]
NUMBERS = ["0", "-0", "1", "-1", "2", "3", "-2", "+1", "01", " 1", "1 ", "1.0", "1e3", "0.5", "", "x", "nan", "inf", "-inf", "0x10", "9" * 25]
# Of those that count elements only what no reply is made of.
SMALL = ["0", "-0", "1", "-1", "2", "3", "5", "+1", "01", "1.0", "", "x"]

FILL = """
    SET str value|RPUSH list a b c a b c|SADD set a b c 1 2 3|SADD ints 1 2 3|ZADD zset 1 a 2 b 3 c|ZADD same 0 a 0 b 0 c 0 d|HSET hash f 1 g 2 h text
    HEXPIRE hash 100000 FIELDS 1 h|XADD stream 1-1 f v|XADD stream 2-1 f v g w|XADD stream 3-1 f v|XGROUP CREATE stream g 0|XREADGROUP GROUP g c COUNT 2 STREAMS stream >
    GEOADD geo 13.361389 38.115556 x 15.087269 37.502669 y|SET num 10|PFADD hll a b c|SETBIT bits 100 1
""".replace("\n", "|")  # fmt: skip
KEYS = ["str", "list", "set", "ints", "zset", "same", "hash", "stream", "geo", "none", "num", "hll", "bits"]

# family: (templates, words that may be put in)
TEMPLATES = {
    "hash": ("""
        HSETEX hash FIELDS 1 f v|HSETEX hash FNX EX 100000 FIELDS 2 f v g w|HSETEX hash FXX KEEPTTL FIELDS 1 f v|HSETEX hash NX PX 100000000 FIELDS 1 f v|HSETEX hash XX FXX FIELDS 1 f v
        HSETEX hash EXAT 33177117420 FIELDS 1 f v|HSETEX hash PXAT 33177117420000 FIELDS 1 f v|HGETEX hash FIELDS 2 f g|HGETEX hash PERSIST FIELDS 1 h|HGETEX hash EX 100000 FIELDS 2 f g
        HGETEX hash PXAT 33177117420000 FIELDS 1 f|HGETDEL hash FIELDS 2 f x|HEXPIRE hash 100000 FIELDS 2 f g|HEXPIRE hash 100000 NX FIELDS 1 f|HPEXPIRE hash 200000000 XX GT FIELDS 1 h
        HEXPIREAT hash 33177117420 LT FIELDS 1 h|HPEXPIREAT hash 33177117420000 GT FIELDS 2 h f|HTTL hash FIELDS 2 f h|HPTTL hash FIELDS 1 f|HEXPIRETIME hash FIELDS 1 f|HPEXPIRETIME hash FIELDS 1 x
        HPERSIST hash FIELDS 2 f h|HRANDFIELD hash|HRANDFIELD hash 10|HRANDFIELD hash 10 WITHVALUES|HINCRBY hash f 1|HINCRBYFLOAT hash f 1.5|HSCAN hash 0 COUNT 10 NOVALUES MATCH *""",
        "FIELDS EX PX EXAT PXAT KEEPTTL PERSIST NX XX FNX FXX GT LT f g h v COUNT WITHVALUES"),
    "zset": ("""
        ZADD zset 1 a|ZADD zset NX 1 a 2 b|ZADD zset XX GT CH 1 a|ZADD zset LT INCR 1 a|ZADD zset GT 5 a 6 d|ZINCRBY zset 1 a|ZRANGE zset 0 -1|ZRANGE zset 0 -1 WITHSCORES|ZRANGE zset 1 (3 BYSCORE LIMIT 0 5
        ZRANGE same [a (c BYLEX REV LIMIT 0 5|ZRANGE zset 3 1 BYSCORE REV WITHSCORES|ZRANGEBYSCORE zset -inf +inf WITHSCORES LIMIT 0 5|ZREVRANGEBYSCORE zset +inf (1 LIMIT 1 2|ZRANGEBYLEX same - + LIMIT 0 2
        ZREVRANGEBYLEX same + [b LIMIT 0 1|ZREVRANGE zset 0 1 WITHSCORES|ZRANGESTORE none zset 0 -1|ZRANGESTORE none zset 1 2 BYSCORE LIMIT 0 1|ZRANGESTORE none same [a + BYLEX REV|ZCOUNT zset (1 3|ZLEXCOUNT same [a (c
        ZREMRANGEBYSCORE zset (5 6|ZREMRANGEBYRANK zset 7 8|ZREMRANGEBYLEX same [x [y|ZRANK zset a WITHSCORE|ZREVRANK zset b|ZPOPMIN zset 2|ZPOPMAX zset|ZMPOP 2 none zset MIN COUNT 1|BZMPOP 0.001 1 none MAX COUNT 2
        BZPOPMIN none 0.001|ZRANDMEMBER zset|ZRANDMEMBER zset 9|ZRANDMEMBER zset 9 WITHSCORES|ZINTER 2 zset same WEIGHTS 1 2 AGGREGATE MAX WITHSCORES|ZUNION 2 zset set WEIGHTS 0.5 -inf|ZDIFF 2 zset same WITHSCORES
        ZINTERSTORE none 2 zset same WEIGHTS 1 2 AGGREGATE MIN|ZUNIONSTORE none 1 zset AGGREGATE SUM|ZDIFFSTORE none 2 zset same|ZINTERCARD 2 zset same LIMIT 1|ZMSCORE zset a b|ZSCAN zset 0 COUNT 5 NOSCORES MATCH *""",
        "NX XX GT LT CH INCR BYSCORE BYLEX REV LIMIT WITHSCORES WITHSCORE MIN MAX COUNT WEIGHTS AGGREGATE SUM ( [ - + (1 [a"),
    "stream": ("""
        XADD stream 9-* f v|XADD stream 9-9 f v|XADD stream NOMKSTREAM MAXLEN ~ 100 LIMIT 10 9-* f v|XADD stream MINID = 1-1 9-* f v|XADD none MAXLEN 0 1-1 f v|XTRIM stream MAXLEN = 9|XTRIM stream MINID ~ 0-1 LIMIT 5
        XREAD COUNT 2 STREAMS stream 0|XREAD BLOCK 1 STREAMS none $|XREAD COUNT 1 STREAMS stream none 1-1 0|XREAD STREAMS stream +|XREADGROUP GROUP g c COUNT 1 STREAMS stream >|XREADGROUP GROUP g c NOACK STREAMS stream 0
        XREADGROUP GROUP g c BLOCK 1 COUNT 1 STREAMS none >|XCLAIM stream g d 0 1-1|XCLAIM stream g d 0 1-1 2-1 IDLE 5 RETRYCOUNT 3 FORCE JUSTID|XCLAIM stream g d 0 1-1 TIME 1000 LASTID 1-1 FORCE
        XAUTOCLAIM stream g d 0 0|XAUTOCLAIM stream g d 0 1-1 COUNT 5 JUSTID|XPENDING stream g|XPENDING stream g - + 10|XPENDING stream g IDLE 0 - + 10 c|XPENDING stream g (1-1 + 5
        XINFO STREAM stream|XINFO STREAM stream FULL COUNT 1|XINFO GROUPS stream|XINFO CONSUMERS stream g|XRANGE stream - + COUNT 2|XRANGE stream (1-1 3|XREVRANGE stream + - COUNT 1|XACK stream g 9-9 8|XDEL stream 9-9 8
        XGROUP CREATE stream k $ ENTRIESREAD 1|XGROUP CREATE none k 0 MKSTREAM|XGROUP SETID stream g 0 ENTRIESREAD 3|XGROUP DESTROY stream k|XGROUP CREATECONSUMER stream g e|XGROUP DELCONSUMER stream g e
        XSETID stream 9-9 ENTRIESADDED 10 MAXDELETEDID 5-1|XLEN stream""",
        "COUNT BLOCK STREAMS GROUP NOACK g c IDLE TIME RETRYCOUNT FORCE JUSTID LASTID MAXLEN MINID ~ = LIMIT - + $ > 0-0 1-1 (1-1 1-* FULL MKSTREAM ENTRIESREAD ENTRIESADDED MAXDELETEDID NOMKSTREAM"),
    "geo": ("""
        GEOADD geo 13 38 z|GEOADD geo NX CH 13 38 z|GEOADD geo XX 13 38 x|GEOSEARCH geo FROMMEMBER x BYRADIUS 200 km ASC|GEOSEARCH geo FROMLONLAT 15 37 BYBOX 400 400 km DESC COUNT 1 ANY WITHCOORD WITHDIST WITHHASH
        GEOSEARCH geo BYPOLYGON 4 12 37 16 37 16 39 12 39 ASC|GEOSEARCHSTORE none geo FROMLONLAT 15 37 BYRADIUS 300 km STOREDIST|GEOSEARCHSTORE none geo FROMMEMBER x BYBOX 9 9 m COUNT 2
        GEORADIUS geo 15 37 200 km WITHDIST COUNT 2 ASC|GEORADIUS geo 15 37 200 km STORE none|GEORADIUSBYMEMBER geo x 200 km STOREDIST none DESC|GEORADIUS_RO geo 15 37 200 km WITHHASH|GEODIST geo x y km|GEOPOS geo x z|GEOHASH geo x z""",
        "FROMMEMBER FROMLONLAT BYRADIUS BYBOX BYPOLYGON ASC DESC COUNT ANY WITHCOORD WITHDIST WITHHASH STORE STOREDIST NX XX CH x y m km mi 181 86 -85.06"),
    "list": ("""
        LPOS list a|LPOS list a RANK -1|LPOS list a COUNT 0 MAXLEN 5|LPOS list b RANK 2 COUNT 1|LMPOP 2 none list LEFT|LMPOP 1 list RIGHT COUNT 2|BLMPOP 0.001 1 none LEFT COUNT 1|LPOP list 1|RPOP list|LINSERT list BEFORE a x
        LRANGE list 0 -1|LTRIM list 0 -1|LREM list 1 x|LSET list 0 a|LINDEX list 1|LMOVE list list LEFT RIGHT|BLMOVE none list LEFT RIGHT 0.001|BLPOP none 0.001|BRPOP none 0.001|BRPOPLPUSH none list 0.001|RPUSH list a b c a
        SORT list|SORT list ALPHA|SORT ints DESC LIMIT 0 2|SORT list BY nosort GET # LIMIT 0 5|SORT list BY w_* GET # GET o_* ALPHA|SORT ints STORE none|SORT_RO zset ALPHA ASC LIMIT 1 2|SORT hash|SORT ints BY hash->f LIMIT 0 1""",
        "RANK COUNT MAXLEN LEFT RIGHT BEFORE AFTER BY GET # STORE ALPHA ASC DESC LIMIT nosort a b"),
    "bits": ("""
        BITFIELD num GET u8 0|BITFIELD num SET i8 #1 -5 INCRBY u4 0 3|BITFIELD num OVERFLOW SAT INCRBY i5 0 99 OVERFLOW FAIL SET u1 7 9|BITFIELD_RO num GET u63 0 GET i64 0|BITPOS num 1|BITPOS num 0 0 -1 BIT|BITPOS bits 1 5 BYTE
        BITCOUNT num|BITCOUNT num 0 -1|BITCOUNT bits 0 20 BIT|BITOP AND none num bits|BITOP NOT none num|BITOP ONE none num bits|BITOP DIFF none num bits|SETBIT num 7 1|GETBIT num 7|SINTERCARD 2 set ints LIMIT 1|SINTERCARD 1 set
        SPOP none 0|SRANDMEMBER none|SRANDMEMBER none 9|SMISMEMBER set a z|SSCAN set 0 COUNT 5 MATCH *|PFCOUNT hll none|PFMERGE none hll|GETEX num EX 100000|GETEX num PERSIST|SET num 10 EX 100000 GET|SET num 10 NX KEEPTTL|SET num 10 XX IFEQ 10
        MSETEX 1 num 10 EX 100000|MSETEX 2 num 10 str v NX|LCS str num IDX MINMATCHLEN 1 WITHMATCHLEN|LCS str num LEN|EXPIRE num 100000 NX|PEXPIREAT num 33177117420000 GT LT|COPY num none DB 0 REPLACE|OBJECT ENCODING num""",
        "GET SET INCRBY OVERFLOW WRAP SAT FAIL u8 i64 u64 i65 u0 #1 #0 BIT BYTE LIMIT NX XX GT LT EX PX EXAT PXAT KEEPTTL PERSIST IFEQ IDX LEN MINMATCHLEN WITHMATCHLEN DB REPLACE"),
}  # fmt: skip
FAMILIES = sorted(TEMPLATES)
# Numbers of what is told once each: a great one would be told for ever.
ENDLESS = ("HRANDFIELD", "ZRANDMEMBER", "SRANDMEMBER", "SETBIT", "BITFIELD")

WAIT = ("BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP")


def commands(text):
    return [line.strip().split(" ") for line in text.replace("\n", "|").split("|") if line.strip()]


class Arguments:
    def __init__(self, family, seed):
        self.rng = random.Random("%s %s" % (family, seed))
        templates, words = TEMPLATES[family]
        self.templates, self.words = commands(templates), words.split(" ")

    def number(self, call):
        pool = SMALL if call[0] in ENDLESS else LIMITS + NUMBERS
        return self.rng.choice(pool)

    def change(self, call):
        rng, n = self.rng, len(call)
        at, other = rng.randrange(1, n + 1), rng.randrange(1, n)
        what = rng.random()
        if what < 0.15:
            return call[:other] + call[other + 1 :]
        if what < 0.25:
            return call[:at] + [call[other]] + call[at:]
        if what < 0.4:
            one, two = sorted((other, rng.randrange(1, n)))
            call[one], call[two] = call[two], call[one]
            return call
        if what < 0.6:
            numbers = [i for i in range(1, n) if call[i].lstrip("-").replace(".", "").isdigit()]
            if numbers:
                call[rng.choice(numbers)] = self.number(call)
            return call
        if what < 0.75:
            return call[:at] + [rng.choice(self.words)] + call[at:]
        if what < 0.9:
            return call[:at] + [rng.choice(self.words), self.number(call)] + call[at:]
        if what < 0.95:
            call[other] = rng.choice(KEYS)
            return call
        # A part of another call of the command.
        like = rng.choice([one for one in self.templates if one[0] == call[0]])
        first = rng.randrange(1, len(like))
        return call[:at] + like[first : first + rng.randrange(1, 4)] + call[at:]

    def is_known(self, call):
        """What compat.md says of it: a key named `fields`, indices beyond 32 bits. Or
        what depends on the time that has passed, or on chance."""
        if call[0] in ("XCLAIM", "XAUTOCLAIM", "XPENDING"):
            idle = call[4:5] + [call[i + 1] for i in range(1, len(call) - 1) if call[i] == "IDLE"]
            return any(word.isdigit() and 0 < int(word) < 1_000_000 for word in idle)
        if call[0] in ("SPOP", "SRANDMEMBER"):
            return "set" in call or "ints" in call
        if call[0] == "XADD":
            return "*" in call
        if call[0] == "LSET":
            return any(len(word) > 9 for word in call)
        return call[0] in ("HSETEX", "HGETEX") and call[1:2] == ["FIELDS"]

    def call(self):
        call = list(self.rng.choice(self.templates))
        for _ in range(self.rng.choice([0, 1, 1, 1, 2, 2, 3, 4])):
            if len(call) > 1:
                call = self.change(call)
        return call

    def calls(self, count):
        out = []
        for _ in range(count):
            call = self.call()
            if self.is_known(call):
                continue
            waits = "BLOCK" in call or call[0] in WAIT
            out += [["MULTI"], call, ["EXEC"]] if waits else [call]
        return out
