"""Prints, as JSON, which modules of the standard library can be imported; with names as arguments, which of those.

Left out are those that a bundle has only when they are kept, and what does something when it is imported.
"""

import io
import json
import os
import pkgutil
import sys

LEFT_OUT = {
    "antigravity": "opens a browser",
    "__main__": "is the program itself",
    "idlelib": "is left out unless it is kept",
    "test": "is left out unless it is kept",
    "tests": "is left out unless it is kept",
    "tkinter": "is left out unless it is kept",
    "_tkinter": "is left out unless it is kept",
    "turtle": "needs tkinter",
    "turtledemo": "is left out unless it is kept",
    "nis": "is left out unless it is kept",
    "_ctypes_test": "is for tests, and left out with them",
    "__phello__": "is for tests, and prints",
    "__hello__": "is for tests, and prints",
}


def is_meant(name):
    return not LEFT_OUT.keys() & set(name.split(".")) and not name.startswith(("_test", "_xxtest", "xxlimited"))


def top_level(library):
    if hasattr(sys, "stdlib_module_names"):
        return set(sys.stdlib_module_names)
    # Before 3.10.
    places = [library, os.path.join(library, "lib-dynload")]
    return set(sys.builtin_module_names) | {module.name for module in pkgutil.iter_modules(places)}


def below(package, directory):
    """All modules of a package, which is not imported for it."""
    for module in pkgutil.iter_modules([directory]):
        name = f"{package}.{module.name}"
        if is_meant(name):
            yield name
            yield from below(name, os.path.join(directory, module.name))


def importable(names):
    """Those of these modules that can be imported, in a process that does nothing else."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        sys.stdout = sys.stderr = io.StringIO()
        for name in names:
            try:
                __import__(name)
            except BaseException:
                continue
            os.write(writing, name.encode() + b"\n")
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as told:
        found = told.read().split()
    os.waitpid(child, 0)
    return found


def main():
    library = os.path.dirname(os.__file__)
    if sys.argv[1:]:
        groups = {}
        for name in sys.argv[1:]:
            groups.setdefault(name.split(".")[0], []).append(name)
    else:
        tops = filter(is_meant, top_level(library))
        groups = {name: [name, *below(name, os.path.join(library, name))] for name in tops}
    print(json.dumps(sorted(name for names in groups.values() for name in importable(names))))


if __name__ == "__main__":
    main()
