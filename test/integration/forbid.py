# SPDX-License-Identifier: BSD-3-Clause
"""forbid: runs a program for which a system call fails, as in a container with a policy.

    python3 forbid.py CALL ERRNO [ARG==VALUE | ARG>=VALUE ...] -- program arguments

Those calls fail with ERRNO (a name) whose arguments, counted from 0, are as said; without such words all do.
"""

import ctypes
import errno
import os
import platform
import re
import struct
import sys

NUMBERS = {
    "x86_64": {"epoll_ctl": 233, "setsockopt": 54},
    "aarch64": {"epoll_ctl": 21, "setsockopt": 208},
}
NUMBERS_OF_ALL = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


def number_of(call):
    return NUMBERS_OF_ALL.get(call) or NUMBERS.get(platform.machine(), {}).get(call)


def program(call, error, conditions):
    """Each condition that does not hold jumps to the last instruction, which allows."""
    tests = [(0, JUMP_EQUAL, number_of(call))]
    for condition in conditions:
        arg, how, value = re.fullmatch(r"(\d)(==|>=)(\d+)", condition).groups()
        tests.append((16 + 8 * int(arg), JUMP_EQUAL if how == "==" else JUMP_AT_LEAST, int(value)))
    code = []
    for i, (offset, jump, value) in enumerate(tests):
        code.append((LOAD, 0, 0, offset))
        code.append((jump, 0, 2 * (len(tests) - 1 - i) + 1, value))
    code.append((RETURN, 0, 0, FAIL | getattr(errno, error)))
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def install(code):
    libc = ctypes.CDLL(None, use_errno=True)
    text = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(text)))
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)):
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def prefix(call, error, *conditions):
    """The words to put before a command line."""
    return [sys.executable, os.path.abspath(__file__), call, error, *conditions, "--"]


if __name__ == "__main__":
    end = sys.argv.index("--")
    install(program(sys.argv[1], sys.argv[2], sys.argv[3:end]))
    os.execv(sys.argv[end + 1], sys.argv[end + 1 :])
