"""Starts argv[1] from an interactive shell on a terminal and does what a user does there, as argv[2] wants it heard.

Prints what could not be heard, and everything that was written to the terminal."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

app, code = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    # Whoever runs the tests may ignore it, as shells do for what they run in the background.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.update(APP=app, CODE=code, PS1="$ ", ENV="", COIL_RUN="do")
    os.execv("/bin/sh", ["sh", "-i"])

heard = ""


def expect(pattern):
    """Waits until something is written that has not been read yet."""
    global heard
    end = time.monotonic() + 60
    while not (found := re.search(pattern, heard)):
        ready = select.select([terminal], [], [], max(0, end - time.monotonic()))[0]
        if not ready:
            sys.exit(f"{pattern!r} is not to be heard: {heard!r}")
        heard += os.read(terminal, 65536).decode(errors="replace")
    heard = heard[found.end():]


def type_in(text):
    os.write(terminal, text.encode())


def resize(lines, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


resize(24, 80)
type_in('"$APP" "$CODE"\n')
expect("ready True True 80 24")
type_in("hello\n")
expect("read hello")
resize(37, 91)
expect("size 91 37")
type_in("\x1a")
expect("(?i)stopped")
type_in("fg\n")
type_in("again\n")
expect("read again")
type_in("\x03")
expect("interrupted")
type_in("echo code $?\n")
expect("code 3")
type_in('"$APP" "$CODE" &\n')
# What is in the background is stopped when it reads.
type_in("wait; jobs\n")
expect("(?i)stopped.*tty input|stopped")
type_in("fg\n\x04")
expect("the end")
type_in("exit\n")
os.waitpid(child, 0)
print("all heard")
