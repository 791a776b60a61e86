"""The interpreter, copied to where everything else is.

The kernel maps files of ext4 in larger pieces than those of tmpfs, worth 4 % of Python's own start. A tool that unpacks
a Python and one that uses the machine's would differ by that, though it is no doing of either.
"""

import shutil

from distribution import find_library_inside
from place import Failed


def bring(machine):
    """From now on the machine's interpreter is its copy below --work, made once. One of the distribution stays where it is."""
    if str(machine.prefix) == "/usr":
        machine.say("the distribution's interpreter is used where it is: tools that bring none may be 4 % quicker by their file system")
        return
    tree, short = machine.work / "tools" / "interpreter", ".".join(machine.version.split(".")[:2])
    copy, done = tree / "bin" / f"python{short}", machine.work / "tools" / "interpreter.json"
    if not (done.exists() and done.read_text() == machine.version):
        machine.say("copying the interpreter")
        shutil.rmtree(tree, ignore_errors=True)
        library = machine.prefix / "lib" / f"python{short}"
        others = shutil.ignore_patterns("site-packages", "test", "tests")
        shutil.copytree(machine.prefix, tree, symlinks=True, ignore=lambda at, names: others(at, names) if at == str(library) else [])
        (tree / "lib" / library.name / "site-packages").mkdir()
        find_library_inside(machine, tree, short)
        done.write_text(machine.version)
    machine.python = str(copy)
    prefix = machine.ask("import sys; print(sys.base_prefix)")
    if prefix != str(tree):
        raise Failed(f"a copy of the Python in {machine.prefix} still uses {prefix}")
    machine.prefix = tree
