#!/usr/bin/env python3
"""Measures what packing costs: the examples as bundles against the same apps in plain virtualenvs.

    benches/run.py --coil target/release/coil [--python PYTHON] [--write TABLES.md]

Needs hyperfine and Python 3.9 or newer. The virtualenvs and bundles of one example are started in
turn, round after round, so that a machine that gets slower or faster in between favours nobody.

    cold   a bundle's start after its cache was emptied: it unpacks everything first
    warm   every later start
    first  packing with the packer's cache emptied (the caches of pip and uv are left alone)
    again  packing after one line of the app has changed
    twice  copying the bundle two times with `cp`: what packing again should not be slower than
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.dont_write_bytecode = True

from read_bundle import sections  # noqa: E402

import django_thirty  # noqa: E402
from common import ROOT, run, spread  # noqa: E402


@dataclass
class Start:
    """One way to start an example: in the virtualenv, and as a bundle (started by the name `program`)."""

    title: str
    virtualenv: list
    program: str
    arguments: list = field(default_factory=list)


@dataclass
class Example:
    name: str
    project: str  # what is packed, below the copy of the example
    requirements: list  # what pip installs into the virtualenv
    changes: str  # the file that gets one more line before it is packed again
    starts: list
    made: bool = False  # by django_thirty.py, and not one of the examples
    in_git: bool = False  # a work tree of its own, all of it committed before the first pack


EXAMPLES = [
    Example("hello", ".", [], "hello.py", [Start("hello", ["bin/python", "hello.py"], "hello")]),
    Example(
        "flask-cli",
        ".",
        ["."],
        "src/flask_cli/site.py",
        [
            Start("flask-cli --version", ["bin/flask-cli", "--version"], "flask-cli", ["--version"]),
            Start("flask-cli check", ["bin/flask-cli", "check"], "flask-cli", ["check"]),
        ],
    ),
    Example(
        "django-site",
        ".",
        ["-r", "requirements.txt"],
        "guestbook/views.py",
        [Start("manage check", ["bin/python", "manage.py", "check"], "manage", ["check"])],
    ),
    Example(
        "science",
        "science.py",
        ["numpy>=1.26", "pandas>=2.2"],
        "science.py",
        [Start("science", ["bin/python", "science.py"], "science")],
    ),
    Example("django, 30 wheels", ".", [], "guestbook/views.py", [], made=True),
    Example("the same in git", ".", [], "guestbook/views.py", [], made=True, in_git=True),
]


def main():
    options = parse()
    load = os.getloadavg()[0]
    # Virtualenvs, bundles and caches are all on one file system: what is compared is not the disks.
    with tempfile.TemporaryDirectory(prefix="coil-bench-", dir=options.cache_dir) as work:
        starts, packs = [], []
        for example in EXAMPLES:
            if options.only and example.name not in options.only:
                continue
            print(f"--- {example.name}", file=sys.stderr)
            bench = Bench(options, example, Path(work) / example.name.split()[0].strip(","))
            packs.append(bench.measure_packs())
            starts.extend(bench.measure_starts())
    text = "\n".join([*start_table(starts), "", *pack_table(packs), "", *conditions(options, packs, load)]) + "\n"
    print(text, end="")
    if options.write:
        options.write.write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coil", type=Path, required=True, help="the coil binary, built with --release")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is packed (default: this one)")
    parser.add_argument("--cache-dir", type=Path, default=Path("/dev/shm"), help="where virtualenvs, bundles and caches are (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of starts (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=4, help="runs of each start in a round (default: %(default)s)")
    parser.add_argument("--packs", type=int, default=3, help="runs of each way to pack (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="EXAMPLE", help="only this example; may be repeated")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables to this file, too")
    options = parser.parse_args()
    options.coil = options.coil.resolve()
    for tool in ("hyperfine", str(options.coil)):
        if not shutil.which(tool):
            parser.error(f"{tool} is not there or cannot be executed")
    if not options.cache_dir.is_dir() or os.statvfs(options.cache_dir).f_flag & os.ST_NOEXEC:
        parser.error(f"{options.cache_dir} is missing or mounted noexec; name another place with --cache-dir")
    return options


class Bench:
    """One example with its own copy of the sources, its virtualenv and its bundle."""

    def __init__(self, options, example, work):
        self.options, self.example, self.work = options, example, work
        self.source, self.virtualenv, self.bundle = work / "source", work / "virtualenv", work / "bundle"
        self.cache, self.packer_cache = work / "cache", work / "packer-cache"
        if example.made:
            django_thirty.make(self.source)
        else:
            leave = shutil.ignore_patterns("__pycache__", "*.sqlite3", ".venv")
            shutil.copytree(ROOT / "examples" / example.name, self.source, ignore=leave)
        if example.in_git:
            somebody = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
            for words in (["init", "--quiet"], ["add", "."], [*somebody, "commit", "--quiet", "-m", "All"]):
                run(["git", *words], self.source)
        if example.starts:
            self.make_virtualenv()

    def make_virtualenv(self):
        run([self.options.python, "-m", "venv", self.virtualenv])
        python = self.virtualenv / "bin/python"
        if self.example.requirements:
            run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.example.requirements], self.source)
        run([python, "-m", "compileall", "-q", self.virtualenv / "lib", self.source])

    def measure_packs(self):
        pack = [self.options.coil, "pack", self.source / self.example.project, "-o", self.bundle, "--python", self.options.python]
        empty = ["rm", "-rf", self.packer_cache]
        change = ["sh", "-c", f"echo '# one more line' >> {shlex.quote(str(self.source / self.example.changes))}"]
        first = self.hyperfine(self.packer_cache, self.options.packs, [(empty, pack)])
        copies = [f"{self.bundle}-{number}" for number in (1, 2)]
        copy = ["sh", "-c", "; ".join(shlex.join(["cp", str(self.bundle), copy]) for copy in copies)]
        # In turn: what else the machine does hits both.
        rounds = [
            self.hyperfine(self.packer_cache, self.options.packs, [(change, pack), (["rm", "-f", *copies], copy)])
            for _ in range(self.options.rounds)
        ]
        again, twice = ([one[which] for one in rounds] for which in range(2))
        with open(self.bundle, "rb") as file:
            launcher = sections(file.read())[".coil.layers"][0]
        return {
            "example": self.example.name,
            "first": first[0],
            "again": again,
            "twice": twice,
            "bundle": self.bundle.stat().st_size,
            "launcher": launcher,
        }

    def measure_starts(self):
        return [self.measure_start(start) for start in self.example.starts]

    def measure_start(self, start):
        program = self.work / "programs" / start.program
        program.parent.mkdir(exist_ok=True)
        if not program.is_symlink():
            program.symlink_to(self.bundle)
        virtualenv = [self.virtualenv / start.virtualenv[0], *start.virtualenv[1:]]
        bundle = [program, *start.arguments]
        empty, nothing = ["rm", "-rf", self.cache], ["true"]
        rounds = [
            self.hyperfine(self.cache, self.options.runs, [(nothing, virtualenv), (empty, bundle), (nothing, bundle)], 1)
            for _ in range(self.options.rounds)
        ]
        virtualenv, cold, warm = ([one[which] for one in rounds] for which in range(3))
        return {"title": start.title, "virtualenv": virtualenv, "cold": cold, "warm": warm}

    def hyperfine(self, cache, runs, prepared, warmup=0):
        """The times in seconds of each command, which is preceded by its preparation."""
        result = self.work / "hyperfine.json"
        arguments = ["hyperfine", "-N", "--runs", runs, "--warmup", warmup, "--export-json", result]
        for prepare, _ in prepared:
            arguments += ["--prepare", shlex.join(map(str, prepare))]
        arguments += [shlex.join(map(str, command)) for _, command in prepared]
        if cache == self.packer_cache:
            arguments.append("--show-output")  # so that a pack that fails says why
        run(arguments, self.source, {**os.environ, "COIL_CACHE": str(cache)})
        return [measured["times"] for measured in json.loads(result.read_text())["results"]]


def start_table(starts):
    yield "| start, ms | virtualenv | warm | warm / virtualenv | cold | cold / virtualenv |"
    yield "|---|---|---|---|---|---|"
    for start in starts:
        cells = [f"`{start['title']}`"]
        for kind in ("virtualenv", "warm", "cold"):
            cells.append(spread([1000 * seconds for one in start[kind] for seconds in one], "{:.1f}"))
            if kind != "virtualenv":
                # A ratio for each round, because only what was measured together can be compared.
                pairs = zip(start[kind], start["virtualenv"])
                cells.append(spread([statistics.median(a) / statistics.median(b) for a, b in pairs], "{:.2f}"))
        yield f"| {' | '.join(cells)} |"


def pack_table(packs):
    yield "| pack, s | first | again, one line changed | copying twice | again / copying twice | bundle, MB |"
    yield "|---|---|---|---|---|---|"
    for pack in packs:
        cells = [pack["example"], spread(pack["first"], "{:.2f}")]
        cells += [spread([seconds for one in pack[kind] for seconds in one], "{:.3f}") for kind in ("again", "twice")]
        pairs = zip(pack["again"], pack["twice"])
        cells.append(spread([statistics.median(a) / statistics.median(b) for a, b in pairs], "{:.2f}"))
        yield f"| {' | '.join(cells)} | {pack['bundle'] / 1e6:.1f} |"


def conditions(options, packs, load):
    version = subprocess.check_output([options.python, "-c", "import platform; print(platform.python_version())"], text=True).strip()
    hyperfine = subprocess.check_output(["hyperfine", "--version"], text=True).strip()
    yield "Median (min..max). A virtualenv's byte code is compiled before it is measured."
    yield f"Python {version}, {os.cpu_count()} cores, {platform.machine()}, everything on {options.cache_dir}, {hyperfine}, load {load:.1f} at the start."
    if packs:
        yield f"The launcher is {packs[0]['launcher']:,} bytes of every bundle."


if __name__ == "__main__":
    main()
