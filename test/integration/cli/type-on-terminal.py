"""Runs a command on a terminal, and types: python3 type-on-terminal.py STEPS COMMAND...

STEPS is JSON, a list of {"size": [rows, columns]}, {"wait": text}, {"type": text} and {"signal": number}. Prints JSON: how the
command ended, what appeared, whether keys went to it one by one (raw) and whether the terminal is what it was before.
"""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time

steps = json.loads(sys.argv[1])
master, slave = os.openpty()


def resize(rows, columns):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


resize(24, 80)
before = termios.tcgetattr(slave)
command = subprocess.Popen(
    sys.argv[2:],
    stdin=slave,
    stdout=slave,
    stderr=slave,
    start_new_session=True,
    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
)
shown = b""
was_raw = False


def read(seconds):
    global shown, was_raw
    if select.select([master], [], [], seconds)[0]:
        shown += os.read(master, 65536)
    was_raw = was_raw or not termios.tcgetattr(slave)[3] & termios.ICANON


for step in steps:
    if "size" in step:
        resize(*step["size"])
    if "type" in step:
        os.write(master, step["type"].encode())
    if "signal" in step:
        command.send_signal(step["signal"])
    end = time.monotonic() + 30
    while "wait" in step and step["wait"].encode() not in shown and command.poll() is None and time.monotonic() < end:
        read(0.2)
end = time.monotonic() + 30
while command.poll() is None and time.monotonic() < end:
    read(0.2)
if command.poll() is None:
    command.kill()
while select.select([master], [], [], 0)[0]:
    read(0)
print(
    json.dumps(
        {
            "code": command.wait(),
            "shown": shown.decode(errors="replace"),
            "wasRaw": was_raw,
            "isRestored": termios.tcgetattr(slave) == before,
        }
    )
)
