# SPDX-License-Identifier: BSD-3-Clause
"""Somebody whom a server connects to."""

import socket
import threading

from resp import Incomplete, parse


class Target:
    """Somebody to migrate to, who answers as `script` says: (connection, request, words) -> bytes, or None: not at all, or
    "close"."""

    def __init__(self, script=lambda connection, request, words: b"+OK\r\n"):
        self.script = script
        self.requests = []  # (connection, words)
        self.ended = []  # connections that the other side has ended
        self.socks = []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = str(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)  # else its thread waits in accept() for ever
        self.listener.close()
        for sock in self.socks:
            sock.close()

    def _accept(self):
        try:
            while True:
                sock, _ = self.listener.accept()
                self.socks.append(sock)
                threading.Thread(target=self._serve, args=(len(self.socks) - 1, sock), daemon=True).start()
        except OSError:
            pass

    def _serve(self, number, sock):
        buf, count = b"", 0
        try:
            while True:
                data = sock.recv(1 << 16)
                if not data:
                    self.ended.append(number)
                    return
                buf += data
                while buf:
                    try:
                        words, end = parse(buf)
                    except Incomplete:
                        break
                    buf = buf[end:]
                    self.requests.append((number, words))
                    answer = self.script(number, count, words)
                    count += 1
                    if answer == "close":
                        sock.close()
                        return
                    if answer:
                        sock.sendall(answer)
        except OSError:
            self.ended.append(number)

    def names(self):
        return [words[0].decode() for _, words in self.requests]
