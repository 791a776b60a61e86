#!/usr/bin/env python3
"""Measures what the launcher costs on a warm start, to the microsecond.

    benches/launcher.py BUNDLE [--virtualenv DIR SCRIPT...] [--runs 500]

Needs a C compiler that can link statically. A small C program starts the commands in turn, round after round, on one core,
so that what else the machine does hits all of them; of many runs the lowest twentieth says what a start costs.

    nothing   a static program that returns at once
    launcher  the bundle, in whose environment the interpreter was replaced by `nothing`: launcher and `nothing`
    alone     the difference: what the launcher adds to what it starts

With --virtualenv the same app is started there (DIR/bin/python SCRIPT...) and as the bundle.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NOTHING = "int main(void) { return 0; }\n"

LOOP = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* loop RUNS COMMAND... -- COMMAND...: prints a line of microseconds for each command. */
int main(int count, char **words) {
    int runs = atoi(words[1]), commands = 0, at = 2;
    char **starts[16];
    while (at < count && commands < 16) {
        starts[commands++] = words + at;
        while (at < count && strcmp(words[at], "--") != 0) at++;
        if (at < count) words[at++] = NULL;
    }
    int null = open("/dev/null", O_RDWR);
    double *times = calloc((size_t)runs * commands, sizeof *times);
    for (int run = -3; run < runs; run++) {
        for (int turn = 0; turn < commands; turn++) {
            int which = (turn + (run > 0 ? run : 0)) % commands, status = 0;
            struct timespec begin, end;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            pid_t child = vfork();
            if (child == 0) {
                dup2(null, 1);
                execve(starts[which][0], starts[which], environ);
                _exit(127);
            }
            waitpid(child, &status, 0);
            clock_gettime(CLOCK_MONOTONIC, &end);
            if (status != 0) return fprintf(stderr, "%s ended with %x\n", starts[which][0], status), 1;
            if (run >= 0)
                times[which * runs + run] =
                    (end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) / 1e3;
        }
    }
    for (int which = 0; which < commands; which++) {
        for (int run = 0; run < runs; run++) printf("%.1f ", times[which * runs + run]);
        printf("\n");
    }
    return 0;
}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--virtualenv", nargs="+", metavar=("DIR", "SCRIPT"))
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--cache-dir", type=Path, help="where caches are: on the file system of the virtualenv's interpreter")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coil-launcher-", dir=options.cache_dir) as work:
        measure(options, Path(work).resolve())


def measure(options, work):
    for name, text, flags in (("nothing", NOTHING, ["-static"]), ("loop", LOOP, [])):
        (work / f"{name}.c").write_text(text)
        subprocess.run(["cc", "-O2", *flags, "-o", work / name, work / f"{name}.c"], check=True)
    # A link of its own, so that it is called like the file and starts the default.
    bundle = options.bundle.resolve()
    cache, hollow = work / "cache", work / "hollow"
    started = {**os.environ, "COIL_CACHE": str(cache)}
    subprocess.run([bundle], env=started, stdout=subprocess.DEVNULL, check=True)
    make_hollow(cache, hollow, work / "nothing")
    nothing, launcher = loop(work, options.runs, hollow, [[work / "nothing"], [bundle]])
    alone = launcher - nothing
    print(f"nothing   {nothing:8.0f} us")
    print(f"launcher  {launcher:8.0f} us  {launcher / nothing:5.2f} of nothing, the exec of nothing included")
    print(f"alone     {alone:8.0f} us  {alone / nothing:5.2f} of nothing")
    if options.virtualenv:
        directory, *script = options.virtualenv
        commands = [[Path(directory) / "bin/python", *script], [bundle]]
        plain, warm = loop(work, max(20, options.runs // 10), cache, commands)
        print(f"virtualenv {plain / 1e3:8.2f} ms\nwarm       {warm / 1e3:8.2f} ms  {warm / plain:5.3f} of the virtualenv")


def make_hollow(cache, hollow, nothing):
    """A cache whose environments start `nothing`, whatever the command."""
    hollow.mkdir(mode=0o700)
    for environment in (cache / "envs").iterdir():
        place = hollow / "envs" / environment.name
        (place / "run").mkdir(parents=True)
        record = (environment / ".launch").read_bytes()
        (place / ".launch").write_bytes(record.replace(os.fsencode(cache), os.fsencode(hollow)))
        for command in (environment / "run").iterdir():
            shutil.copy(nothing, place / "run" / command.name)
    for layer in (cache / "layers").iterdir():
        (hollow / "layers" / layer.name).mkdir(parents=True)


def loop(work, runs, cache, commands):
    """The lowest twentieth of the times of each command, in microseconds."""
    words = [str(word) for command in commands for word in ("--", *command)][1:]
    pinned = {os.sched_getaffinity(0).pop()}
    environment = {**os.environ, "COIL_CACHE": str(cache)}
    told = subprocess.run(
        [work / "loop", str(runs), *words],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, pinned),
    ).stdout
    return [sorted(map(float, line.split()))[runs // 20] for line in told.splitlines()]


if __name__ == "__main__":
    main()
