"""Starting what was packed: one run, everything in turn, and what each start leaves on the disk."""

import marshal
import os
import select
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

START_LIMIT = 120  # seconds


class Starter:
    """The small process that starts and measures (see starter.py)."""

    def __init__(self, python):
        script = Path(__file__).resolve().parent / "starter.py"
        self.process = subprocess.Popen([python, "-I", "-S", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, command, room):
        order = {
            "command": [str(part) for part in command],
            "environment": room.environment(),
            "directory": str(room.directory / "cwd"),
            "stdout": str(room.directory / "stdout"),
            "stderr": str(room.directory / "stderr"),
        }
        marshal.dump(order, self.process.stdin)
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], START_LIMIT)[0]:
            sys.exit(f"{order['command'][0]} has not ended after {START_LIMIT} s, though it had before")
        nanoseconds, status, kibibytes, processor = marshal.load(self.process.stdout)
        return {"ms": nanoseconds / 1e6, "status": status, "peak_mb": kibibytes * 1024 / 1e6, "cpu_ms": processor * 1e3}

    def floor(self):
        """What peak memory cannot be measured below: this process's own, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024 / 1e6

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Room:
    """The home, the temporary directory and all caches of one packed app: emptied, its next start is its first."""

    def __init__(self, directory, variables):
        self.directory, self.variables = Path(directory), variables

    def empty(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        for name in ("home", "tmp", "cwd"):
            (self.directory / name).mkdir(parents=True)

    def environment(self):
        home, tmp = self.directory / "home", self.directory / "tmp"
        variables = {key: value.format(home=home, tmp=tmp) for key, value in self.variables.items()}
        return {"HOME": str(home), "TMPDIR": str(tmp), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **variables}

    def written(self):
        """Files (symbolic links too) and bytes that are there now; hard links count once."""
        seen, count, size = set(), 0, 0
        for part in ("home", "tmp", "cwd"):
            for directory, names, files in os.walk(self.directory / part):
                links = [name for name in names if os.path.islink(os.path.join(directory, name))]
                for name in files + links:
                    found = os.lstat(os.path.join(directory, name))
                    if (found.st_dev, found.st_ino) not in seen:
                        seen.add((found.st_dev, found.st_ino))
                        count, size = count + 1, size + found.st_size
        return {"files": count, "mb": size / 1e6}


def first_start(app, stamp, command, room):
    """Starts it with nothing unpacked. What it wrote, while it runs and after its end; or why it does not work."""
    room.empty()
    environment = {**room.environment(), "PEERS_HOLD": "1"}
    # A file and not a pipe: a program that buffers its output otherwise prints as it does when measured.
    with open(room.directory / "stdout", "w+b") as out, open(room.directory / "stderr", "w+b") as err:
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, cwd=room.directory / "cwd", stdin=subprocess.PIPE, stdout=out, stderr=err
        )
        end = time.monotonic() + START_LIMIT
        while process.poll() is None and time.monotonic() < end and "stamp " not in printed(room):
            time.sleep(0.02)
        live = room.written()
        process.stdin.close()
        try:
            status = process.wait(START_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return {"why": f"has not ended after {START_LIMIT} s"}
    wrong = app.wrong(printed(room), stamp)
    if status != 0 or wrong:
        return {"why": complaint(room, f"ended with {status}" if status else wrong)}
    return {"live": live, "after": room.written()}


def printed(room):
    return (room.directory / "stdout").read_text(errors="replace")


def complaint(room, otherwise):
    """The last line of what it complained of."""
    lines = [line.strip() for line in (room.directory / "stderr").read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return f"{otherwise}: {last}" if last else otherwise


class Contender:
    """What takes part in the rounds: a packed app that was seen to work."""

    def __init__(self, name, app, stamp, command, room):
        self.name, self.app, self.stamp, self.command, self.room = name, app, stamp, command, room
        self.cold, self.warm, self.why = [], [], None

    def start(self, starter):
        """One start; where it fails, the contender takes no further part, although it had worked before."""
        seen = starter.start(self.command, self.room)
        wrong = self.app.wrong(printed(self.room), self.stamp)
        if seen["status"] != 0 or wrong:
            self.why = complaint(self.room, f"worked once, and then {wrong or 'ended with ' + str(seen['status'])}")
        return seen


def rounds(contenders, starter, cold, warm, on_disk, say):
    """Every contender once in a round, in turn; every second round backwards."""
    for number in range(cold):
        say(f"cold round {number + 1} of {cold}")
        for contender in in_turn(contenders, number):
            contender.room.empty()
            if on_disk:
                os.sync()
            time.sleep(0.05)
            contender.cold.append(contender.start(starter))
    for number in range(-2, warm):
        if number >= 0 and number % 5 == 0:
            say(f"warm rounds {number + 1} to {min(number + 5, warm)} of {warm}")
        for contender in in_turn(contenders, number):
            seen = contender.start(starter)
            if number >= 0:  # the two before are not counted
                contender.warm.append(seen)


def in_turn(contenders, number):
    still = [contender for contender in contenders if not contender.why]
    return still if number % 2 == 0 else still[::-1]


def ratios(starts, base, key="ms"):
    """A ratio for each round, because only what was measured together can be compared."""
    return quartiles([one[key] / other[key] for one, other in zip(starts, base)])


def quartiles(values):
    if len(values) < 2:
        return {"median": values[0], "q1": values[0], "q3": values[0], "min": values[0], "max": values[0], "n": len(values)}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "min": min(values), "max": max(values), "n": len(values)}
