"""Writes the lift manifest of a scie, and links its files beside it: `lift.py DIRECTORY NAME CPYTHON.tar.gz`.

The manifest does what `pex --scie eager` has scie-jump do: unpack Python and the PEX, have the PEX install itself as
a virtualenv once (the binding `configure`), and from then on start that virtualenv.
"""

import json
import os
import sys
from pathlib import Path

BINDING = """\
import os, sys
with open(os.environ["SCIE_BINDING_ENV"], "w") as file:
    print("PYTHON=" + sys.executable, "PEX=" + sys.prefix, "VIRTUAL_ENV=" + sys.prefix, sep="\\n", file=file)
"""


def manifest(name):
    configure = {
        "env": {"PEX_.*": None, "PYTHON.*": None, "=PEX_INTERPRETER": "1", "=PEX_EMIT_WARNINGS": "0"},
        "exe": "{cpython}/python/bin/python3",
        "args": ["{pex}", "{configure.py}"],
    }
    command = {
        "env": {
            "=VIRTUAL_ENV": "{scie.bindings.configure:VIRTUAL_ENV}",
            "=__PEX_EXE__": "{scie}",
            "=__PEX_ENTRY_POINT__": "{scie.bindings.configure:PEX}",
        },
        "exe": "{scie.bindings.configure:PYTHON}",
        "args": ["{scie.bindings.configure:PEX}"],
    }
    files = [{"name": "cpython.tar.gz", "key": "cpython"}, {"name": "configure.py"}, {"name": f"{name}.pex", "key": "pex", "executable": True}]
    return {"scie": {"lift": {"name": name, "files": files, "boot": {"commands": {"": command}, "bindings": {"configure": configure}}}}}


def main(directory, name, archive):
    directory = Path(directory)
    (directory / "configure.py").write_text(BINDING)
    (directory / "lift.json").write_text(json.dumps(manifest(name), indent=2))
    copy = directory / "cpython.tar.gz"
    if not copy.exists():
        os.link(archive, copy)


if __name__ == "__main__":
    main(*sys.argv[1:])
