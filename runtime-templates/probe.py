"""Asks an interpreter what it is. Prints one JSON object; coil's `Interpreter` reads it.

Must run on every CPython from 3.9 on and say something useful on anything else that is called python.
"""

import importlib.util
import json
import os
import platform
import sys


def glibc():
    """The version of the C library in use as (major, minor), or None where it is not glibc."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (AttributeError, OSError, ValueError):
        return None


def base_executable():
    """The interpreter behind every virtualenv, without symbolic links."""
    told = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    version = "%d.%d" % sys.version_info[:2]
    names = [os.path.basename(told), "python" + version + sys.abiflags, "python" + version, "python3"]
    beside = [os.path.join(sys.base_exec_prefix, "bin", name) for name in names]
    for path in [told] + beside:
        if os.path.isfile(path) and not os.path.exists(
            os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg")
        ):
            return os.path.realpath(path)
    return told


def dynload():
    """Where extension modules are."""
    there = [path for path in sys.path if os.path.basename(path) == "lib-dynload" and os.path.isdir(path)]
    return there[0] if there else None


def markers():
    """The environment of PEP 508."""
    info = sys.implementation.version
    version = "%d.%d.%d" % info[:3]
    if info.releaselevel != "final":
        version += info.releaselevel[0] + str(info.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


print(
    json.dumps(
        {
            "executable": sys.executable,
            "base_executable": base_executable(),
            "version": list(sys.version_info[:3]),
            "full_version": platform.python_version(),
            "implementation": sys.implementation.name,
            "abi_flags": sys.abiflags,
            "base_prefix": sys.base_prefix,
            "base_exec_prefix": sys.base_exec_prefix,
            "stdlib": os.path.dirname(os.path.abspath(os.__file__)),
            "dynload": dynload(),
            "magic": importlib.util.MAGIC_NUMBER.hex(),
            "glibc": glibc(),
            "machine": platform.machine(),
            "has_pip": importlib.util.find_spec("pip") is not None,
            "markers": markers(),
        }
    )
)
