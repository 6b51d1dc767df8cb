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
