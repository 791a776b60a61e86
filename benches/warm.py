#!/usr/bin/env python3
"""Warm starts of the examples, bundle and plain virtualenv strictly in turn, with nothing between them.

    benches/warm.py --coil target/release/coil [--python PYTHON] [--cache-dir DIR] [--only EXAMPLE]

run.py measures warm starts soon after cold ones, whose files the system is still writing to the disk. Here no start
unpacks anything, and each ratio is that of two neighbours: for each start the median (quartiles) of the time on the
clock, and the median of the processor's time, bundle / virtualenv. Needs Python 3.9 or newer; the examples and their
virtualenvs are those of run.py.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import run


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="coil-warm-", dir=options.cache_dir) as work:
        for example in run.EXAMPLES:
            if example.starts and (not options.only or example.name in options.only):
                measure(options, example, Path(work) / example.name)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coil", type=Path, required=True, help="the coil binary, built with --release")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is packed (default: this one)")
    parser.add_argument("--cache-dir", type=Path, default=Path("/dev/shm"), help="where everything is (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="starts of each kind (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="EXAMPLE", help="only this example; may be repeated")
    options = parser.parse_args()
    options.coil = options.coil.resolve()
    return options


def measure(options, example, work):
    work.mkdir()
    bench = run.Bench(options, example, work)
    pack = [options.coil, "pack", bench.source / example.project, "-o", bench.bundle, "--python", options.python, "-q"]
    run.run(pack, bench.source, {**os.environ, "COIL_CACHE": str(bench.packer_cache)})
    environment = {**os.environ, "COIL_CACHE": str(bench.cache)}
    os.chdir(bench.source)
    for start in example.starts:
        program = work / start.program
        if not program.is_symlink():
            program.symlink_to(bench.bundle)
        commands = [[program, *start.arguments], [bench.virtualenv / start.virtualenv[0], *start.virtualenv[1:]]]
        times = [[], []]
        for number in range(options.rounds + 2):
            for which in (0, 1) if number % 2 else (1, 0):
                taken = started(commands[which], environment)
                if number >= 2:  # the first ones unpack, and fill the page cache
                    times[which].append(taken)
        clock, processor = ([one[kind] / other[kind] for one, other in zip(*times)] for kind in (0, 1))
        low, middle, high = statistics.quantiles(clock, n=4)
        print(f"{start.title}: {middle:.3f} ({low:.2f}..{high:.2f}), processor {statistics.median(processor):.3f}", flush=True)


def started(command, environment):
    """Seconds on the clock and of the processor that a start takes."""
    null = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (1, 2)]
    begun = time.perf_counter()
    process = os.posix_spawn(command[0], list(map(str, command)), environment, file_actions=null)
    _, status, usage = os.wait4(process, 0)
    taken = time.perf_counter() - begun
    if status:
        sys.exit(f"{command} ended with {status}")
    return taken, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
