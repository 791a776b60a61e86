#!/usr/bin/env python3
"""Packs and starts bundles that are larger than the numbers of old formats, and measures what that costs.

    benches/huge.py --coil target/release/coil [--python PYTHON] [--work DIR] [--write TABLE.md]

    small       one script
    files       a source tree of 70,000 files
    members     a wheel of 70,000 members (zip64: more than 65,535 of them)
    shared      two wheels that put 35,000 files each into one directory: 70,000 links in the environment
    wheel       a wheel with one member of 4.2 GiB (zip64: longer than 4 GiB), which compresses well
    tree        a source tree with one file of 4.2 GiB that does not compress: more than 4 GiB of payload

Everything is made here, by code and without chance, packed, started and removed again; DIR (default: the
directory for temporary files) needs about 15 GB. Every app counts or measures what it was packed with, and
the launcher compares every digest, so a bundle that starts is whole.

    pack        seconds of the first pack, and the most memory that coil or a program it started had at once
    cold        seconds of a start with an empty cache, and the most memory that the launcher had
    warm        later starts, each in turn with one of the small bundle
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

FILES = 70_000
LARGE = 4_300 << 20
BLOCK = 1 << 20


def main():
    options = parse()
    rows = []
    with tempfile.TemporaryDirectory(prefix="coil-huge-", dir=options.work) as work:
        work = Path(work)
        small = Case("small", make_small, "0", options, work)
        small.pack()
        small.start_cold()
        for name, make, printed in CASES:
            if options.only and name not in options.only:
                continue
            case = Case(name, make, printed, options, work)
            print(f"--- {name}", file=sys.stderr)
            case.pack()
            case.start_cold()
            for _ in range(options.runs):
                small.start_warm()
                case.start_warm()
            case.beside, small.warm = small.warm, []
            case.remove()
            rows.append(case)
        small.beside = small.warm = [small.start_warm() for _ in range(options.runs)]
        rows.insert(0, small)
    text = "\n".join([*table(rows), "", conditions(options)]) + "\n"
    print(text, end="")
    if options.write:
        options.write.write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coil", type=Path, required=True, help="the coil binary, built with --release")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is packed (default: this one)")
    parser.add_argument("--work", type=Path, help="where everything is made (default: the directory for temporary files)")
    parser.add_argument("--level", type=int, default=1, help="of compression (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=25, help="warm starts of each (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to this file, too")
    options = parser.parse_args()
    options.coil = options.coil.resolve()
    return options


def make_small(source):
    (source / "main.py").write_text("print(0)\n")
    return ["main.py"]


def make_files(source):
    for number in range(FILES):
        directory = source / "tree" / f"d{number // 200}"
        if number % 200 == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number}.txt").write_text(f"{number}\n")
    (source / "main.py").write_text(COUNTING.format(name="app/tree") + "main()\n")
    return ["--app", ".", "-e", "main.py"]


def make_members(source):
    with Wheel(source, "members") as wheel:
        wheel.add("members/__init__.py", COUNTING.format(name="members"))
        for number in range(FILES):
            wheel.add(f"members/d{number // 200}/f{number}.txt", f"{number}\n")
    return [wheel.path.name, "-e", "members:main"]


def make_shared(source):
    for half in range(2):
        with Wheel(source, f"half{half}") as wheel:
            wheel.add(f"half{half}/__init__.py", COUNTING.format(name="shared"))
            for number in range(half, FILES, 2):
                wheel.add(f"shared/f{number}.txt", f"{number}\n")
    return [f"half{half}-1.0-py3-none-any.whl" for half in range(2)] + ["-e", "half0:main"]


def make_wheel(source):
    with Wheel(source, "large") as wheel:
        wheel.add("large/__init__.py", MEASURING)
        # Deflated and compressed again it is small, and every block differs.
        wheel.add("large/data", (number.to_bytes(8, "big") * (BLOCK // 8) for number in range(LARGE // BLOCK)))
    return [wheel.path.name, "-e", "large:main"]


def make_tree(source):
    with open(source / "data", "wb") as file:
        for number in range(LARGE // BLOCK):
            file.write(random.Random(number).randbytes(BLOCK))
    (source / "main.py").write_text(MEASURING + "main()\n")
    return ["--app", ".", "-e", "main.py"]


COUNTING = """import os
def main():
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tree = os.path.join(above, {name!r})
    print(sum(name.endswith('.txt') for _, _, files in os.walk(tree) for name in files))
"""
MEASURING = """import os
def main():
    print(os.path.getsize(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data')))
"""

CASES = [
    ("files", make_files, str(FILES)),
    ("members", make_members, str(FILES)),
    ("shared", make_shared, str(FILES)),
    ("wheel", make_wheel, str(LARGE)),
    ("tree", make_tree, str(LARGE)),
]


class Wheel:
    """A wheel in the making; `with` it ends with its metadata and its RECORD."""

    def __init__(self, directory, name):
        self.name, self.path = name, directory / f"{name}-1.0-py3-none-any.whl"
        self.zip = zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self.record = []

    def add(self, path, content):
        """Adds a member: a text, or an iterable of blocks."""
        blocks = [content.encode()] if isinstance(content, str) else content
        digest, length = sha256(), 0
        member = zipfile.ZipInfo(path)
        member.compress_type = zipfile.ZIP_DEFLATED
        with self.zip.open(member, "w", force_zip64=not isinstance(content, str)) as member:
            for block in blocks:
                member.write(block)
                digest.update(block)
                length += len(block)
        text = urlsafe_b64encode(digest.digest()).decode().rstrip("=")
        self.record.append(f"{path},sha256={text},{length}\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        info = f"{self.name}-1.0.dist-info"
        self.add(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n")
        self.add(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        self.zip.writestr(f"{info}/RECORD", "".join(self.record) + f"{info}/RECORD,,\n")
        self.zip.close()


class Case:
    """One bundle with its sources, its cache and the packer's."""

    def __init__(self, name, make, printed, options, work):
        self.name, self.make, self.printed, self.options = name, make, printed, options
        self.work = work / name
        self.source, self.bundle = self.work / "source", self.work / name
        self.warm, self.beside = [], []
        self.source.mkdir(parents=True)

    def pack(self):
        words = self.in_child(self.make)
        command = [self.options.coil, "pack", *words, "--name", self.name, "-o", self.bundle, "--no-index"]
        command += ["--level", self.options.level, "--python", self.options.python, "--quiet"]
        self.packed, self.packer_memory, _ = self.run(command, "packer")
        self.size = self.bundle.stat().st_size
        # Room for what comes.
        shutil.rmtree(self.work / "packer")
        shutil.rmtree(self.source)
        self.source.mkdir()

    def start_cold(self):
        self.cold, self.launcher_memory, printed = self.run([self.bundle], "cache")
        if printed != self.printed:
            sys.exit(f"{self.name} printed {printed!r} instead of {self.printed!r}")
        self.files = sum(len(files) for _, _, files in os.walk(self.work / "cache"))

    def start_warm(self):
        seconds, _, _ = self.run([self.bundle], "cache", {"COIL": "python"}, ["-c", ""])
        self.warm.append(seconds)
        return seconds

    def remove(self):
        shutil.rmtree(self.work)

    def run(self, command, cache, variables=(), arguments=()):
        """Seconds, the most memory in bytes of it or of a program it waited for, and what it printed."""
        environment = {**os.environ, "COIL_CACHE": str(self.work / cache), **dict(variables)}
        # Files that nobody sees until they are whole, on the same disk as everything else.
        environment["TMPDIR"] = str(self.work)
        command = [str(word) for word in [*command, *arguments]]
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=self.source, env=environment, stdout=subprocess.PIPE)
        printed = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}\nended with {process.returncode}")
        return seconds, usage.ru_maxrss << 10, printed.strip()

    def in_child(self, make):
        """Makes the sources in a process of its own: a child counts its parent's memory as its own."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.write(writer, "\0".join(make(self.source)).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as words:
            told = words.read().split("\0")
        if os.waitpid(child, 0)[1] != 0:
            sys.exit(f"the sources of {self.name} could not be made")
        return told


def table(rows):
    yield "| | files | bundle, MB | pack, s | packer, MB | cold, s | launcher, MB | warm, ms | small beside it, ms |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        cells = [f"`{row.name}`", f"{row.files:,}", f"{row.size / 1e6:,.1f}", f"{row.packed:.1f}"]
        cells += [f"{row.packer_memory / 1e6:.0f}", f"{row.cold:.2f}", f"{row.launcher_memory / 1e6:.0f}"]
        cells += [spread(row.warm), spread(row.beside)]
        yield f"| {' | '.join(cells)} |"


def spread(seconds):
    low, middle, high = (1000 * value for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.1f} ({low:.1f}..{high:.1f})"


def conditions(options):
    version = subprocess.check_output([options.python, "-V"], text=True).strip()
    return (
        f"{version}, {os.cpu_count()} cores, level {options.level}. *files*: in the cache, after a start; "
        "*packer*, *launcher*: the most memory at once; *warm*: the interpreter alone, median (min..max) of "
        f"{options.runs} starts, in turn with the small bundle."
    )


if __name__ == "__main__":
    main()
