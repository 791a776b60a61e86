#!/usr/bin/env python3
"""Packs the same apps with coil and with other tools, and measures all of them in one run.

    benches/peers/run.py --coil target/release/coil [--python PYTHON] [--work /dev/shm/coil-peers] [--write docs/PEERS.md]

Needs Python 3.10 or newer, and an index for pip; cargo for PyApp, a C compiler for Nuitka, a scie-jump for scies. What
is missing leaves a row that says so. Everything is measured against a plain virtualenv: packing, packing
again after one changed line, size, cold starts (every cache emptied), warm starts, memory, what a first start writes.
README.md beside this file says how each tool is used, and why so.

What was packed is kept in --work, and not packed again by a later run unless --repack is given; starts are
always measured anew, because only what was measured together can be compared.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apps  # noqa: E402
import measure  # noqa: E402
import nearby  # noqa: E402
import table  # noqa: E402
import tools  # noqa: E402
from common import file_system, fill_in, lacks_journal  # noqa: E402
from place import Failed, Machine, Place, size  # noqa: E402

AGAIN_BUDGET = 12  # seconds that packing again and again may take; at least once, at most --packs times


def main():
    options = parse()
    results_file = options.work / "results.json"
    if not options.table:
        measure_all(options, results_file)
    if not results_file.exists():
        sys.exit(f"{results_file} is not there: nothing was measured yet")
    results = json.loads(results_file.read_text())
    texts = {
        "peers": [*table.whole(results), "", *table.conditions(results)],
        "peers: summary": [*table.summary(results), "", *table.conditions(results)],
    }
    print("\n".join(texts["peers"]))
    for document in options.write:
        text = document.read_text()
        for name, lines in texts.items():
            text = fill_in(text, name, "\n".join(lines) + "\n")
        document.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [tool.name for tool in tools.ALL]
    parser.add_argument("--coil", type=Path, required=True, help="the coil binary, built with --release")
    parser.add_argument("--python", default=sys.executable, help="the interpreter for every tool (default: this one)")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm/coil-peers"), help="where everything is made and kept (default: %(default)s)")
    parser.add_argument("--only", metavar="TOOLS", help=f"these tools, with commas; of {', '.join(names)} (default: all but nuitka)")
    parser.add_argument("--apps", metavar="APPS", default=",".join(apps.ALL), help="these apps, with commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of warm starts (default: %(default)s)")
    parser.add_argument("--cold-rounds", type=int, default=7, help="rounds of cold starts; 0 takes none (default: %(default)s)")
    parser.add_argument("--packs", type=int, default=3, help="second packs at most, while they are fast (default: %(default)s)")
    parser.add_argument("--repack", action="store_true", help="pack again what an earlier run has packed")
    parser.add_argument("--scie-jump", type=Path, help="a scie-jump binary, from its project's releases")
    parser.add_argument("--cargo", default="cargo", help="the command that is cargo, for PyApp (default: %(default)s)")
    parser.add_argument("--write", type=Path, action="append", default=[], metavar="FILE", help="fill in this document's marked places; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers to this file, too")
    parser.add_argument("--table", action="store_true", help="measure nothing; write the tables of the last run")
    options = parser.parse_args()
    options.chosen = options.only.split(",") if options.only else [tool.name for tool in tools.ALL if not tool.when_asked]
    options.chosen = list(dict.fromkeys(["virtualenv", *options.chosen]))
    options.apps = options.apps.split(",")
    for given, known in ((options.chosen, names), (options.apps, list(apps.ALL))):
        for name in given:
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    options.coil = options.coil.resolve()
    if not os.access(options.coil, os.X_OK):
        parser.error(f"{options.coil} is not there or cannot be executed")
    if options.scie_jump:
        options.scie_jump = options.scie_jump.resolve()
    # What a virtualenv's interpreter would pack is its base; a link or a wrapper script would be timed with it.
    options.python = subprocess.check_output([options.python, "-c", "import os, sys; print(os.path.realpath(sys.executable))"], text=True).strip()
    options.work.mkdir(parents=True, exist_ok=True)
    options.work = options.work.resolve()
    if os.statvfs(options.work).f_flag & os.ST_NOEXEC:
        parser.error(f"{options.work} is mounted noexec; name another place with --work")
    if options.cold_rounds and lacks_journal(options.work) and not options.table:
        parser.error(
            f"{options.work} is on an ext4 without a journal, where files are created up to twenty times slower soon after others "
            "were deleted: cold starts cannot be measured there.\nhint: --work /dev/shm/coil-peers, or --cold-rounds 0"
        )
    return options


class Say:
    """Progress on standard error, with the seconds since the beginning."""

    def __init__(self):
        self.began = time.monotonic()

    def __call__(self, text):
        print(f"[{time.monotonic() - self.began:6.0f} s] {text}", file=sys.stderr, flush=True)


def measure_all(options, results_file):
    """Measures app after app; what is known is written after each, so that a run that is stopped was not in vain."""
    say = Say()
    machine = Machine(options, say)
    chosen_apps = [apps.ALL[name] for name in options.apps]
    chosen = [tool(machine) for tool in tools.ALL if tool.name in options.chosen]
    load = os.getloadavg()[0]
    try:
        nearby.bring(machine)
        machine.fetch_wheels(list(apps.ALL.values()))
    except Failed as failed:
        sys.exit(f"interpreter and wheels could not be had: {failed}")
    starter = measure.Starter(machine.python)
    results = {"apps": {}, "titles": {app.name: app.title for app in chosen_apps}}
    for app in chosen_apps:
        results["apps"][app.name] = of_app(options, say, machine, starter, app, chosen)
        results["tools"] = {tool.name: {"title": tool.title, "version": tool.version, "carries": tool.carries} for tool in chosen}
        results["conditions"] = {
            "python": machine.version,
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "file_system": file_system(options.work),
            "load_before": load,
            "load_after": os.getloadavg()[0],
            "warm": options.rounds,
            "cold": options.cold_rounds,
            "floor_mb": starter.floor(),
        }
        results_file.write_text(json.dumps(results, indent=1))
    starter.close()
    say("done")


def of_app(options, say, machine, starter, app, chosen):
    """The rows of one app: first everything is packed, then all that works is started in turn."""
    rows, contenders = {}, []
    for tool in chosen:
        place = Place(machine, app, tool.name)
        say(f"{app.name}: {tool.name}")
        try:
            tool.prepare(place)
            row = rows[tool.name] = packed(options, tool, place)
        except Failed as failed:
            rows[tool.name] = {"why": str(failed)}
            say(f"    {failed}")
            continue
        room = measure.Room(place.directory / "room", tool.variables(place))
        written = measure.first_start(app, row["stamp"], tool.start(place), room)
        if "why" in written:
            row["why"] = written["why"]
            say(f"    {row['why']}")
            continue
        row["written"] = written
        contenders.append(measure.Contender(tool.name, app, row["stamp"], tool.start(place), room))
    on_disk = file_system(options.work) != "tmpfs"
    measure.rounds(contenders, starter, options.cold_rounds, options.rounds, on_disk, lambda text: say(f"{app.name}: {text}"))
    for contender in contenders:
        if contender.why:
            rows[contender.name]["why"] = contender.why
            say(f"    {contender.name} {contender.why}")
        else:
            rows[contender.name].update(warm=contender.warm, cold=contender.cold)
        contender.room.empty()
    if "why" in rows["virtualenv"]:
        sys.exit(f"there is nothing to compare with, the virtualenv of {app.name} does not work: {rows['virtualenv']['why']}")
    return rows


def packed(options, tool, place):
    """Packs an app and packs it again, or takes what an earlier run has packed just so."""
    done = place.directory / "packed.json"
    how = hashlib.sha256(Path(tools.__file__).read_bytes()).hexdigest()[:16]  # what each tool is told
    key = [tool.version, how, place.machine.version, place.app.digest()]
    if isinstance(tool, tools.Coil):
        stat = options.coil.stat()
        key.append([stat.st_size, stat.st_mtime_ns])
    if done.exists() and not options.repack:
        row = json.loads(done.read_text())
        if row.pop("key") == key:
            return row
    place.renew()
    row = {"first": [place.timed(tool.first(place))], "again": [], "stamp": apps.FIRST_STAMP}
    row["size"] = size(tool.made(place))
    spent = 0
    while not row["again"] or (len(row["again"]) < options.packs and spent < AGAIN_BUDGET):
        time.sleep(2.1)  # PyInstaller compares times in whole seconds
        row["stamp"] = place.app.change_one_line(place.source, len(row["again"]) + 1)
        row["again"].append(place.timed(tool.again(place)))
        spent += row["again"][-1]["s"]
    done.write_text(json.dumps({**row, "key": key}))
    return row


if __name__ == "__main__":
    main()
