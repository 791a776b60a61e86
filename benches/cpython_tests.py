#!/usr/bin/env python3
"""Runs CPython's own tests inside a bundle and outside of it, and tells where the outcomes differ.

    benches/cpython_tests.py --coil target/release/coil --python PYTHON [--work DIR] [TEST...]

Needs root, unshare (util-linux), and a Python that has its `test` package; without --busybox also apt-get and dpkg, for a
`busybox-static`. The whole suite takes a quarter of an hour in each place, and 1 GB below --work.

The places, one after another; behind the first two each is asked only for the files whose tests still differ:

    nothing      the bundle, in a root with /tmp, /proc and /dev
    original     the interpreter that was packed, where it is installed
    host         the bundle, in a root with /etc/passwd, group, hosts, services and protocols, C.UTF-8, time zones, and busybox
    machine      the bundle on this machine, with all its programs and libraries
    virtualenv   the original in a virtualenv, which is what every bundle is

A difference is a test that passes in `original` and does not (fails, is skipped, is not there) in `nothing`. It is the host's where
it passes in `host` or on the `machine`, a virtualenv's where it does not pass in `virtualenv`, and the bundle's else. The exit code
is 1 where there are any of the bundle's. With --work, places that have their results there are not asked again.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

KEEP = "ensurepip,headers,idle,static,tests,tkinter,turtledemo"
OUTCOMES = ("passed", "failed", "skipped")
PROGRESS = re.compile(r"^\d+:\d\d:\d\d .*\[ *\d+(?:/\d+)*\] (\S+) (\w+)", re.M)
# Tests in a module that is no file of tests itself.
ELSEWHERE = {"test.datetimetester": "test_datetime"}
FILE = re.compile(r"test_\w+|test(\.test_\w+)+")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
}
COPIES = ["/etc/services", "/etc/protocols", "/usr/lib/locale/C.utf8", "/usr/share/zoneinfo"]

# In a process namespace of its own, so that nothing that a test started outlives it.
INSIDE = """
mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" || exit 99
chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
exec env -i HOME=/tmp PATH=/usr/bin:/bin COIL_CACHE=/tmp/c "$chroot" "$0" /t "$@"
"""


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="coil-tests-") as temporary:
        work = Path(options.work or temporary).resolve()
        (work / "results").mkdir(parents=True, exist_ok=True)
        python, bundle = pack(options, work)
        suite = Suite(options, work)
        nothing = suite.run("nothing", inside(empty_root(work / "nothing", bundle)), options.tests)
        original = suite.run("original", [python], options.tests)
        passes = sorted(name for name, outcome in original.items() if outcome == "passed")
        differing = [name for name in passes if nothing.get(name) != "passed"]
        files = files_of(differing, original)
        host = suite.run("host", inside(furnished(empty_root(work / "host", bundle), options, work)), files) if files else {}
        left = [name for name in differing if host.get(name) != "passed"]
        files = files_of(left, original)
        machine = suite.run("machine", [str(bundle)], files) if files else {}
        left = [name for name in left if machine.get(name) != "passed"]
        files = files_of(left, original)
        virtualenv = suite.run("virtualenv", [venv(python, work)], files) if files else {}
    places = {"nothing": nothing, "host": host, "machine": machine, "virtualenv": virtualenv}
    sys.exit(1 if report(original, places, differing) else 0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coil", type=Path, required=True)
    parser.add_argument("--python", required=True, help="the interpreter, by its path")
    parser.add_argument("--work", help="a directory for all of it, which is left there")
    parser.add_argument("--keep", default=KEEP, help="what is kept of the Python")
    parser.add_argument("--busybox", type=Path, help="a static busybox")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=180, help="for one test file, in seconds")
    parser.add_argument("--ignore", action="append", default=[], help="a pattern of tests that are not run anywhere")
    parser.add_argument("tests", nargs="*", help="test files, such as test_ssl; without, all there are")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("another root can be entered by root only")
    return options


def pack(options, work):
    """The base interpreter, and the bundle of its tests."""
    words = [options.python, "-c", "import os, sys; print(os.path.realpath(sys.executable))"]
    python = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    bundle = work / "bundle"
    if not bundle.exists():
        (work / "app").mkdir(exist_ok=True)
        (work / "app/main.py").write_text("")
        words = [options.coil, "pack", work / "app", "--python", python, "--keep", options.keep]
        subprocess.run([*words, "-e", "-m test", "-o", bundle], check=True)
    return python, bundle


def empty_root(root, bundle):
    for name in ("tmp", "proc", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy2(bundle, root / "t")
    return root


def furnished(root, options, work):
    for name in ("etc", "bin", "root"):
        (root / name).mkdir(exist_ok=True)
    for name, text in FILES.items():
        (root / name).write_text(text)
    for source in map(Path, COPIES):
        target = root / source.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            continue
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        elif source.exists():
            shutil.copy2(source, target)
    shutil.copy2(options.busybox or busybox(work), root / "bin/busybox")
    applets = subprocess.run([root / "bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout
    for applet in set(applets.split()) - {"busybox"}:
        if not os.path.lexists(root / "bin" / applet):
            (root / "bin" / applet).symlink_to("busybox")
    return root


def busybox(work):
    found = work / "unpacked/bin/busybox"
    if not found.exists():
        words = ["apt-get", "download", "-o", "APT::Sandbox::User=root", "busybox-static"]
        subprocess.run(words, check=True, cwd=work, stdout=subprocess.DEVNULL)
        subprocess.run(["dpkg", "-x", next(work.glob("busybox-static_*.deb")), work / "unpacked"], check=True)
    return found if found.exists() else work / "unpacked/usr/bin/busybox"


def inside(root):
    """What starts the bundle in this root, up to the arguments of `python -m test`."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, str(root)]


def venv(python, work):
    subprocess.run([python, "-m", "venv", "--without-pip", work / "venv"], check=True)
    return str(work / "venv/bin/python")


class Suite:
    """`python -m test` in one place after another."""

    def __init__(self, options, work):
        self.options, self.work = options, work

    def run(self, place, starter, tests):
        """What became of every test in these files, by its name, and of every file."""
        log, xml = (self.work / f"results/{place}.{suffix}" for suffix in ("log", "xml"))
        if not log.exists():
            print(f"{place}: {len(tests) or 'all'} files", file=sys.stderr)
            isolated = starter[0] == "unshare"
            own = (self.work / place / "tmp" if isolated else self.work / f"{place}-tmp")
            own.mkdir(exist_ok=True)
            words = [*starter] if isolated or place == "machine" else [*starter, "-m", "test"]
            words += [f"-j{self.options.jobs}", "--timeout", str(self.options.timeout)]
            words += [word for pattern in self.options.ignore for word in ("--ignore", pattern)]
            words += ["--junit-xml", "/tmp/results.xml" if isolated else str(own / "results.xml"), *tests]
            environment = {"PATH": os.environ["PATH"]}
            if not isolated:
                environment |= {"HOME": str(own), "TMPDIR": str(own), "COIL_CACHE": str(own / "c")}
            partial = log.with_suffix(".partial")
            with open(partial, "wb") as output:
                pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
                subprocess.run(words, env=environment, check=False, **pipes)
            if not (own / "results.xml").exists():
                raise SystemExit(f"the tests did not come to their end; what they said is in {partial}")
            shutil.move(own / "results.xml", xml)
            partial.rename(log)
        return outcomes(log.read_text(errors="replace"), xml)


def outcomes(log, xml):
    """What became of the tests, and of the files as the log has them (`test_x`, `test.test_asyncio.test_y`)."""
    found = {}
    for case in ElementTree.parse(xml).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"error", "failure"} else "skipped" if "skipped" in kinds else "passed"
        # What a test writes beside its name differs from run to run: addresses, directories.
        name = re.sub(r"0x[0-9a-f]+|/tmp/\S+", "...", case.get("name") or "")
        if found.get(name) != "failed":
            found[name] = outcome
    for name, outcome in PROGRESS.findall(log):
        if outcome in ("passed", "failed", "skipped", "crashed", "timed"):
            found[name] = {"timed": "failed", "crashed": "failed"}.get(outcome, outcome)
    return found


def files_of(names, known):
    """The files that hold these tests, as `-m test` is told them."""
    files = {whole(name): name for name in known if FILE.fullmatch(name)} | ELSEWHERE
    found = set()
    for name in names:
        # A fixture is told as `setUpClass (test.test_x.Class)`.
        parts = whole(re.sub(r"^\w+ \((.*)\)$", r"\1", name)).split(".")
        starts = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        found |= set(filter(None, [next((files[start] for start in starts if start in files), None)]))
    return sorted(found)


def whole(name):
    return name if name.startswith("test.") else f"test.{name}"


def report(original, places, differing):
    """Prints totals and the table, and returns how many differences are the bundle's."""
    for place, found in (("nothing", places["nothing"]), ("original", original)):
        for kind, is_kind in (("tests", lambda name: not FILE.fullmatch(name)), ("files", FILE.fullmatch)):
            count = {outcome: sum(it == outcome and bool(is_kind(name)) for name, it in found.items()) for outcome in OUTCOMES}
            print(f"{place}: {kind}: " + ", ".join(f"{number} {outcome}" for outcome, number in count.items()))
    print("\n| test | " + " | ".join(places) + " | whose |\n|---" + "|---" * len(places) + "|---|")
    own = 0
    for name in differing:
        row = {place: found.get(name, "not there") for place, found in places.items()}
        whose = "virtualenv" if row["virtualenv"] != "passed" else "bundle"
        for place in ("machine", "host"):
            whose = "host" if row[place] == "passed" else whose
        own += whose == "bundle"
        if whose == "host":
            row |= {"virtualenv": ""} | ({"machine": ""} if row["host"] == "passed" else {})
        print(f"| `{name}` | " + " | ".join(row.values()) + f" | {whose} |")
    return own


if __name__ == "__main__":
    main()
