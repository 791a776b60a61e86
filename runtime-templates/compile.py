"""Compiles Python sources into byte code, for coil's `bytecode` module.

Standard input holds chunks of requests, standard output the answers, in the same order, until the input
ends. Whoever asks waits for all answers to a chunk before the next one is sent. All numbers are 4 bytes,
the least significant first.

    chunk:    the number of requests, more by LAST if no other chunk will follow; requests
    request:  length of the name, name (UTF-8), length of the source, source
    answer:   0, length of the byte code, byte code     -- a whole .pyc file, unchecked-hash (PEP 552)
              1, length of the text, text (UTF-8)       -- why there is none

The bytes must be the same in every run: nothing of the environment, no time and no path of this machine
may get into them. So this file imports as little as it can, and only from the standard library. Whoever runs it adds a call of `main`.

What marshal writes also depends on what the process has compiled before. So every chunk is compiled by a
child, forked off a process that has compiled nothing, and reads no more of a chunk than its first number.
The last one needs no child.

`compile` makes the classes of the syntax tree when it is called for the first time, which takes longer than most files do.
`exec` compiles the same and needs none of them; before it runs anything, it asks who listens to audit events (PEP 578),
and the listener here takes what is compiled, and refuses.
"""

import sys

# The first entry is this file's directory, or with `-c` the working directory: nothing is imported from there.
del sys.path[0]

import marshal
import posix
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import _fix_co_filename, source_hash

LAST = 1 << 31
MAGIC = int.from_bytes(MAGIC_NUMBER, "little")
# How every .pyc file begins whose hash is not checked.
HEAD = MAGIC_NUMBER + b"\1\0\0\0"

# Before Python 3.11, `compile_sorted.py` follows this file and puts another one in its place.
marshalled = marshal.dumps


def number(value):
    return value.to_bytes(4, "little", signed=value < 0)


def read_block():
    read = sys.stdin.buffer.read
    return read(int.from_bytes(read(4), "little"))


# What `exec` has compiled and did not run.
taken = []


def take(event, arguments):
    # What is imported for a source, such as its codec, is run: then another function has called.
    if event == "exec" and sys._getframe(1).f_code is compiled.__code__:
        taken.append(arguments[0])
        raise InterruptedError


def compiled(source, name):
    taken.clear()
    try:
        if is_asked:
            exec(source, {})
    except Exception:
        pass
    if taken:
        _fix_co_filename(taken[0], name)
        return taken[0]
    # Whatever is wrong with the source, this says so with the file's name.
    return compile(source, name, "exec", dont_inherit=True, optimize=0)


sys.addaudithook(take)
# Where the hook is not asked, nothing but this is ever given to `exec`.
is_asked = True
compiled("", "")
is_asked = bool(taken)


def compile_chunk(count):
    for _ in range(count):
        name, source = read_block().decode(), read_block()
        try:
            kind, data = 0, HEAD + source_hash(MAGIC, source) + marshalled(compiled(source, name))
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error) or 'no reason is given'}"
            kind, data = 1, " ".join(reason.split()).encode("utf-8", "backslashreplace")
        sys.stdout.buffer.write(number(kind) + number(len(data)) + data)
        sys.stdout.buffer.flush()
    # Nothing is left to be written, and tidying up would take longer than a small chunk.
    posix._exit(0)


def main():
    # Nothing is read behind a chunk's number, which comes in one piece: the rest is for who compiles it.
    while data := posix.read(0, 4):
        count = int.from_bytes(data, "little")
        if count >= LAST:
            compile_chunk(count - LAST)
        child = posix.fork()
        if child == 0:
            compile_chunk(count)
        status = posix.waitpid(child, 0)[1]
        if status:
            # It ends as the child did, so that whoever asks sees the end of the answers, and why.
            if posix.WIFSIGNALED(status):
                posix.kill(posix.getpid(), posix.WTERMSIG(status))
            posix._exit(posix.WEXITSTATUS(status) or 1)
    posix._exit(0)
