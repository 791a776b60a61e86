#!/usr/bin/env python3
"""Starts the examples, and a check of what an app gets of its host, in roots of other systems.

    benches/hosts.py --coil target/release/coil [--python PYTHON] [--write docs/RUNTIMES.md] [--keep DIR]

Needs root, debootstrap, a mirror of Debian (from /etc/apt, or --mirror), 2 GB below --directory, Python 3.9 or newer.
The roots: Debian 11 (older glibc), Debian 13 (newer glibc), one with musl and busybox and no glibc, an empty one. Each has
a writable /data, /tmp and /dev/shm; all but the empty one have an /etc/hosts. Everything is started as root and as a user with no
name, and every second time warm. Nothing is mounted, and the roots are removed at the end (unless kept).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
START, END = "<!-- hosts.py -->\n", "<!-- end of hosts.py -->\n"
USERS = {"root": 0, "user": 1234}

# Name, what is packed, what starts it, and what its output must hold.
EXAMPLES = [
    ("hello", "hello", {}, [], "Hello, world!"),
    ("flask-cli", "flask-cli", {}, ["check"], ""),
    ("django-site", "django-site", {"COIL_RUN": "manage"}, ["check"], "no issues"),
    ("science", "science/science.py", {}, [], ""),
]

CHECK = r'''
import ctypes, ctypes.util, datetime, json, locale, multiprocessing, os, pwd, socket, ssl, subprocess, sys, zoneinfo

def tried(function):
    try:
        return function()
    except Exception as error:
        return type(error).__name__

def certificates():
    paths = ssl.get_default_verify_paths()
    place = paths.cafile or paths.capath
    return "carried" if place.startswith(sys.base_prefix) else place

def zone(name):
    there = any(os.path.exists(os.path.join(path, name)) for path in zoneinfo.TZPATH)
    zoneinfo.ZoneInfo(name)
    return "host's" if there else "carried"

def library(name):
    found = ctypes.util.find_library(name)
    ctypes.CDLL(found)
    return found

def pool(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return "works" if workers.map(abs, [-1, 2]) == [1, 2] else "wrong"

def program(*words):
    return "works" if subprocess.run(words, stdout=-1, stderr=-2).returncode == 0 else "fails"

if __name__ == "__main__":
    hosts = next((name for name in ("/bin/busybox", "/bin/ls") if os.path.exists(name)), None)
    known = {"PATH", "COIL_CACHE", "COIL_BUNDLE", "VIRTUAL_ENV", "LC_CTYPE"}
    print(json.dumps({
        "C library": os.confstr("CS_GNU_LIBC_VERSION"),
        "certificates": tried(certificates),
        "time zones": tried(lambda: zone("Europe/Berlin")),
        "`127.0.0.1`": tried(lambda: socket.getaddrinfo("127.0.0.1", 80)[0][4][0]),
        "`localhost`": tried(lambda: socket.getaddrinfo("localhost", 80)[0][4][0]),
        "`getpwuid`": tried(lambda: pwd.getpwuid(os.getuid()).pw_name),
        "`setlocale(\"\")`": tried(lambda: locale.setlocale(locale.LC_CTYPE, "")),
        "`C.UTF-8`": tried(lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8")),
        "encoding": locale.getpreferredencoding().lower(),
        "`find_library`": " ".join(str(tried(lambda: library(name))) for name in ("c", "ssl", "sqlite3")),
        "`sys.executable`": tried(lambda: program(sys.executable, "-c", "import ssl, sqlite3")),
        "fork, spawn, forkserver": " ".join(tried(lambda: pool(kind)) for kind in ("fork", "spawn", "forkserver")),
        "host's program": tried(lambda: program(hosts)) if hosts else "has none",
        "variables added": " ".join(sorted(set(os.environ) - known)) or "none",
    }))
'''


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="coil-hosts-", dir=options.directory) as work:
        work = Path(options.keep or work)
        work.mkdir(exist_ok=True)
        bundles = pack(options, work)
        rows = {}
        for title, root in roots(options, work):
            for user, uid in USERS.items():
                rows[f"{title}, {user}"] = observe(root, uid, bundles)
            shutil.rmtree(root / "data")
        table = render(rows)
    if options.write:
        text = options.write.read_text()
        pattern = re.escape(START) + ".*?" + re.escape(END)
        options.write.write_text(re.sub(pattern, lambda _: START + table + END, text, flags=re.S))
    print(table)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coil", type=Path, required=True)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--mirror")
    parser.add_argument("--directory", help="where the roots are made")
    parser.add_argument("--keep", help="make them here, and leave them")
    parser.add_argument("--write", type=Path, help="the page whose table is written anew")
    options = parser.parse_args()
    if options.mirror is None:
        sources = "".join(path.read_text() for path in Path("/etc/apt").glob("sources.list.d/*.sources"))
        found = re.search(r"^URIs: *(\S+)", sources, re.M)
        options.mirror = found.group(1) if found else "http://deb.debian.org/debian"
    return options


def pack(options, work):
    (work / "check.py").write_text(CHECK)
    bundles = []
    everything = [(name, HERE.parent / "examples" / path, *rest) for name, path, *rest in EXAMPLES]
    for name, path, variables, arguments, said in everything + [("check", work / "check.py", {}, [], "")]:
        bundle = work / f"bundle-{name}"
        words = [options.coil, "pack", "-q", path, "--python", options.python, "-o", bundle]
        subprocess.run(words, check=True, env={**os.environ, "COIL_CACHE": str(work / "packer")})
        bundles.append((name, bundle, variables, arguments, said))
    return bundles


def roots(options, work):
    """One after another, and only one on the disk at a time."""
    for title, suite in (("Debian 11", "bullseye"), ("Debian 13", "trixie")):
        root = work / suite
        if not root.exists():
            words = ["debootstrap", "--variant=minbase", "--include=ca-certificates,tzdata", suite, root, options.mirror]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        yield title, furnished(root)
        if not options.keep:
            shutil.rmtree(root)
    root = work / "musl"
    if not root.exists():
        for directory in ("bin", "lib", "proc", "etc"):
            (root / directory).mkdir(parents=True)
        for package in ("musl", "busybox-static"):
            words = ["apt-get", "download", "-o", "APT::Sandbox::User=root", package]
            subprocess.run(words, check=True, cwd=work, stdout=subprocess.DEVNULL)
            archive = next(work.glob(f"{package}_*.deb"))
            subprocess.run(["dpkg", "-x", archive, work / "unpacked"], check=True)
        shutil.copy2(next((work / "unpacked").glob("lib/*-musl/libc.so")), root / "lib/ld-musl-x86_64.so.1")
        (root / "lib/libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
        shutil.copy2(work / "unpacked/bin/busybox", root / "bin/busybox")
    yield "musl, busybox", furnished(root)
    root = work / "empty"
    root.mkdir(exist_ok=True)
    yield "nothing", furnished(root, hosts=False)


def furnished(root, hosts=True):
    for directory in ("data", "dev/shm", "tmp"):
        (root / directory).mkdir(parents=True, exist_ok=True)
        (root / directory).chmod(0o1777)
    if hosts:
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    return root


def observe(root, uid, bundles):
    row = {}
    for name, bundle, variables, arguments, said in bundles:
        shutil.copy2(bundle, root / "data" / name)
        words = ["chroot", f"--userspec={uid}:{uid}", str(root), f"/data/{name}", *arguments]
        environment = {"COIL_CACHE": f"/data/cache-{uid}", "PATH": os.environ["PATH"], **variables}
        runs = [
            subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
            for _ in range(2)
        ]
        good = all(run.returncode == 0 and said in run.stdout + run.stderr for run in runs)
        if not good:
            print(root.name, uid, name, runs[0].stderr[-2000:], runs[1].stderr[-2000:], file=sys.stderr)
        if name == "check":
            row.update(json.loads(runs[1].stdout) if good else {"check": "fails"})
        else:
            row[f"`{name}`"] = "runs" if good else f"exit {runs[0].returncode}, {runs[1].returncode}"
    return row


def render(rows):
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(str(row.get(name, "")) for row in rows.values()) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
