"""Runs a command for which socket(AF_INET6) fails with EAFNOSUPPORT, as on a kernel with ipv6.disable=1 (seccomp, Linux)."""
import ctypes
import errno
import os
import platform
import socket
import struct
import sys

# linux/prctl.h, linux/filter.h, linux/seccomp.h, linux/audit.h; the number of socket(2).
NO_NEW_PRIVS, SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
ARCHITECTURE, SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}[platform.machine()]
# Of struct seccomp_data.
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16

program = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 0, 5, ARCHITECTURE),
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_EQUAL, 0, 3, SOCKET),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (JUMP_EQUAL, 0, 1, socket.AF_INET6),
        (RETURN, 0, 0, ERRNO | errno.EAFNOSUPPORT),
        (RETURN, 0, 0, ALLOW),
    ]
)
buffer = ctypes.create_string_buffer(program)
filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
for arguments in [(NO_NEW_PRIVS, 1, 0, 0, 0), (SET_SECCOMP, MODE_FILTER, filters, 0, 0)]:
    if prctl(*arguments) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
