"""Calls a build backend's hooks (PEP 517) in the interpreter of a build environment.

Run in the project's directory with one argument, the path of a JSON file: what to build with, and
where the answer goes. The answer is another JSON file: {"wheel": NAME} or {"needs": [REQUIREMENT, ...]}.
"""

import glob
import importlib
import json
import os
import shutil
import sys

# What setuptools leaves in a source tree.
DROPPINGS = ("build", "*.egg-info", "src/*.egg-info", "lib/*.egg-info")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        order = json.load(file)
    # The directory of this script is no place to import from.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    sys.argv = [""]
    # "Projects may specify that their backend code is hosted in-tree by including the backend-path key":
    # the directories come first on sys.path, and only the backend is to be found there.
    sys.path[:0] = [os.path.abspath(path) for path in order["backend_path"]]
    before = droppings()
    keep_out(order["scratch"])
    backend = load(order["backend"])
    answer = build(backend, order)
    with open(order["answer"], "w", encoding="utf-8") as file:
        json.dump(answer, file)
    if "setuptools" in sys.modules:
        tidy(before)


def load(name):
    module, _, attribute = name.partition(":")
    backend = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        backend = getattr(backend, part)
    return backend


def build(backend, order):
    # "If not defined, the default implementation is equivalent to return []."
    ask = getattr(backend, "get_requires_for_build_wheel", None)
    if ask and order["ask"]:
        missing = sorted(set(ask(None)) - set(order["provided"]))
        if missing:
            return {"needs": missing}
    return {"wheel": backend.build_wheel(order["output"], None, None)}


def keep_out(scratch):
    """Makes setuptools, also below another backend, work in the scratch directory and not in the source tree."""
    base = os.path.join(scratch, "egg")
    os.makedirs(base, exist_ok=True)
    config = os.path.join(scratch, "setup.cfg")
    with open(config, "w", encoding="utf-8") as file:
        file.write("[build]\nbuild_base = %s\n" % os.path.join(scratch, "build").replace("%", "%%"))
        file.write("[egg_info]\negg_base = %s\n" % base.replace("%", "%%"))
    os.environ["DIST_EXTRA_CONFIG"] = config


def droppings():
    return {path for pattern in DROPPINGS for path in glob.glob(pattern)}


def tidy(before):
    """Removes what an older setuptools, which does not know DIST_EXTRA_CONFIG, has left."""
    for path in droppings() - before:
        shutil.rmtree(path, ignore_errors=True)


main()
