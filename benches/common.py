"""What the benchmarks share: running a command, showing a spread, filling in a document."""

import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(command, directory=None, environment=None):
    """Runs a command to its end; where it fails, the benchmark ends with what it said."""
    command = [str(part) for part in command]
    ran = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode != 0:
        sys.exit(f"{shlex.join(command)}\nended with {ran.returncode}:\n{ran.stdout}")


def spread(values, form):
    """The median, and the lowest and highest value in brackets."""
    low, middle, high = (form.format(value) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}..{high})"


def fill_in(document, name, text):
    """Puts a text between the markers `<!-- NAME -->` and `<!-- /NAME -->` of a document, where it has them."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}{text}{end}{after}" if found and closed else document


def file_system(path):
    """The type of the file system that a directory is on."""
    directory, best = os.path.realpath(path), ("", "unknown")
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            left, _, right = line.partition(" - ")
            mounted = left.split()[4].encode().decode("unicode_escape")
            inside = directory == mounted or directory.startswith(mounted.rstrip("/") + "/")
            if inside and len(mounted) >= len(best[0]):
                best = (mounted, right.split()[0])
    return best[1]


def lacks_journal(path):
    """Whether a directory is on an ext4 without a journal.

    There, creating files soon after others were deleted takes up to twenty times as long (the kernel looks for
    inodes that were deleted lately), so that a start with an emptied cache cannot be measured.
    """
    device = os.stat(path).st_dev
    name = os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
    try:
        return Path(f"/sys/fs/ext4/{name}/journal_task").read_text().strip() == "<none>"
    except OSError:
        return False
