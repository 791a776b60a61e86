#!/usr/bin/env python3
"""Measures what `--level`, `--small` and `--fast` buy: size against the time of packing and of the first start, on the examples.

    benches/levels.py --coil target/release/coil [--python PYTHON] [--write TABLE.md]

`pack` is the processor time of a whole first pack (with pip's and uv's caches filled), in seconds: it does not
depend on what else the machine is doing, and all cores share it. `start` is the median of cold starts, in
milliseconds, and `unpack` the processor time of one. Every level packs and starts in turn, round after round.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USUAL = "9"
WAYS = {level: ["--level", level] for level in ["1", "3", "6", USUAL, "12", "15", "19", "22"]}
WAYS |= {"-5": ["--level", "-5"], "--small": ["--small"], "--fast": ["--fast"]}
# The project below examples/, and the words of a start that does something and ends.
EXAMPLES = {
    "hello": ("hello", [], {}),
    "flask-cli": ("flask-cli", ["--version"], {}),
    "django-site": ("django-site", ["check"], {"COIL_RUN": "manage"}),
    "science": ("science/science.py", [], {}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coil", type=Path, required=True, help="the coil binary, built with --release")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is packed (default: this one)")
    parser.add_argument("--cache-dir", type=Path, default=Path("/dev/shm"), help="where everything is made (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="cold starts of each bundle (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="EXAMPLE", help="only this example; may be repeated")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS), help=f"of {', '.join(WAYS)}; {USUAL} must be among them (default: all)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to this file, too")
    options = parser.parse_args()
    lines = ["| | `--level` | bundle, MB | of level 9 | first pack, s of processor | cold start, ms | unpacking, ms of processor |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name in options.only or EXAMPLES:
        with tempfile.TemporaryDirectory(prefix="coil-levels-", dir=options.cache_dir) as work:
            lines += table(options, name, Path(work))
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.write:
        options.write.write_text(text)


def table(options, name, work):
    project, words, variables = EXAMPLES[name]
    measured = {}
    for way in options.ways:
        print(f"--- {name}, {way}", file=sys.stderr)
        bundle, cache = work / f"{name} {way}", work / "packer"
        shutil.rmtree(cache, ignore_errors=True)
        command = [options.coil.resolve(), "pack", ROOT / "examples" / project, "-o", bundle, "--python", options.python, *WAYS[way], "--quiet"]
        seconds, _ = run(command, {"COIL_CACHE": str(cache)})
        measured[way] = (bundle.stat().st_size, seconds, [], [])
    for _ in range(options.starts):
        for way in options.ways:
            cache = work / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            cold = run([work / f"{name} {way}", *words], {"COIL_CACHE": str(cache), **variables})
            warm = run([work / f"{name} {way}", *words], {"COIL_CACHE": str(cache), **variables})
            measured[way][2].append(1000 * cold[1])
            measured[way][3].append(1000 * (cold[0] - warm[0]))
    usual = measured[USUAL][0]
    for way, (size, seconds, starts, unpacking) in measured.items():
        start, unpack = statistics.median(starts), statistics.median(unpacking)
        yield f"| {name} | {way} | {size / 1e6:.1f} | {size / usual:.3f} | {seconds:.1f} | {start:.0f} | {unpack:.0f} |"


def run(command, variables):
    """The processor time and the time of a command, in seconds, with all it started."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, **variables}
    ran = subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != 0:
        sys.exit(f"{command}\nended with {ran.returncode}:\n{ran.stdout}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


if __name__ == "__main__":
    main()
