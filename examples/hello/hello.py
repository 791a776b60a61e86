"""Says hello, and shows which Python says it: the standard library alone."""

from __future__ import annotations

import argparse
import bz2
import ctypes
import json
import lzma
import multiprocessing
import os
import platform
import sqlite3
import ssl
import subprocess
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable


def main() -> int:
    parser = argparse.ArgumentParser(prog="hello", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument("--exit", type=int, default=0, metavar="N", help="end with this exit code")
    parser.add_argument("--check-children", action="store_true", help="start child processes in every way Python knows")
    parser.add_argument("arguments", nargs="*", metavar="ARG", help="anything: it is shown")
    options = parser.parse_args()

    if options.check_children:
        return check_children()

    facts = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "bundle": os.environ.get("COIL_BUNDLE"),
        "arguments": options.arguments,
        "inside": inside(),
    }
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)
    return options.exit


def inside() -> dict[str, str]:
    """What the extension modules say; most of them need a shared library of their own."""
    (sqlite,) = sqlite3.connect(":memory:").execute("select sqlite_version()").fetchone()
    double = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: 2 * number)
    text = b"hello " * 10_000
    return {
        "sqlite3": sqlite,
        "ssl": ssl.OPENSSL_VERSION,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "ctypes": f"a C callback says {double(21)}",
        "lzma": f"{len(text):,} bytes become {len(lzma.compress(text))}",
        "bz2": f"{len(text):,} bytes become {len(bz2.compress(text))}",
    }


def show(facts: dict[str, Any]) -> None:
    print("Hello, world!\n")
    print(f"  Python     {facts['python']}")
    print(f"  runs from  {facts['executable']}")
    if facts["bundle"]:
        print(f"  packed in  {facts['bundle']}")
    # repr, because an argument need not be valid UTF-8.
    print(f"  arguments  {' '.join(map(repr, facts['arguments'])) or '(none)'}")
    print("\n  inside:")
    for module, says in facts["inside"].items():
        print(f"    {module:8} {says}")


def check_children() -> int:
    """Starts children in every way Python knows; each has to be the interpreter that started it."""
    checks: dict[str, Callable[[], Any]] = {
        "subprocess -c": child_with_c,
        "subprocess -m": child_with_m,
        "fork pool": lambda: in_pool("fork"),
        "spawn pool": lambda: in_pool("spawn"),
        "forkserver pool": lambda: in_pool("forkserver"),
        "ProcessPoolExecutor": in_executor,
    }
    no_semaphores = why_no_semaphores()
    failed = 0
    for name, check in checks.items():
        if no_semaphores and not name.startswith("subprocess"):
            print(f"SKIPPED {name}: this system has no semaphores, is /dev/shm missing? ({no_semaphores})")
            continue
        try:
            seen = check()
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
        if seen == identity():
            print(f"OK      {name}", flush=True)
        else:
            failed += 1
            print(f"FAILED  {name}: {seen}", flush=True)
    return 1 if failed else 0


def why_no_semaphores() -> str | None:
    """Pools need POSIX semaphores, which glibc keeps in /dev/shm."""
    try:
        multiprocessing.Lock()
    except (ImportError, OSError) as error:
        return str(error)
    return None


def identity(_: object = None) -> list[str]:
    """Who a process is: the parent and its children have to agree."""
    return [sys.prefix, platform.python_version(), sqlite3.sqlite_version]


def child_with_c() -> list[str]:
    code = "import platform, sqlite3, sys; print(sys.prefix, platform.python_version(), sqlite3.sqlite_version, sep='\\n')"
    return subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()


def child_with_m() -> list[str]:
    here = os.path.dirname(os.path.abspath(__file__))  # -m looks for modules in the working directory first
    facts = json.loads(subprocess.check_output([sys.executable, "-m", "hello", "--json"], cwd=here))
    return [facts["prefix"], facts["python"], facts["inside"]["sqlite3"]]


def in_pool(method: str) -> list[str]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return agreed(pool.map(identity, range(4)))


def in_executor() -> list[str]:
    with ProcessPoolExecutor(max_workers=2) as executor:
        return agreed(list(executor.map(identity, range(4))))


def agreed(answers: list[list[str]]) -> list[str]:
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError(f"the workers disagree: {answers}")
    return answers[0]


if __name__ == "__main__":
    sys.exit(main())
