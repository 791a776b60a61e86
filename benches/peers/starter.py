"""Starts programs and measures them: run as `python -I -S starter.py`, told what to start on standard input.

It is a process of its own, and imports nothing but what is inside the interpreter, because the kernel counts
the memory of whoever starts a program as the program's until its `exec`: what uses less than this small
process would seem to use as much.
"""

import marshal
import posix
import sys
import time

OUTPUT = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC


def start(order):
    """Nanoseconds, wait status, peak memory in KiB (the largest process of the tree), processor seconds."""
    posix.chdir(order["directory"])
    files = [
        (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
        (posix.POSIX_SPAWN_OPEN, 1, order["stdout"], OUTPUT, 0o644),
        (posix.POSIX_SPAWN_OPEN, 2, order["stderr"], OUTPUT, 0o644),
    ]
    began = time.perf_counter_ns()
    child = posix.posix_spawn(order["command"][0], order["command"], order["environment"], file_actions=files)
    _, status, used = posix.wait4(child, 0)
    return time.perf_counter_ns() - began, status, used.ru_maxrss, used.ru_utime + used.ru_stime


def main():
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            order = marshal.load(orders)
        except EOFError:
            return
        marshal.dump(start(order), answers)
        answers.flush()


main()
