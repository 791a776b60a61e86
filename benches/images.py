#!/usr/bin/env python3
"""Compares the images of the four examples with the same apps on a slim root, as `python:3-slim` is one: made with debootstrap.

    benches/images.py --coil target/release/coil --python PYTHON3.11 [--mirror URL] [--root DIR] [--write docs/IMAGES.md]

Needs root, debootstrap, tar, gzip, and a CPython 3.11 with pip, which is packed and installs the apps' dependencies for the slim root's
own (bookworm has 3.11). A slim root is `debootstrap --variant=minbase --include=ca-certificates,python3` without what Debian's
own slim images leave out: documentation, locales, apt's lists and archives. It is one layer, and the app with its dependencies another, both
compressed by `gzip -6` as registries hold them. pip is not in it. With --root, a root that was made so is taken.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from common import ROOT, fill_in, run

EXAMPLES = {"hello": "hello", "flask-cli": "flask-cli", "django-site": "django-site", "science": "science/science.py"}
LEFT_OUT = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt", "var/log"]
PACKAGES = "usr/local/lib/python3.11/dist-packages"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coil", required=True, type=Path)
    parser.add_argument("--python", required=True, type=Path, help="a CPython 3.11 with pip")
    parser.add_argument("--mirror", help="where debootstrap gets packages, if not where it would by itself")
    parser.add_argument("--root", type=Path, help="a slim root that is there")
    parser.add_argument("--write", type=Path, help="the document to fill in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coil-images-") as temporary:
        work = Path(temporary)
        root = options.root or slim(work / "root", options.mirror)
        shared = layer(root)
        rows = [row(name, options, work, shared) for name in EXAMPLES]
    text = table(rows, shared)
    print(text)
    if options.write:
        options.write.write_text(fill_in(options.write.read_text(), "sizes", text))


def slim(root, mirror):
    """A root with Debian's Python, and what its slim images leave out removed."""
    words = ["debootstrap", "--variant=minbase", "--include=ca-certificates,python3", "bookworm", root]
    run(words + ([mirror] if mirror else []))
    for name in LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
    return root


def row(name, options, work, shared):
    print(f"measuring {name}", file=sys.stderr)
    source = ROOT / "examples" / EXAMPLES[name]
    image = work / f"{name}.tar"
    run([options.coil, "image", source, "--python", options.python, "-o", image])
    parts = layers(image)
    own = [size for part, size in parts if part not in ("base", "runtime")]
    tree = work / name
    install(source, tree, options.python)
    return name, total([size for _, size in parts]), total(own), total([shared, layer(tree)]), layer(tree)


def install(source, tree, python):
    """The app and its dependencies as `pip install` and COPY in a Dockerfile leave them."""
    packages = tree / PACKAGES
    packages.mkdir(parents=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", "--target", packages]
    if source.is_file():
        inline = re.search(r"dependencies = (\[.*\])", source.read_text())
        run([*pip, *json.loads(inline[1])])
        (tree / "app").mkdir()
        shutil.copy(source, tree / "app")
        return
    if (source / "requirements.txt").exists():
        run([*pip, "--requirement", source / "requirements.txt"])
    elif "build-backend" in (source / "pyproject.toml").read_text():
        run([*pip, source])
        return
    shutil.copytree(source, tree / "app")


def layers(image):
    """Part, compressed and unpacked length of each layer of coil's image, in bytes."""
    with tarfile.open(image) as archive:
        blob = lambda descriptor: archive.extractfile("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))
        manifest = json.load(blob(json.load(archive.extractfile("index.json"))["manifests"][0]))
        found = []
        for descriptor in manifest["layers"]:
            unpacked = subprocess.run(["zstd", "-dc"], input=blob(descriptor).read(), stdout=subprocess.PIPE, check=True).stdout
            found.append((descriptor["annotations"]["coil.part"], (descriptor["size"], len(unpacked))))
        return found


def layer(tree):
    """Compressed and unpacked length of a layer of all that is in a directory, in bytes."""
    tar = ["tar", "--create", "--sort=name", "--numeric-owner", "--directory", str(tree), "."]
    pipe = f"{' '.join(tar)} | tee >(wc -c >&2) | gzip -6 | wc -c"
    ran = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=True)
    return int(ran.stdout), int(ran.stderr)


def total(sizes):
    return tuple(map(sum, zip(*sizes)))


def table(rows, shared):
    size = lambda sizes: f"{sizes[0] / 1e6:.1f} / {sizes[1] / 1e6:.1f}"
    lines = [
        "| MB, compressed / unpacked | from scratch | of it the app's own | on a slim root | of it the app's own |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {name} | {' | '.join(size(sizes) for sizes in all)} |" for name, *all in rows]
    return "\n".join(lines) + f"\n\nThe slim root alone is {size(shared)}.\n"


if __name__ == "__main__":
    main()
