# SPDX-License-Identifier: BSD-3-Clause
"""The wire protocol as a client sees it: RESP2, RESP3, inline commands, errors, limits, HTTP."""

import random

import pytest

from resp import BigNumber, Map, Push, RespError, Set, Simple, Verbatim, encode


# ---- requests that are well formed ---------------------------------------------------------------------------------


def test_inline_commands(raw):
    assert raw.inline("PING") == "PONG"
    assert raw.inline("  ping   hello  ") == b"hello"
    assert raw.inline('SET inline "a b\\x41\\n"') == "OK"
    assert raw.inline("GET inline") == b"a bA\n"
    assert raw.inline("SET inline 'it\\'s'") == "OK"
    assert raw.inline("GET inline") == b"it's"


def test_inline_ends_at_a_bare_newline(raw):
    raw.send("PING\nPING\n")
    assert raw.read_some(2) == ["PONG", "PONG"]


def test_inline_with_unbalanced_quotes_is_an_error_and_closes(raw):
    raw.send('SET a "b\r\n')
    assert raw.read() == RespError("ERR Protocol error: unbalanced quotes in request")
    assert raw.is_closed()


def test_empty_requests_are_skipped(raw):
    raw.send("\r\n\r\n*0\r\n*-1\r\n*-10\r\n\r\n")
    assert raw.is_silent()
    assert raw.do("PING") == "PONG"


def test_inline_and_multibulk_mix(raw):
    raw.send(b"PING\r\n" + encode("PING") + b"\r\nECHO x\r\n" + encode("ECHO", "y"))
    assert raw.read_some(4) == ["PONG", "PONG", b"x", b"y"]


def test_binary_safe_arguments(raw):
    key = bytes(range(256))
    value = b"\r\n$5\r\n\x00*3\r\n"
    assert raw.do("SET", key, value) == "OK"
    assert raw.do("GET", key) == value
    assert raw.do("DEL", key) == 1


def test_empty_key_and_value(raw):
    assert raw.do("SET", "", "") == "OK"
    assert raw.do("GET", "") == b""
    assert raw.do("DEL", "") == 1


def test_command_names_in_any_case(raw):
    assert raw.do("pInG") == "PONG"
    assert raw.do("cLiEnT", "iD") > 0


@pytest.mark.parametrize("seed", range(4))
def test_any_split_gives_the_same_replies(server, seed):
    rng = random.Random(seed)
    stream = b""
    for n in range(60):
        stream += rng.choice(
            [
                encode("SET", "split%d" % n, "v" * rng.randrange(300)),
                encode("GET", "split%d" % n),
                b"PING\r\n",
                b"\r\n",
                b"*0\r\n",
                b"ECHO 'a b'\r\n",
                encode("ECHO", bytes(rng.randrange(256) for _ in range(20))),
            ]
        )
    stream += encode("ECHO", "the end")

    def replies(chunks):
        with server.raw() as c:
            c.do("FLUSHALL")
            for chunk in chunks:
                c.send(chunk)
            out = []
            while not out or out[-1] != b"the end":
                out.append(c.read())
            return out

    whole = replies([stream])
    cuts = sorted(rng.sample(range(1, len(stream)), 40))
    pieces = [stream[a:b] for a, b in zip([0] + cuts, cuts + [len(stream)])]
    assert replies(pieces) == whole
    assert replies([stream[i : i + 1] for i in range(len(stream))]) == whole


@pytest.mark.parametrize("size", [16 * 1024, 32 * 1024 - 1, 32 * 1024, 65536, 1 << 20, 20 << 20])
def test_big_values(raw, size):
    value = random.Random(size).randbytes(size)
    raw.sock.settimeout(30)
    assert raw.do("SET", "big", value) == "OK"
    assert raw.do("STRLEN", "big") == size
    assert raw.do("GET", "big") == value
    assert raw.do("DEL", "big") == 1


def test_big_value_sent_in_drops(raw):
    value = b"x" * 300_000
    request = encode("SET", "drops", value)
    for i in range(0, len(request), 1000):
        raw.send(request[i : i + 1000])
    assert raw.read() == "OK"
    assert raw.do("STRLEN", "drops") == 300_000


def test_many_arguments(raw):
    keys = ["{tag}%d" % i for i in range(20_000)]
    assert raw.do("EXISTS", *keys) == 0


# ---- protocol errors: the text, and the connection ends ------------------------------------------------------------


@pytest.mark.parametrize(
    "sent, error",
    [
        (b"*abc\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*2147483648\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*99999999999999999999\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\nPING\r\n", "ERR Protocol error: expected '$', got 'P'"),
        (b"*1\r\n\r\n", "ERR Protocol error: expected '$', got '\r'"),
        (b"*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
        (b"*1\r\n$abc\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*" + b"1" * 70_000, "ERR Protocol error: too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70_000, "ERR Protocol error: too big bulk count string"),
        (b"P" * 70_000, "ERR Protocol error: too big inline request"),
    ],
)
def test_protocol_errors(server, sent, error):
    with server.raw() as c:
        try:
            c.send(sent)
        except (ConnectionResetError, BrokenPipeError):
            pass
        got = c.read_all()
        assert got == b"-" + error.replace("\r", " ").encode() + b"\r\n"


def test_replies_before_a_protocol_error_are_sent_first(server):
    with server.raw() as c:
        c.send(encode("ECHO", "first") + b"*1\r\nx\r\n" + encode("ECHO", "never"))
        assert c.read() == b"first"
        assert c.read() == "ERR Protocol error: expected '$', got 'x'"
        assert c.is_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nSET a b\r\n",
        b"post / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET httpkey owned\r\n",
        b"Host: localhost\r\nSET httpkey owned\r\n",
    ],
)
def test_http_is_dropped_without_serving_what_follows(server, r, sent):
    with server.raw() as c:
        c.send(sent)
        got = c.read_all()
        assert b"+OK" not in got
    assert r.dbsize() == 0
    assert "Possible SECURITY ATTACK" in server.log()


# ---- limits of a client that has not said who it is ------------------------------------------------------------------


def test_unauthenticated_client_may_send_ten_arguments(start_server):
    s = start_server(requirepass="secret")
    with s.raw() as c:
        c.send(b"*11\r\n")
        assert c.read() == "ERR Protocol error: unauthenticated multibulk length"
        assert c.is_closed()
    with s.raw() as c:
        assert c.do(*["PING"] * 10) == "NOAUTH Authentication required."


@pytest.mark.plain_port  # Python says that the connection ended before it reads the reply
def test_unauthenticated_client_may_pipeline_a_little(start_server):
    """Its limit for output counts from the first buffer on, as all such limits do."""
    s = start_server(requirepass="secret")
    with s.raw() as c:
        c.send(encode("PING") * 40)
        assert c.read_some(40) == ["NOAUTH Authentication required."] * 40
    with s.raw() as c:
        c.send(encode("PING") * 5000)
        assert c.is_closed()


def test_unauthenticated_client_may_send_16_kb_bulks(start_server):
    s = start_server(requirepass="secret")
    with s.raw() as c:
        c.send(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n")
        assert c.read() == "ERR Protocol error: unauthenticated bulk length"
        assert c.is_closed()
    with s.raw() as c:
        assert c.do("AUTH", "x" * 16384).startswith("WRONGPASS")
        assert c.do("AUTH", "secret") == "OK"
        assert c.do("SET", "k", "x" * 20000) == "OK"
        assert c.do("MGET", *["{k}%d" % i for i in range(50)]) == [None] * 50


# ---- RESP3 ----------------------------------------------------------------------------------------------------------


def test_hello_3_switches_and_hello_2_switches_back(raw):
    reply = raw.do("HELLO", "3")
    assert isinstance(reply, Map)
    assert reply.get(b"proto") == 3
    assert raw.do("GET", "no such key") is None
    raw.send(encode("GET", "no such key"))
    assert raw.read_raw()[1] == b"_\r\n"
    reply = raw.do("HELLO", "2")
    assert isinstance(reply, list) and not isinstance(reply, Map)
    raw.send(encode("GET", "no such key"))
    assert raw.read_raw()[1] == b"$-1\r\n"


RESP3_VALUES = [
    ("string", b"Hello World", b"Hello World"),
    ("integer", 12345, 12345),
    ("double", b"3.141", 3.141),
    ("null", None, None),
    ("array", [0, 1, 2], [0, 1, 2]),
    ("set", [0, 1, 2], Set([0, 1, 2])),
    ("map", [0, 0, 1, 1, 2, 0], Map([(0, False), (1, True), (2, False)])),
    ("bignum", b"1234567999999999999999999999999999999", BigNumber(1234567999999999999999999999999999999)),
    ("true", 1, True),
    ("false", 0, False),
    ("verbatim", b"This is a verbatim\nstring", Verbatim(b"txt:This is a verbatim\nstring")),
]


@pytest.mark.parametrize("name, resp2, resp3", RESP3_VALUES, ids=[v[0] for v in RESP3_VALUES])
def test_every_type_in_both_protocols(server, name, resp2, resp3):
    with server.raw() as c:
        got = c.do("DEBUG", "PROTOCOL", name)
        assert got == resp2 and type(got) is type(resp2)
        c.do("HELLO", "3")
        got = c.do("DEBUG", "PROTOCOL", name)
        assert got == resp3 and type(got) is type(resp3)


def test_push_only_in_resp3(raw):
    assert raw.do("DEBUG", "PROTOCOL", "push") == RespError("ERR RESP2 is not supported by this command")
    raw.do("HELLO", "3")
    raw.send(encode("DEBUG", "PROTOCOL", "push"))
    got = raw.read_some(2)
    assert got[0] == b"Some real reply following the push reply"
    assert isinstance(got[1], Push)
    assert got[1] == [b"server-cpu-usage", 42]


def test_attributes_in_resp3(raw):
    raw.do("HELLO", "3")
    raw.send(encode("DEBUG", "PROTOCOL", "attrib") + encode("PING"))
    value, sent = raw.read_raw()
    assert sent.startswith(b"|1\r\n")
    assert raw.read() == "PONG"


def test_error_replies_hold_no_line_breaks(raw):
    """N requests give N replies, whatever bytes an error or status repeats."""
    evil = "a\r\n+INJECTED\r\n"
    raw.send(
        encode("no" + evil, evil)
        + encode("DEBUG", "ERROR", evil)
        + encode("CLIENT", evil)
        + encode("CONFIG", "SET", evil, evil)
        + encode("OBJECT", evil, "x")
        + encode("ECHO", "done")
    )
    got = raw.read_some(6)
    assert all(isinstance(reply, RespError) for reply in got[:5])
    assert got[5] == b"done"
    assert "\r" not in got[0].text and "\n" not in got[0].text


def test_info_is_verbatim_in_resp3(raw):
    raw.do("HELLO", "3")
    got = raw.do("INFO", "server")
    assert isinstance(got, Verbatim) and got.startswith(b"txt:# Server\r\n")


def test_null_in_an_array(raw):
    raw.send(encode("COMMAND", "INFO", "nosuchcommand"))
    assert raw.read_raw() == ([None], b"*1\r\n$-1\r\n")
    raw.do("HELLO", "3")
    raw.send(encode("COMMAND", "INFO", "nosuchcommand"))
    assert raw.read_raw() == ([None], b"*1\r\n_\r\n")


# ---- unknown commands and arity ---------------------------------------------------------------------------------------


def test_unknown_command_text(raw):
    assert raw.do("foo", "bar", "baz") == (
        "ERR unknown command 'foo', with args beginning with: 'bar' 'baz' "
    )
    assert raw.do("client", "foo") == "ERR unknown subcommand 'foo'. Try CLIENT HELP."
    assert raw.do("get") == "ERR wrong number of arguments for 'get' command"
    assert raw.do("client", "setname") == "ERR wrong number of arguments for 'client|setname' command"
    assert isinstance(raw.do("x" * 200, "y" * 200), RespError)
    assert isinstance(raw.do("ping", "a", "b"), RespError)
    assert isinstance(raw.do("PING"), Simple)
