# SPDX-License-Identifier: BSD-3-Clause
"""Users that certificates name: what stands in one is what a stranger may have chosen, as far as his authority let him."""

import pytest

import certs
from certs import BMP, COMMON_NAME, IA5, PRINTABLE, T61, UNIT, UNIVERSAL, UTF8, client_context, resign, subject_of
from resp import RespError
from test_tls import TlsRaw, start

pytestmark = [pytest.mark.plain_port, pytest.mark.row_once]

LONG = "n" * 2048  # as long as a name of SPIFFE may be
USERS = ["alice", "Ünï", "a*", LONG, LONG * 3]


def cn(text, tag=UTF8):
    return (COMMON_NAME, tag, text)


# What the certificate's subject is, and who its client is then: None, nobody. Valkey takes the first of two names, names of any
# length, and none of two or four bytes a letter.
SUBJECTS = {
    "plain": ([[cn(b"alice")]], "alice"),
    "printable": ([[cn(b"alice", PRINTABLE)]], "alice"),
    "ia5": ([[cn(b"alice", IA5)]], "alice"),
    "t61": ([[cn(b"alice", T61)]], "alice"),
    "bmp": ([[cn("alice".encode("utf-16-be"), BMP)]], "alice"),
    "universal": ([[cn("alice".encode("utf-32-be"), UNIVERSAL)]], "alice"),
    "utf-8": ([[cn("Ünï".encode())]], "Ünï"),
    "bmp of utf-8": ([[cn("Ünï".encode("utf-16-be"), BMP)]], "Ünï"),
    "default": ([[cn(b"default")]], "default"),
    "off": ([[cn(b"off")]], None),
    "no such user": ([[cn(b"nobody")]], None),
    "behind others": ([[(UNIT, UTF8, b"alice")], [cn(b"nobody")]], None),
    "with others": ([[(UNIT, UTF8, b"nobody")], [cn(b"alice")]], "alice"),
    "no cn": ([[(UNIT, UTF8, b"alice")]], None),
    "no subject": ([], None),
    "empty": ([[cn(b"")]], None),
    "nul behind": ([[cn(b"alice\0")]], None),
    "nul and more": ([[cn(b"alice\0.example.org")]], None),
    "nul before": ([[cn(b"\0alice")]], None),
    "nul inside": ([[cn(b"ali\0ce")]], None),
    "nul only": ([[cn(b"\0")]], None),
    "nul in bmp": ([[cn("alice\0x".encode("utf-16-be"), BMP)]], None),
    "other case": ([[cn(b"Alice")]], None),
    "blank before": ([[cn(b" alice")]], None),
    "blank behind": ([[cn(b"alice ")]], None),
    "line behind": ([[cn(b"alice\n")]], None),
    "all": ([[cn(b"*")]], None),
    "some": ([[cn(b"ali*")]], None),
    "name with a star": ([[cn(b"a*")]], "a*"),
    "two": ([[cn(b"alice")], [cn(b"nobody")]], None),
    "two, the other way": ([[cn(b"nobody")], [cn(b"alice")]], None),
    "twice the same": ([[cn(b"alice")], [cn(b"alice")]], None),
    "two in a set": ([[cn(b"alice"), cn(b"nobody")]], None),
    "long": ([[cn(LONG.encode())]], LONG),
    "longer": ([[cn(LONG.encode() * 3)]], None),
    "huge": ([[cn(b"alice" * 3000)]], None),
    "rule": ([[cn(b"alice on nopass ~* +@all")]], None),
}

URIS = {
    "one": ("URI:alice", None, "alice"),
    "second": ("URI:urn:nobody,URI:alice", None, "alice"),
    "behind who is off": ("URI:off,URI:default", None, "default"),
    "a name of a host": ("DNS:alice", None, None),
    "an address of mail": ("email:alice", None, None),
    "a host and none": ("DNS:alice,URI:nobody", None, None),
    "nul and more": ("URI:alice0evil", (b"alice0evil", b"alice\0evil"), None),
    "nul behind": ("URI:alice.", (b"alice.", b"alice\0"), None),
    "other case": ("URI:ALICE", None, None),
    "all": ("URI:*", None, None),
    "long": ("URI:" + LONG, None, LONG),
    "longer": ("URI:" + LONG * 3, None, None),
}


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    """One key for all."""
    authority = certs.Authority(str(tmp_path_factory.mktemp("users")))
    authority.sign("server")
    authority.sign("any")
    return authority


def server_of(start_server, authority, field):
    s = start(start_server, authority, tls_auth_clients="yes", requirepass="secret", tls_auth_clients_user=field, hide_user_data_from_log="no")
    with s.raw() as c:
        assert c.do("AUTH", "secret") == "OK"
        for name in USERS:
            assert c.do("ACL", "SETUSER", name, "on", "+@all", ">p") == "OK"
        assert c.do("ACL", "SETUSER", "off", "off", "+@all", "nopass") == "OK"
    return s


def who(s, authority, name):
    """None: whoever it is, he must give a password first."""
    with TlsRaw(s.tls_port, client_context(authority, name)) as c:
        said = c.do("ACL", "WHOAMI")
        if isinstance(said, RespError):
            assert said.args[0].startswith("NOAUTH")
            return None
        return said.decode()


@pytest.mark.shoal_only
def test_bug_42_common_names(start_server, makers):
    """Others took what is before a NUL for the name, or the first of several: an authority that signs names of hosts made users of them."""
    s = server_of(start_server, makers, "CN")
    wrong = {}
    original = open(makers.path("any.crt")).read()
    for case, (sets, wanted) in SUBJECTS.items():
        with open(makers.path("any.crt"), "w") as f:
            f.write(original)
        resign(makers, "any", subject=subject_of(*sets))
        got = who(s, makers, "any")
        if got != wanted:
            wrong[case] = got
    with open(makers.path("any.crt"), "w") as f:
        f.write(original)
    assert not wrong, "\n".join("%s: %s" % (k, str(v)[:40]) for k, v in wrong.items())
    with s.raw() as c:
        assert c.do("AUTH", "secret") == "OK" and c.do("PING") == "PONG"


@pytest.mark.shoal_only
def test_bug_42_addresses(start_server, makers):
    s = server_of(start_server, makers, "URI")
    wrong = {}
    for case, (names, replace, wanted) in URIS.items():
        makers.sign("uri", subject="/CN=alice", extensions="subjectAltName=" + names)
        if replace:
            resign(makers, "uri", replace=replace)
        got = who(s, makers, "uri")
        if got != wanted:
            wrong[case] = got
    assert not wrong, "\n".join("%s: %s" % (k, str(v)[:40]) for k, v in wrong.items())
