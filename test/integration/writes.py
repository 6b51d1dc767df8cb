# SPDX-License-Identifier: BSD-3-Clause
"""writes: every command that writes, with every option that changes what it does.

One list for all who want to know that no write is forgotten: what it is called in notifications, what goes to the log and to
replicas. A case is a name, what is there before, and the commands that are looked at. Keys are taken from each case's own
names, so that all cases can run on one server. A command that writes and has no case fails the tests that read this list.

Words: {a} {b} {c} are keys of the case, mostly of different slots. PAST and SOON stand for absolute times in seconds, and
PASTMS and SOONMS in milliseconds; '' for an empty word; WAIT n in place of a command waits that many ms, GONE until a key is deleted. `lazy`: nothing runs
out by itself meanwhile. `unlogged`: Valkey logs what changes nothing.
"""

import time

from server import wait_for

SET_AB = ["SET {a} one", "SET {b} two"]


def case(name, *commands, before=(), **kwargs):
    return dict(name=name, before=list(before), commands=list(commands), **kwargs)


CASES = [
    # ---- SET and its relatives
    case("set", "SET {a} v"),
    case("set-again", "SET {a} w", before=["SET {a} v"]),
    case("set-ex", "SET {a} v EX 100"),
    case("set-px", "SET {a} v PX 100000"),
    case("set-exat", "SET {a} v EXAT SOON"),
    case("set-pxat", "SET {a} v PXAT SOONMS"),
    case("set-exat-past", "SET {a} v EXAT PAST", before=["SET {a} u"]),
    case("set-pxat-past", "SET {a} v PXAT PASTMS", before=["SET {a} u"]),
    case("set-past-missing", "SET {a} v EXAT PAST"),
    case("set-keepttl", "SET {a} v KEEPTTL", before=["SET {a} u EX 100"]),
    case("set-drops-ttl", "SET {a} v", before=["SET {a} u EX 100"]),
    case("set-ex-over-ttl", "SET {a} v EX 200", before=["SET {a} u EX 100"]),
    case("set-nx", "SET {a} v NX"),
    case("set-nx-ex", "SET {a} v NX EX 100"),
    case("set-nx-not", "SET {a} v NX", before=["SET {a} u"]),
    case("set-xx", "SET {a} v XX", before=["SET {a} u"]),
    case("set-xx-not", "SET {a} v XX"),
    case("set-get", "SET {a} v GET", before=["SET {a} u"]),
    case("set-get-missing", "SET {a} v GET"),
    case("set-get-ex", "SET {a} v GET EX 100", before=["SET {a} u"]),
    case("set-get-past", "SET {a} v GET EXAT PAST", before=["SET {a} u"]),
    case("set-ifeq", "SET {a} v IFEQ u", before=["SET {a} u"]),
    case("set-ifeq-ex-get", "SET {a} v IFEQ u EX 100 GET", before=["SET {a} u"]),
    case("set-ifeq-not", "SET {a} v IFEQ x", before=["SET {a} u"]),
    case("set-int", "SET {a} 12", "SET {a} 13", "SET {a} text"),
    case("set-error", "SET {a} v EX 0", "SET {a} v FOO"),
    case("setnx", "SETNX {a} v"),
    case("setnx-not", "SETNX {a} v", before=["SET {a} u"]),
    case("setex", "SETEX {a} 100 v"),
    case("setex-again", "SETEX {a} 100 v", before=["SET {a} u"]),
    case("psetex", "PSETEX {a} 100000 v"),
    case("getset", "GETSET {a} v", before=["SET {a} u EX 100"]),
    case("getset-missing", "GETSET {a} v"),
    case("getdel", "GETDEL {a}", before=["SET {a} v"]),
    case("getdel-missing", "GETDEL {a}"),
    case("getex", "GETEX {a}", before=["SET {a} v EX 100"]),
    case("getex-ex", "GETEX {a} EX 100", before=["SET {a} v"]),
    case("getex-px", "GETEX {a} PX 100000", before=["SET {a} v"]),
    case("getex-exat", "GETEX {a} EXAT SOON", before=["SET {a} v"]),
    case("getex-pxat", "GETEX {a} PXAT SOONMS", before=["SET {a} v"]),
    case("getex-past", "GETEX {a} EXAT PAST", before=["SET {a} v"]),
    case("getex-persist", "GETEX {a} PERSIST", before=["SET {a} v EX 100"]),
    case("getex-persist-none", "GETEX {a} PERSIST", before=["SET {a} v"]),
    case("getex-missing", "GETEX {a} EX 100"),
    case("delifeq", "DELIFEQ {a} v", before=["SET {a} v"]),
    case("delifeq-not", "DELIFEQ {a} w", before=["SET {a} v"]),
    case("delifeq-missing", "DELIFEQ {a} w"),
    # ---- several keys
    case("mset", "MSET {a} 1 {b} 2 {c} 3"),
    case("mset-again", "MSET {a} 1 {b} 2", before=["SET {a} u EX 100"]),
    case("mset-twice", "MSET {a} 1 {a} 2"),
    case("msetnx", "MSETNX {a} 1 {b} 2"),
    case("msetnx-not", "MSETNX {a} 1 {b} 2", before=["SET {b} u"]),
    case("msetex", "MSETEX 2 {a} 1 {b} 2"),
    case("msetex-ex", "MSETEX 2 {a} 1 {b} 2 EX 100"),
    case("msetex-px", "MSETEX 2 {a} 1 {b} 2 PX 100000"),
    case("msetex-exat", "MSETEX 2 {a} 1 {b} 2 EXAT SOON"),
    case("msetex-pxat", "MSETEX 2 {a} 1 {b} 2 PXAT SOONMS"),
    case("msetex-keepttl", "MSETEX 2 {a} 1 {b} 2 KEEPTTL", before=["SET {a} u EX 100"]),
    case("msetex-nx", "MSETEX 2 {a} 1 {b} 2 NX EX 100"),
    case("msetex-nx-not", "MSETEX 2 {a} 1 {b} 2 NX", before=["SET {b} u"]),
    case("msetex-xx", "MSETEX 2 {a} 1 {b} 2 XX PX 100000", before=SET_AB),
    case("msetex-xx-not", "MSETEX 2 {a} 1 {b} 2 XX", before=["SET {b} u"]),
    case("msetex-past", "MSETEX 2 {a} 1 {b} 2 EXAT PAST", before=["SET {a} u"], lazy=True),
    # ---- parts and numbers
    case("append", "APPEND {a} x", before=["SET {a} v"]),
    case("append-missing", "APPEND {a} x"),
    case("append-int", "APPEND {a} 3", before=["SET {a} 12"]),
    case("append-nothing", "APPEND {a} ''", before=["SET {a} v"]),
    case("append-nothing-missing", "APPEND {a} ''"),
    case("setrange", "SETRANGE {a} 1 xyz", before=["SET {a} v"]),
    case("setrange-missing", "SETRANGE {a} 3 xyz"),
    case("setrange-nothing", "SETRANGE {a} 3 ''", before=["SET {a} v"]),
    case("incr", "INCR {a}", before=["SET {a} 5 EX 100"]),
    case("incr-missing", "INCR {a}"),
    case("incr-text", "INCR {a}", before=["SET {a} 5", "APPEND {a} 6"]),
    case("incr-error", "INCR {a}", before=["SET {a} v"]),
    case("incrby", "INCRBY {a} 7", before=["SET {a} 5"]),
    case("incrby-zero", "INCRBY {a} 0", before=["SET {a} 5"]),
    case("decr", "DECR {a}", before=["SET {a} 5"]),
    case("decr-missing", "DECR {a}"),
    case("decrby", "DECRBY {a} 7", before=["SET {a} 5"]),
    case("incrbyfloat", "INCRBYFLOAT {a} 0.5", before=["SET {a} 5 EX 100"]),
    case("incrbyfloat-missing", "INCRBYFLOAT {a} 0.5"),
    case("incrbyfloat-error", "INCRBYFLOAT {a} 0.5", before=["SET {a} v"]),
    # ---- bits
    case("setbit", "SETBIT {a} 7 1", before=["SET {a} v EX 100"]),
    case("setbit-missing", "SETBIT {a} 7 0", "SETBIT {b} 9999 1"),
    case("setbit-same", "SETBIT {a} 1 1", before=["SET {a} v"]),
    case("setbit-grows", "SETBIT {a} 100 0", before=["SET {a} v"]),
    case("setbit-int", "SETBIT {a} 1 1", before=["SET {a} 12"]),
    case("setbit-error", "SETBIT {a} 1 2", "SETBIT {a} -1 1", before=["SET {a} v"]),
    case("bitfield", "BITFIELD {a} SET u8 0 7 INCRBY i5 100 3 GET u8 0", before=["SET {a} v EX 100"]),
    case("bitfield-get", "BITFIELD {a} GET u8 0", before=["SET {a} v"]),
    case("bitfield-same", "BITFIELD {a} SET u8 0 118 INCRBY u8 0 0", before=["SET {a} v"]),
    case("bitfield-fail", "BITFIELD {a} OVERFLOW FAIL INCRBY u1 0 9", before=["SET {a} v"]),
    case("bitfield-overflow", "BITFIELD {a} OVERFLOW SAT INCRBY u4 0 99 OVERFLOW FAIL INCRBY u1 9 9 SET u1 10 1"),
    case("bitfield-grows", "BITFIELD {a} INCRBY u4 30 0", before=["SET {a} v"]),
    case("bitfield_ro", "BITFIELD_RO {a} GET u8 0", before=["SET {a} v"]),
    case("bitop", "BITOP AND {c} {a} {b}", before=SET_AB),
    case("bitop-or", "BITOP OR {c} {a} {b}", before=SET_AB + ["SET {c} over EX 100"]),
    case("bitop-own", "BITOP XOR {a} {a} {b}", "BITOP NOT {a} {a}", before=SET_AB),
    case("bitop-large", "BITOP OR {c} {a} {b}", before=["SETBIT {a} 99999 1", "SETBIT {b} 80000 1"]),
    case("bitop-nothing", "BITOP AND {c} {a} {b}", before=["SET {c} v"]),
    case("bitop-nothing-missing", "BITOP AND {c} {a} {b}"),
    # ---- sets
    case("sadd", "SADD {a} 1 2 3"),
    case("sadd-text", "SADD {a} x 2 y 2", "SADD {a} 2 3"),
    case("sadd-not", "SADD {a} 2 x", before=["SADD {a} x 2 y"]),
    case("sadd-ttl", "SADD {a} z", before=["SADD {a} x", "EXPIRE {a} 100"]),
    case("sadd-error", "SADD {a} z", before=["SET {a} x"]),
    case("sadd-table", "SADD {a} 1 2 3 4 " + "x" * 65, "SADD {a} 5", "SREM {a} 5"),
    case("srem", "SREM {a} 1 7", before=["SADD {a} 1 2 3"]),
    case("srem-not", "SREM {a} 7 x", before=["SADD {a} 1 2 3"]),
    case("srem-missing", "SREM {a} 7"),
    case("srem-all", "SREM {a} x 1 7", before=["SADD {a} 1 x"]),
    case("rename-set", "RENAME {a} {b}", before=["SADD {a} 1 2 x", "EXPIRE {a} 100"]),
    case("copy-set", "COPY {a} {b}", before=["SADD {a} 1 2 " + "x" * 65]),
    case("move-set", "MOVE {a} 1", before=["SADD {a} 1 2"]),
    case("del-set", "DEL {a}", before=["SADD {a} 1 2"]),
    case("set-over-set", "SET {a} v", before=["SADD {a} 1 2"]),
    # ---- hashes
    case("hset", "HSET {a} f 1 g 2"),
    case("hset-again", "HSET {a} f 1 h 2", "HSET {a} f 1", before=["HSET {a} f 1 g 2"]),
    case("hset-twice", "HSET {a} f 1 f 2"),
    case("hset-ttl", "HSET {a} f 1", before=["HSET {a} f 0", "EXPIRE {a} 100"]),
    case("hset-error", "HSET {a} f 1", "HSET {b} f", before=["SET {a} v"]),
    case("hset-table", "HSET {a} f " + "x" * 65, "HSET {a} g 2", "HDEL {a} f"),
    case("hmset", "HMSET {a} f 1 g 2", before=["HSET {a} f 3"]),
    case("hsetnx", "HSETNX {a} f 1"),
    case("hsetnx-not", "HSETNX {a} f 1", before=["HSET {a} f 2"]),
    case("hdel", "HDEL {a} f x", before=["HSET {a} f 1 g 2"]),
    case("hdel-not", "HDEL {a} x", before=["HSET {a} f 1 g 2"]),
    case("hdel-missing", "HDEL {a} x"),
    case("hdel-all", "HDEL {a} f g x", before=["HSET {a} f 1 g 2"]),
    case("hincrby", "HINCRBY {a} f 5", "HINCRBY {a} g 5", before=["HSET {a} f 1"]),
    case("hincrby-zero", "HINCRBY {a} f 0", before=["HSET {a} f 1"]),
    case("hincrby-missing", "HINCRBY {a} f 5"),
    case("hincrby-error", "HINCRBY {a} f 5", before=["HSET {a} f x"]),
    case("hincrbyfloat", "HINCRBYFLOAT {a} f 0.5", before=["HSET {a} f 1"]),
    case("hincrbyfloat-missing", "HINCRBYFLOAT {a} f 0.5"),
    case("hincrbyfloat-error", "HINCRBYFLOAT {a} f 0.5", before=["HSET {a} f x"]),
    case("rename-hash", "RENAME {a} {b}", before=["HSET {a} f 1 g " + "x" * 65, "EXPIRE {a} 100"]),
    case("copy-hash", "COPY {a} {b}", before=["HSET {a} f 1 g 2"]),
    case("copy-hash-table", "COPY {a} {b}", before=["HSET {a} f 1 g " + "x" * 65]),
    case("move-hash", "MOVE {a} 1", before=["HSET {a} f 1"]),
    case("del-hash", "DEL {a}", before=["HSET {a} f 1"]),
    case("set-over-hash", "SET {a} v", before=["HSET {a} f 1"]),
    # ---- deadlines
    case("expire", "EXPIRE {a} 100", before=["SET {a} v"]),
    case("expire-again", "EXPIRE {a} 100", before=["SET {a} v EX 100"]),
    case("pexpire", "PEXPIRE {a} 100000", before=["SET {a} v"]),
    case("expireat", "EXPIREAT {a} SOON", before=["SET {a} v"]),
    case("pexpireat", "PEXPIREAT {a} SOONMS", before=["SET {a} v"]),
    case("expire-missing", "EXPIRE {a} 100"),
    case("expire-nx", "EXPIRE {a} 100 NX", before=["SET {a} v"]),
    case("expire-nx-not", "EXPIRE {a} 100 NX", before=["SET {a} v EX 50"]),
    case("expire-xx", "PEXPIRE {a} 100000 XX", before=["SET {a} v EX 50"]),
    case("expire-gt", "EXPIRE {a} 100 GT", before=["SET {a} v EX 50"]),
    case("expire-gt-not", "EXPIRE {a} 100 GT", before=["SET {a} v"]),
    case("expire-lt", "EXPIREAT {a} SOON LT", before=["SET {a} v"]),
    case("expire-past", "EXPIRE {a} -1", before=["SET {a} v"]),
    case("pexpire-zero", "PEXPIRE {a} 0", before=["SET {a} v"]),
    case("expireat-past", "EXPIREAT {a} PAST", before=["SET {a} v EX 100"]),
    case("pexpireat-past", "PEXPIREAT {a} PASTMS", before=["SET {a} v"]),
    case("expire-past-missing", "EXPIRE {a} -1"),
    case("persist", "PERSIST {a}", before=["SET {a} v EX 100"]),
    case("persist-none", "PERSIST {a}", before=["SET {a} v"]),
    case("persist-missing", "PERSIST {a}"),
    # ---- streams
    case("xadd", "XADD {a} 5-1 f v", "XADD {a} 5-2 f w g x"),
    case("xadd-draws", "XADD {a} * f v", before=["XADD {a} 5-1 f v"]),
    case("xadd-draws-again", "XADD {a} * f v", before=["XADD {a} 99999999999999-7 f v"]),
    case("xadd-seq", "XADD {a} 5-* f v", "XADD {a} 5-* f v", "XADD {a} 6-* f v"),
    case("xadd-ms", "XADD {a} 7 f v"),
    case("xadd-maxlen", "XADD {a} MAXLEN 2 5-1 f v", "XADD {a} MAXLEN = 2 5-2 f v", "XADD {a} MAXLEN 2 5-3 f v", "XADD {a} MAXLEN 0 5-4 f v"),
    case("xadd-maxlen-about", "XADD {a} MAXLEN ~ 2 5-4 f v", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v", "XADD {a} 5-3 f v"]),
    case("xadd-maxlen-none", "XADD {a} MAXLEN ~ 0 5-4 f v"),
    case("xadd-maxlen-limit", "XADD {a} MAXLEN ~ 0 LIMIT 100 5-4 f v", "XADD {a} MAXLEN ~ 1 LIMIT 0 5-5 f v"),
    case("xadd-minid", "XADD {a} MINID 5-2 5-3 f v", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v"]),
    case("xadd-minid-about", "XADD {a} MINID ~ 6 LIMIT 10 5-3 f v", "XADD {a} MINID ~ 2 6-3 f v", before=["XADD {a} 5-1 f v"]),
    case("xadd-nomkstream", "XADD {a} NOMKSTREAM * f v"),
    case("xadd-nomkstream-there", "XADD {a} NOMKSTREAM 6-1 f v", before=["XADD {a} 5-1 f v"]),
    case("xadd-error", "XADD {a} 5-1 f v", "XADD {a} 0-0 f v", before=["XADD {a} 5-1 f v"]),
    case("xtrim", "XTRIM {a} MAXLEN 1", "XTRIM {a} MAXLEN 1", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v", "XADD {a} 5-3 f v"]),
    case("xtrim-all", "XTRIM {a} MAXLEN ~ 0", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v"]),
    case("xtrim-about-not", "XTRIM {a} MAXLEN ~ 1", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v"]),
    case("xtrim-minid", "XTRIM {a} MINID 5-2", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v"]),
    case("xtrim-minid-about", "XTRIM {a} MINID ~ 6-0 LIMIT 10", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v"]),
    case("xtrim-missing", "XTRIM {a} MAXLEN 0"),
    case("xdel", "XDEL {a} 5-1 5-1 5-3", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v"]),
    case("xdel-last", "XDEL {a} 5-1", before=["XADD {a} 5-1 f v"]),
    case("xdel-not", "XDEL {a} 5-2", before=["XADD {a} 5-1 f v"]),
    case("xdel-missing", "XDEL {a} 5-2"),
    case("xsetid", "XSETID {a} 9-9", "XSETID {a} 9-9", before=["XADD {a} 5-1 f v"]),
    case("xsetid-all", "XSETID {a} 9-9 ENTRIESADDED 7 MAXDELETEDID 3-3", before=["XADD {a} 5-1 f v"]),
    case("xsetid-error", "XSETID {a} 1-1", before=["XADD {a} 5-1 f v"]),
    case("stream-copy", "COPY {a} {b}", before=["XADD {a} 5-1 f v", "XADD {a} 5-2 f v g w"]),
    case("stream-copy-empty", "COPY {a} {b}", before=["XADD {a} 5-1 f v", "XDEL {a} 5-1"]),
    case("stream-rename", "RENAME {a} {b}", before=["XADD {a} 5-1 f v", "EXPIRE {a} 100", "SET {b} v"]),
    case("stream-rename-over", "RENAME {b} {a}", before=["XADD {a} 5-1 f v", "SET {b} v"]),
    case("stream-move", "MOVE {a} 1", before=["XADD {a} 5-1 f v"]),
    case("multi-stream", "MULTI", "XADD {a} 5-1 f v", "XADD {a} * f v", "XTRIM {a} MAXLEN 1", "EXEC"),
    # ---- whole keys
    case("del", "DEL {a}", before=["SET {a} v"]),
    case("del-missing", "DEL {a}"),
    case("del-some", "DEL {a} {b} {c}", before=SET_AB),
    case("unlink", "UNLINK {a} {b}", before=SET_AB),
    case("unlink-missing", "UNLINK {a}"),
    case("rename", "RENAME {a} {b}", before=["SET {a} v"]),
    case("rename-over", "RENAME {a} {b}", before=SET_AB),
    case("rename-ttl", "RENAME {a} {b}", before=["SET {a} v EX 100", "SET {b} 5"]),
    case("rename-same", "RENAME {a} {a}", before=["SET {a} v"]),
    case("rename-missing", "RENAME {a} {b}"),
    case("rename-int", "RENAME {a} {b}", before=["SET {a} 12"]),
    case("renamenx", "RENAMENX {a} {b}", before=["SET {a} v"]),
    case("renamenx-not", "RENAMENX {a} {b}", before=SET_AB),
    case("copy", "COPY {a} {b}", before=["SET {a} v"]),
    case("copy-ttl", "COPY {a} {b}", before=["SET {a} v EX 100"]),
    case("copy-not", "COPY {a} {b}", before=SET_AB),
    case("copy-replace", "COPY {a} {b} REPLACE", before=SET_AB),
    case("copy-db", "COPY {a} {b} DB 1", before=["SET {a} v"]),
    case("copy-db-same", "COPY {a} {a} DB 1", before=["SET {a} v"]),
    case("copy-db-replace", "COPY {a} {b} DB 1 REPLACE", "COPY {a} {b} DB 1 REPLACE", before=["SET {a} v"]),
    case("copy-missing", "COPY {a} {b}"),
    case("move", "MOVE {a} 1", before=["SET {a} v"]),
    case("move-ttl", "MOVE {a} 1", before=["SET {a} v EX 100"]),
    case("move-not", "MOVE {a} 1", before=["SET {a} v", "COPY {a} {a} DB 1"]),
    case("move-missing", "MOVE {a} 1"),
    # ---- expiry
    case("expired-by-itself", "SET {a} v PX 20", "GONE {a}"),
    case("expired-on-get", "GET {a}", before=["SET {a} v PX 20", "WAIT 60"], lazy=True),
    case("expired-on-set", "SET {a} w", before=["SET {a} v PX 20", "WAIT 60"], lazy=True),
    case("expired-on-incr", "INCR {a}", before=["SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    case("expired-on-append", "APPEND {a} x", before=["SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    case("expired-on-del", "DEL {a}", before=["SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    case("expired-on-rename", "RENAME {b} {a}", before=["SET {b} w", "SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    case("expired-on-copy", "COPY {b} {a}", before=["SET {b} w", "SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    case("expired-on-mset", "MSET {a} 1 {b} 2", before=["SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    case("expired-on-exists", "EXISTS {a} {b}", before=["SET {a} 7 PX 20", "WAIT 60"], lazy=True),
    # ---- MULTI
    case("multi", "MULTI", "SET {a} 1", "INCR {a}", "SET {b} 2 EX 100", "DEL {a}", "EXEC"),
    case("multi-one", "MULTI", "INCR {a}", "EXEC"),
    case("multi-reads", "MULTI", "GET {a}", "EXEC"),
    case("multi-fails", "MULTI", "SET {a} v", "INCR {a}", "EXEC"),
    case("multi-nothing", "MULTI", "DEL {a}", "EXEC"),
    case("multi-db", "MULTI", "SET {a} 1", "SELECT 2", "SET {a} 2", "SELECT 0", "EXEC"),
    case("multi-mset", "MULTI", "MSET {a} 1 {b} 2 {c} 3", "RENAME {a} {c}", "COPY {c} {a}", "EXEC"),
    case("multi-expire", "MULTI", "SET {a} v", "EXPIRE {a} -1", "SET {b} w", "PEXPIRE {b} 100000", "EXEC"),
    case("multi-watch", "WATCH {a}", "MULTI", "SET {b} 1", "EXEC", before=["SET {a} v"]),
    # ---- all keys
    case("swapdb", "SWAPDB 0 1", "SWAPDB 0 1", before=["SET {a} v"]),
    case("swapdb-same", "SWAPDB 3 3", unlogged=True),
    case("flushdb", "SELECT 3", "FLUSHDB", "SELECT 0", before=["SELECT 3", "SET {a} v", "SELECT 0"]),
    case("flushdb-async", "SELECT 3", "FLUSHDB ASYNC", "SELECT 0", before=["SELECT 3", "SET {a} v", "SELECT 0"]),
    case("flushdb-empty", "SELECT 5", "FLUSHDB SYNC", "SELECT 0"),
    # ---- lists
    case("lpush", "LPUSH {a} 1 two 3", "LPUSH {a} 4"),
    case("rpush", "RPUSH {a} 1 two 3", "RPUSH {a} 4", "RPUSH {a} ''"),
    case("lpushx", "LPUSHX {a} 1", "LPUSHX {b} 2", before=["RPUSH {a} 0"]),
    case("rpushx", "RPUSHX {a} 1", "RPUSHX {b} 2", before=["RPUSH {a} 0"]),
    case("push-wrong-type", "LPUSH {a} 1", "RPUSHX {a} 1", "LMOVE {b} {a} LEFT LEFT", before=["SET {a} v", "RPUSH {b} 1"]),
    case("lpop", "LPOP {a}", "LPOP {a}", "LPOP {a}", before=["RPUSH {a} 1 2"]),
    case("rpop", "RPOP {a}", "RPOP {a}", "RPOP {a}", before=["RPUSH {a} 1 2"]),
    case("lpop-count", "LPOP {a} 2", "LPOP {a} 0", "LPOP {a} 9", "LPOP {a} 1", before=["RPUSH {a} 1 2 3 4"]),
    case("rpop-count", "RPOP {a} 2", "RPOP {a} 0", "RPOP {a} 9", "RPOP {a} 1", before=["RPUSH {a} 1 2 3 4"]),
    case("lset", "LSET {a} 0 x", "LSET {a} -1 7", "LSET {a} 5 x", "LSET {b} 0 x", before=["RPUSH {a} 1 2"]),
    case("linsert", "LINSERT {a} BEFORE 1 x", "LINSERT {a} AFTER 1 y", "LINSERT {a} AFTER none y", before=["RPUSH {a} 1 2"]),
    case("linsert-missing", "LINSERT {a} BEFORE 1 x"),
    case("lrem", "LREM {a} 1 1", "LREM {a} -1 1", "LREM {a} 0 none", "LREM {a} 0 1", before=["RPUSH {a} 1 2 1 3 1 1"]),
    case("lrem-all", "LREM {a} 0 1", before=["RPUSH {a} 1 1"]),
    case("ltrim", "LTRIM {a} 1 -2", "LTRIM {a} 0 -1", "LTRIM {b} 0 1", before=["RPUSH {a} 1 2 3 4"]),
    case("ltrim-all", "LTRIM {a} 5 9", before=["RPUSH {a} 1 2 3 4"]),
    case("lmove", "LMOVE {a} {b} LEFT RIGHT", "LMOVE {a} {b} RIGHT LEFT", "LMOVE {a} {c} LEFT LEFT", before=["RPUSH {a} 1 two"]),
    case("lmove-same", "LMOVE {a} {a} LEFT RIGHT", "LMOVE {a} {a} LEFT LEFT", before=["RPUSH {a} 1 two"]),
    case("lmove-one", "LMOVE {a} {a} LEFT RIGHT", "LMOVE {a} {b} RIGHT RIGHT", before=["RPUSH {a} 1"]),
    case("lmove-ttl", "LMOVE {a} {b} LEFT RIGHT", before=["RPUSH {a} 1 2", "EXPIRE {a} 100", "RPUSH {b} 3", "EXPIRE {b} 100"]),
    case("rpoplpush", "RPOPLPUSH {a} {b}", "RPOPLPUSH {a} {b}", "RPOPLPUSH {a} {b}", before=["RPUSH {a} 1 two"]),
    case("rpoplpush-same", "RPOPLPUSH {a} {a}", before=["RPUSH {a} 1 two"]),
    case("list-rename", "RENAME {a} {b}", "COPY {b} {c}", "MOVE {c} 2", before=["RPUSH {a} 1 two", "RPUSH {b} 3"]),
    case("list-large", "RPUSH {a} " + " ".join(["x" * 3000] * 4), "LMOVE {a} {b} RIGHT LEFT", "COPY {a} {c}", "RENAME {c} {b}"),
    case("list-set", "SET {a} v", "MSET {b} v", before=["RPUSH {a} 1 two", "RPUSH {b} 3"]),
    case("lmpop", "LMPOP 2 {a} {b} LEFT COUNT 2", "LMPOP 2 {a} {b} RIGHT", "LMPOP 2 {a} {b} LEFT COUNT 9", "LMPOP 1 {a} LEFT", before=["RPUSH {a} 1 2 3", "RPUSH {b} 4"]),
    case("blpop", "BLPOP {b} {a} 0", "BLPOP {a} 0", before=["RPUSH {a} 1 2"]),
    case("brpop", "BRPOP {b} {a} {c} 0", before=["RPUSH {a} 1 2"]),
    case("blmpop", "BLMPOP 0 3 {b} {a} {c} LEFT", "BLMPOP 0 3 {b} {a} {c} RIGHT COUNT 9", before=["RPUSH {a} 1 2 3"]),
    case("blmove", "BLMOVE {a} {b} LEFT RIGHT 0", "BLMOVE {a} {c} RIGHT LEFT 0", "BLMOVE {b} {b} RIGHT LEFT 0", before=["RPUSH {a} 1 2"]),
    case("brpoplpush", "BRPOPLPUSH {a} {b} 0", before=["RPUSH {a} 1 two"]),
    case("multi-blocking", "MULTI", "BLPOP {a} {b} 0", "RPUSH {b} 1 2 3", "BLPOP {a} {b} 0", "BLMOVE {b} {a} LEFT LEFT 0", "BRPOPLPUSH {c} {a} 0", "EXEC"),
    case("multi-list", "MULTI", "RPUSH {a} 1 2", "LMOVE {a} {b} LEFT RIGHT", "RPOP {b}", "LTRIM {a} 5 6", "EXEC"),
    case("multi-swapdb", "MULTI", "SET {a} v", "SWAPDB 0 1", "SET {a} w", "SWAPDB 0 1", "EXEC"),
    case("multi-flushdb", "SELECT 3", "MULTI", "SET {a} v", "FLUSHDB", "SET {b} w", "EXEC", "SELECT 0"),
    case("flushall", "FLUSHALL", before=["SET {a} v", "COPY {a} {b} DB 2"]),
    case("flushall-async", "FLUSHALL ASYNC", "FLUSHALL", before=["SET {a} v"]),
    case("multi-flushall", "MULTI", "SET {a} v", "FLUSHALL", "SET {b} w", "EXEC"),
]


def words_of(command, name, now=None):
    """A command of a case as a list of words."""
    now = time.time() if now is None else now
    keys = {letter: "%s:%s" % (name, letter) for letter in "abc"}
    out = []
    for word in command.split(" "):
        word = {"SOON": str(int(now) + 1000), "PAST": str(int(now) - 1000)}.get(word, word)
        word = {"SOONMS": str(int(now * 1000) + 1000000), "PASTMS": str(int(now * 1000) - 1000000)}.get(word, word)
        out.append("" if word == "''" else word.format(**keys))
    return out


def names():
    """The commands that have a case."""
    lines = [line for one in CASES for line in one["before"] + one["commands"]]
    return {line.split(" ")[0].lower() for line in lines}


def run(connection, commands, name):
    """Runs commands of a case one after the other; returns the replies."""
    replies = []
    for command in commands:
        words = words_of(command, name)
        if words[0] == "WAIT":
            time.sleep(int(words[1]) / 1000)
        elif words[0] == "GONE":
            wait_for(lambda: connection.do("DEBUG", "OBJECT", words[1]) == "ERR no such key")
        else:
            replies.append(connection.do(*words))
    return replies
