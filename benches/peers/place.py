"""Where one app is packed by one tool, and the machine that tools find there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

PACK_LIMIT = 3600  # seconds


class Failed(Exception):
    """A tool could not be had, or did not pack; the text goes into the table."""


class Machine:
    """What all tools share: the interpreter, the wheels, and one virtualenv for each tool."""

    def __init__(self, options, say):
        self.options, self.say = options, say
        self.work, self.python = options.work, options.python
        self.wheels = self.work / "wheels"
        self.version = self.ask("import platform; print(platform.python_version())")
        self.prefix = Path(self.ask("import sys; print(sys.base_prefix)"))

    def ask(self, code):
        return subprocess.check_output([self.python, "-I", "-c", code], text=True).strip()

    def fetch_wheels(self, apps):
        """All wheels come from one directory, so that no download is in the time of packing."""
        asked = ["pip==25.3", "flit_core==3.12.0", "setuptools==80.9.0", "wheel==0.45.1"]
        for app in apps:
            asked += [] if not app.has_requirements else ["-r", app.requirements]
        done = self.work / "wheels.json"
        key = [self.version, *(app.digest() for app in apps)]
        if not (done.exists() and json.loads(done.read_text()) == key):
            self.say("fetching wheels")
            pip = self.tool("pip", [])
            call([pip / "bin/python", "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", self.wheels, *asked])
            done.write_text(json.dumps(key))

    def tool(self, name, requirements):
        """A virtualenv of the interpreter with these installed from an index, made once."""
        virtualenv = self.work / "tools" / name
        done = virtualenv / "installed.json"
        key = [self.version, *(part.read_text() if isinstance(part, Path) else part for part in requirements)]
        if not (done.exists() and json.loads(done.read_text()) == key):
            self.say(f"installing {name}")
            shutil.rmtree(virtualenv, ignore_errors=True)
            call([self.python, "-m", "venv", virtualenv])
            if requirements:
                call([virtualenv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
            done.write_text(json.dumps(key))
        return virtualenv


class Place:
    """The copy of an app's sources that a tool packs, where it keeps things, and what it has made."""

    def __init__(self, machine, app, name):
        self.machine, self.app = machine, app
        self.directory = machine.work / app.name / name
        self.source, self.cache, self.out = (self.directory / part for part in ("source", "cache", "out"))

    def renew(self):
        """As if nothing had ever been packed here."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.app.copy(self.source)
        for made in (self.cache, self.out):
            made.mkdir(parents=True)

    def environment(self):
        """A home of its own: every tool keeps its caches below it, and they are emptied together.

        No cache is moved by a variable, because pex would write the place into what it makes.
        """
        home, real = self.cache / "home", Path.home()
        home.mkdir(parents=True, exist_ok=True)
        variables = {"HOME": str(home)}
        for name, usual in (("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")):  # crates and compilers are installed, not cached
            variables[name] = os.environ.get(name, str(real / usual))
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.machine.wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        mine = {key: value for key, value in os.environ.items() if not re.match(r"PYTHON|VIRTUAL_ENV$|COIL|PEX|XDG_|(PIP|UV)_CACHE|CCACHE", key)}
        return {**mine, **variables, **offline}

    def timed(self, commands):
        """Runs what packs; its seconds, and the processor's. A command is its parts, or (its parts, more variables)."""
        began, before = time.perf_counter(), os.times()
        with open(self.directory / "pack.log", "ab") as log:
            for command in commands:
                more = {}
                if isinstance(command, tuple):
                    command, more = command
                call(command, self.source, {**self.environment(), **more}, log)
        after = os.times()
        processor = sum(after[2:4]) - sum(before[2:4])
        return {"s": time.perf_counter() - began, "cpu_s": processor}


def call(command, directory=None, environment=None, log=None):
    """Runs a command to its end, or says what it complained of."""
    command = [str(part) for part in command]
    try:
        ran = subprocess.run(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PACK_LIMIT
        )
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not there") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{Path(command[0]).name} had not ended after {PACK_LIMIT} s") from None
    if log:
        log.write(f"$ {shlex.join(command)}\n".encode() + ran.stdout)
    if ran.returncode != 0:
        lines = [line.strip() for line in ran.stdout.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["without a word"]
        raise Failed(f"{Path(command[0]).name} ended with {ran.returncode}: {errors[-1][:200]}")


def size(paths):
    """Files and bytes of files and trees; hard links count once."""
    seen, count, total = set(), 0, 0
    for top in paths:
        found = [top] if not top.is_dir() else [path for path in top.rglob("*") if path.is_symlink() or not path.is_dir()]
        for path in found:
            stat = path.lstat()
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                count, total = count + 1, total + stat.st_size
    return {"files": count, "mb": total / 1e6}
