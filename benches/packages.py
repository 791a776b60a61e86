#!/usr/bin/env python3
"""Packs the best-known command-line packages of PyPI one by one, and starts each in an empty root.

    benches/packages.py --coil target/release/coil [--python PYTHON] [--only NAME]... [--write docs/PACKAGES.md]

Needs Python 3.9 or newer, util-linux's `unshare`, root, uv or pip, and an index. Each package is first installed
into a plain virtualenv and started there, so that what fails by itself is told from what fails because it was
packed; this also fills the resolver's cache, so that no download is in the time of packing.

What is called an empty root holds the bundle, a writable /tmp with the start's input, and nothing else; the
environment COIL_RUN, COIL_CACHE and HOME. Where a start fails there, more is added step by step (see STEPS),
and the table says what was needed, and the first complaint. Outcomes are kept as JSON lines (--results), so that some packages can be
tried again (--only) and the table still shows all.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from package_list import PACKAGES, SAMPLES  # noqa: E402

# What is added to an empty root, one after another, until a package starts.
STEPS = [
    ("empty root", {"HOME": "/tmp"}, []),
    ("`/dev`", {}, ["dev"]),
    ("`/proc`", {}, ["proc"]),
    ("UTF-8 locale", {"LC_ALL": "C.UTF-8"}, []),
    ("`/etc`", {}, ["etc"]),
    ("`/bin`, `/lib`, `/usr`", {"PATH": "/usr/bin:/bin"}, ["usr"]),
]
START_LIMIT = 240  # seconds
PACK_LIMIT = 1800  # seconds


def main():
    options = parse()
    results = read_results(options.results)
    chosen = [package for package in PACKAGES if not options.only or package.name in options.only]
    if not options.table:
        with tempfile.TemporaryDirectory(prefix="coil-packages-", dir=options.work) as work:
            pack(options, Path(work) / "warm-up", ["wheel"])  # the runtime is harvested once
            for package in chosen:
                outcome = try_package(options, package, Path(work) / re.sub(r"\W+", "-", package.name))
                results[package.name] = outcome
                print(f"{package.name:24} {outcome['outcome']:14} {outcome.get('why', '')}", file=sys.stderr, flush=True)
                with open(options.results, "a") as file:
                    file.write(json.dumps(outcome) + "\n")
    if options.write:
        text = options.write.read_text() if options.write.exists() else "<!-- table -->\n"
        head = text.split("<!-- table -->")[0]
        options.write.write_text("\n".join([head + "<!-- table -->", *table(options, results)]) + "\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coil", type=Path, required=True, help="the coil binary")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is packed (default: this one)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="where everything is made (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this package; may be repeated")
    parser.add_argument("--results", type=Path, default=Path("packages.jsonl"), help="what is known of each package (default: %(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table into this file")
    parser.add_argument("--table", action="store_true", help="pack nothing; only write the table")
    options = parser.parse_args()
    options.coil = options.coil.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    options.cache = os.environ.get("COIL_CACHE", str(options.work / "coil-packages-cache"))
    if os.geteuid() != 0:
        parser.error("entering an empty root and filling it with devices takes root")
    for name in options.only or []:
        if name not in {package.name for package in PACKAGES}:
            parser.error(f"{name} is not in benches/package_list.py")
    return options


def read_results(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return {outcome["name"]: outcome for outcome in map(json.loads, lines)}


def try_package(options, package, work):
    """What became of one package, as it is kept in the results."""
    outcome = {"name": package.name, "start": start_text(package)}
    work.mkdir(parents=True)
    try:
        virtualenv = in_virtualenv(options, package, work)
        outcome["virtualenv"] = virtualenv or "ok"
        began = time.monotonic()
        failed = pack(options, work / "bundle", [*package.requirements, *package.options])
        outcome["pack"] = time.monotonic() - began
        if failed:
            return {**outcome, "outcome": "not packed", "why": failed}
        manifest = json.loads(output([options.coil, "inspect", "--json", work / "bundle"]))
        outcome |= described(package, manifest, (work / "bundle").stat().st_size)
        return outcome | started(package, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def described(package, manifest, size):
    key = normal(re.split(r"[\[=<> ]", package.requirements[0])[0])
    version = next((layer.get("version") for layer in manifest["layers"] if normal(layer["name"]) == key), "")
    wheels = sum(layer["kind"] == "wheel" for layer in manifest["layers"])
    return {"version": version, "size": size, "wheels": wheels, "default": manifest.get("default"), "commands": len(manifest["commands"])}


def started(package, work):
    """Starts the bundle in an empty root and in ever fuller ones, until it does what it should."""
    why, variables, parts = "", {}, []
    needed = []
    for step, more, added in STEPS:
        variables, parts = {**variables, **more}, parts + added
        failed, seconds = in_root(package, work, variables, parts)
        why = why or failed
        if not failed:
            outcome = "ok" if step == STEPS[0][0] else f"needs {needed_alone(package, work, step, more, added)}"
            return {"outcome": outcome, "why": why, "seconds": seconds}
        needed.append(step)
    return {"outcome": "fails", "why": why}


def needed_alone(package, work, step, variables, parts):
    """Says whether the last thing that was added would have been enough by itself."""
    alone, _ = in_root(package, work, variables, parts)
    before = " and ".join(name for name, *_ in STEPS[1 : [name for name, *_ in STEPS].index(step) + 1])
    return before if alone else step


def in_virtualenv(options, package, work):
    """Why the start fails in a plain virtualenv; None where it does not."""
    virtualenv, requirements = work / "virtualenv", package.requirements
    if shutil.which("uv"):
        commands = [
            ["uv", "venv", "--quiet", "--seed", "--python", options.python, virtualenv],
            ["uv", "pip", "install", "--quiet", "--python", virtualenv / "bin/python", *requirements],
        ]
    else:
        commands = [
            [options.python, "-m", "venv", virtualenv],
            [virtualenv / "bin/python", "-m", "pip", "install", "--quiet", *requirements],
        ]
    for command in commands:
        ran = run(command, PACK_LIMIT)
        if ran.returncode != 0:
            return complaint(ran)
    directory = inputs(work / "virtualenv-input")
    variables = {"PATH": f"{virtualenv}/bin:/usr/bin:/bin", "HOME": str(directory), "LC_ALL": "C.UTF-8"}
    command = [virtualenv / "bin" / package.command, *package.arguments]
    failed = objection(package, run(command, START_LIMIT, variables, directory))
    shutil.rmtree(virtualenv)
    return failed


def pack(options, bundle, requirements):
    """Why it cannot be packed; None where it can."""
    bundle.parent.mkdir(parents=True, exist_ok=True)
    command = [options.coil, "pack", *requirements, "--python", options.python, "--output", bundle]
    ran = run(command, PACK_LIMIT, {**os.environ, "COIL_CACHE": options.cache})
    return complaint(ran) if ran.returncode != 0 else None


def in_root(package, work, variables, parts):
    """Why the start fails in a root with these parts, or None, and how long the first start took."""
    root = work / "root"
    inputs(root / "tmp")
    os.link(work / "bundle", root / "app")
    choice = {"COIL": "python"} if package.command == "python" else {"COIL_RUN": package.command}
    variables = {"COIL_CACHE": "/tmp/.cache", **choice, **variables}
    mounts = [line for part in parts for line in PARTS[part](root)]
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", "\n".join([*mounts, 'exec "$@"']), "sh", "env", "-i"]
    command += [f"{name}={value}" for name, value in variables.items()]
    command += [shutil.which("unshare"), f"--root={root}", "--wd=/tmp", "--", "/app", *package.arguments]
    try:
        began = time.monotonic()
        return objection(package, run(command, START_LIMIT)), time.monotonic() - began
    finally:
        shutil.rmtree(root)


def bind(name):
    return lambda root: [f"mkdir -p {root}/{name}", f"mount --rbind /{name} {root}/{name}"]


def links(root):
    lines = []
    for name in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink(f"/{name}"):
            lines.append(f"ln -s {os.readlink(f'/{name}')} {root}/{name}")
        elif os.path.isdir(f"/{name}"):
            lines += bind(name)(root)
    return lines + bind("usr")(root)


PARTS = {
    "dev": lambda root: [f"mkdir -p {root}/dev/shm", f"mount -t tmpfs tmpfs {root}/dev/shm", *(f"mknod -m 666 {root}/dev/{name} c 1 {minor}" for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)))],
    "proc": lambda root: [f"mkdir {root}/proc", f"mount -t proc proc {root}/proc"],
    "etc": lambda root: [f"cp -r --parents /etc/passwd /etc/group /etc/services /etc/protocols /etc/mime.types /etc/ssl/certs/ca-certificates.crt {root} 2>/dev/null || true"],
    "usr": links,
}


def inputs(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in SAMPLES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def objection(package, ran):
    """What is wrong with a start; None where it did what it should."""
    if re.search(package.expect, ran.stdout, re.MULTILINE) and ran.returncode in package.codes:
        return None
    return complaint(ran)


def complaint(ran):
    lines = [line.strip() for line in ran.stdout.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"error: |hint: |[\w.]*(Error|Exception|Exit)\b|.*No such file|.*not found", line)]
    return f"exit {ran.returncode}: {' | '.join((telling or lines)[-2:])[:300]}"


def run(command, limit, variables=None, directory=None):
    command = [str(part) for part in command]
    try:
        return subprocess.run(
            command, cwd=directory, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=limit, text=True, errors="replace",
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"").decode(errors="replace")
        return subprocess.CompletedProcess(command, "none", f"{said}\nnot ended after {limit} s")


def output(command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def start_text(package):
    return shlex.join([package.command, *package.arguments]).replace("|", "\\|")


def default(one):
    """What starts without a word, and how many commands there are beside it."""
    if "commands" not in one:
        return ""
    others = one["commands"] - (one["default"] is not None)
    if not one["default"]:
        return f"none of {others}"
    return f"`{one['default']}`, {others} more" if others else f"`{one['default']}`"


def table(options, results):
    yield "| package | version | wheels | bundle, MB | pack, s | default command | started with | outcome |"
    yield "|---|---|---|---|---|---|---|---|"
    kept = [results[package.name] for package in PACKAGES if package.name in results]
    for one in kept:
        outcome = one["outcome"]
        if one.get("virtualenv", "ok") != "ok" and outcome != "ok":
            outcome += "; so does a virtualenv" if outcome == "fails" else "; fails in a virtualenv, too"
        if outcome != "ok":
            outcome += f": {one['why']}"
        size, pack = one.get("size"), one.get("pack")
        cells = [
            one["name"], one.get("version") or "", str(one.get("wheels", "")), f"{size / 1e6:.1f}" if size else "",
            f"{pack:.1f}" if pack else "", default(one), f"`{one['start'][:70]}`", outcome.replace("|", "\\|"),
        ]
        yield f"| {' | '.join(cells)} |"
    good = sum(one["outcome"] == "ok" for one in kept)
    version = output([options.python, "-c", "import platform; print(platform.python_version())"]).strip()
    yield ""
    yield f"{len(kept)} packages, {good} of them start in an empty root. CPython {version}, {platform.machine()}, {os.cpu_count()} cores."


if __name__ == "__main__":
    main()
