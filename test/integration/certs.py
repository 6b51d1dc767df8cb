# SPDX-License-Identifier: BSD-3-Clause
"""certs: certificates for tests, made by the openssl program when they are first asked for.

A folder has an authority of its own: ca.crt; server, client, expired and others signed by it; `stranger`, signed by another.
"""

import functools
import os
import ssl
import subprocess
import tempfile


def _openssl(*args, stdin=None):
    subprocess.run(["openssl", *args], check=True, capture_output=True, input=stdin)


class Authority:
    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.name = name
        os.makedirs(folder, exist_ok=True)
        self._key(name)
        _openssl("req", "-x509", "-new", "-sha256", "-key", self.path(name + ".key"), "-days", "3650", "-subj", "/O=Shoal Test/CN=%s" % name,
                 "-out", self.path(name + ".crt"))  # fmt: skip

    def path(self, name):
        return os.path.join(self.folder, name)

    def _key(self, name, password=None):
        # Of an elliptic curve: quickly made, and as good here.
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path(name + ".key"))
        if password:
            _openssl("ec", "-in", self.path(name + ".key"), "-aes256", "-passout", "pass:" + password, "-out", self.path(name + ".locked"))

    def sign(self, name, subject=None, extensions="", expired=False, password=None):
        """Makes name.crt and name.key; with a password also name.locked, the key behind it. Returns the paths of the two."""
        self._key(name, password)
        _openssl("req", "-new", "-sha256", "-utf8", "-subj", subject or "/O=Shoal Test/CN=%s" % name, "-key", self.path(name + ".key"),
                 "-out", self.path(name + ".csr"))  # fmt: skip
        with open(self.path(name + ".ext"), "w") as f:
            f.write(extensions or "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        days = "-days", ("-1" if expired else "365")
        _openssl("x509", "-req", "-sha256", "-in", self.path(name + ".csr"), "-CA", self.path(self.name + ".crt"), "-CAkey",
                 self.path(self.name + ".key"), "-CAcreateserial", *days, "-extfile", self.path(name + ".ext"),
                 "-out", self.path(name + ".crt.new"))  # fmt: skip
        os.rename(self.path(name + ".crt.new"), self.path(name + ".crt"))
        return self.path(name + ".crt"), self.path(name + ".key")

    def serial(self, name):
        out = subprocess.run(["openssl", "x509", "-in", self.path(name + ".crt"), "-noout", "-serial"], check=True, capture_output=True, text=True)
        return out.stdout.strip().split("=")[1]


@functools.cache
def shared():
    """One authority for all tests of a run that change nothing of it."""
    folder = tempfile.TemporaryDirectory(prefix="shoal-certs-")
    authority = Authority(folder.name)
    authority.keep = folder
    for name in ("server", "client"):
        authority.sign(name)
    return authority


def server_config(authority=None, **more):
    """Directives of a server with these certificates; who connects need not show one."""
    authority = authority or shared()
    return {
        "tls-cert-file": authority.path("server.crt"),
        "tls-key-file": authority.path("server.key"),
        "tls-ca-cert-file": authority.path("ca.crt"),
        "tls-auth-clients": "no",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def client_context(authority=None, cert=None, version=None):
    """For Python's ssl; `cert` is the name of what is shown to the server, `version` the only one that is spoken."""
    authority = authority or shared()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority.path("ca.crt"))
    if cert:
        context.load_cert_chain(authority.path(cert + ".crt"), authority.path(cert + ".key"))
    if version:
        context.minimum_version = context.maximum_version = version
    return context

# ---- Certificates that openssl's program does not make ------------------------------------------------------------------

UTF8, PRINTABLE, T61, IA5, UNIVERSAL, BMP = 0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E
COMMON_NAME, UNIT = b"\x55\x04\x03", b"\x55\x04\x0b"


def der(tag, content):
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    size = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _parts(content):
    """The elements of a sequence: what stands before each, and each."""
    found = []
    while content:
        head, size = 2, content[1]
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(content[2:head], "big")
        found.append((content[:head], content[head : head + size]))
        content = content[head + size :]
    return found


def subject_of(*sets):
    """A name of sets of (what it is, tag of the text, text), as DER."""
    one = lambda oid, tag, text: der(0x30, der(0x06, oid) + der(tag, text))  # noqa: E731
    return der(0x30, b"".join(der(0x31, b"".join(one(*field) for field in fields)) for fields in sets))


def resign(authority, name, subject=None, replace=None):
    """A certificate that `authority` has signed gets another subject, or other bytes of the same length, and a signature that is right."""
    path = authority.path(name + ".crt")
    whole = ssl.PEM_cert_to_DER_cert(open(path).read())
    certificate = _parts(whole)[0][1]
    (_, tbs), (how_head, how), _ = _parts(certificate)
    parts = [head + body for head, body in _parts(tbs)]
    if subject is not None:
        parts[5] = subject
    tbs = b"".join(parts)
    if replace is not None:
        assert len(replace[0]) == len(replace[1]) and tbs.count(replace[0]) == 1
        tbs = tbs.replace(*replace)
    tbs = der(0x30, tbs)
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", authority.path(authority.name + ".key")], input=tbs, check=True, capture_output=True)
    with open(path, "w") as f:
        f.write(ssl.DER_cert_to_PEM_cert(der(0x30, tbs + how_head + how + der(0x03, b"\0" + signed.stdout))))
