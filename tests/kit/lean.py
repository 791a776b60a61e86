"""Copies of the running CPython what a resolver, a compiler of byte code and a small app need, to argv[1].

Standard library only: what is imported here, and what that imports."""
import os
import shutil
import sys
import sysconfig

target = sys.argv[1]
prefix = sys.base_prefix
library = sysconfig.get_path("stdlib")
if prefix.startswith("/usr") or not os.path.isdir(os.path.join(prefix, "lib")):
    sys.exit("it is part of the system")

import __future__, argparse, ast, compileall, concurrent.futures, csv, ctypes, dis, email.message, email.parser
import encodings.ascii, encodings.idna, encodings.latin_1
import importlib.metadata, importlib.util, json, locale, logging, marshal, pathlib, pkgutil, platform
import pty, py_compile, runpy, shlex, signal, site, struct, subprocess, tempfile, threading, zipfile
for name in ["_md5", "_sha1", "_sha2", "_sha256", "_sha512", "_sha3", "_blake2", "importlib.resources"]:
    try:
        __import__(name)
    except ImportError:
        pass

modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
# With it comes all of OpenSSL.
files = {file for file in modules if file and "_hashlib." not in file and file.startswith(prefix)}
files |= {os.path.join(library, name) for name in os.listdir(library) if name.startswith("_sysconfigdata")}
libraries = os.path.join(prefix, "lib")
files |= {os.path.join(libraries, name) for name in os.listdir(libraries) if name.startswith("libpython")}
files |= {os.path.realpath(sys.executable), os.path.join(library, "LICENSE.txt")}
for file in files:
    copy = os.path.join(target, os.path.relpath(file, prefix))
    if os.path.exists(file):
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy2(file, copy, follow_symlinks=False)
for name in ["python", "python3"]:
    os.symlink("python%d.%d" % sys.version_info[:2], os.path.join(target, "bin", name))
