#!/usr/bin/env python3
"""Reads a bundle, written from docs/FORMAT.md alone: standard library only, Python 3.9 or newer.

    read_bundle.py BUNDLE

Prints what is inside and checks every claim of the manifest; ends with 1 at the first that is wrong.
The archives are looked into where the `zstd` command is installed; digests are compared in any case.
"""

import hashlib
import io
import json
import mmap
import shutil
import struct
import subprocess
import sys
import tarfile

MAX_FRAME = 4 << 20
DATA_FRAME, INDEX_FRAME, SEEKABLE = 0xFD2FB528, 0x184D2A5E, 0x8F92EAB1
END_OF_ARCHIVE = 1024
BUILT_AT = 318211200


class Wrong(Exception):
    """The bundle is not what the format page says."""


def check(true, sentence):
    if not true:
        raise Wrong(sentence)


def unpack(layout, data, offset, what):
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error:
        raise Wrong(f"the file ends inside {what}") from None


def sections(elf):
    """The sections of an ELF64 little-endian file: name -> (offset, size)."""
    check(elf[:6] == b"\x7fELF\x02\x01", "this is not an ELF64 little-endian file")
    (table,) = unpack("<Q", elf, 0x28, "the ELF header")
    entry_size, count, names_index = unpack("<HHH", elf, 0x3A, "the ELF header")
    headers = [unpack("<IIQQQQ", elf, table + entry_size * i, "the section headers") for i in range(count)]
    check(names_index < count, "there is no table of section names")
    names = headers[names_index][4]
    found = {}
    for name, _type, _flags, _address, offset, size in headers:
        end = elf.find(b"\0", names + name)
        check(end >= 0 and offset >= 0, "a section has no name")
        found[elf[names + name : end].decode("ascii", "replace")] = (offset, size)
    return found


def section(elf, found, name):
    check(name in found, f"there is no section {name}: this is an ELF file, but not a bundle")
    offset, size = found[name]
    check(offset + size <= len(elf), f"section {name} goes beyond the end of the file")
    return memoryview(elf)[offset : offset + size]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def read_manifest(manifest, stamp):
    manifest, stamp = bytes(manifest), bytes(stamp)
    check(len(stamp) == 64 and stamp[:16] == b"coil bundle 1\0\0\0" and not any(stamp[48:]), "the stamp is not a stamp")
    check(hashlib.sha256(manifest).digest() == stamp[16:48], "the stamp is that of another manifest")
    read = json.loads(manifest)
    canonical = json.dumps(read, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    check(manifest == canonical, "the manifest is not canonical")
    check(read["schema"] == 1, f"the manifest has schema {read['schema']}, this reader knows 1")
    return read


def read_index(blob):
    """The frames of a blob: (compressed size, decompressed size) of each."""
    check(len(blob) >= 17, "the blob is too short for an index")
    count, descriptor, magic = unpack("<IBI", blob, len(blob) - 9, "the index")
    check(magic == SEEKABLE and descriptor == 0, "the blob does not end with an index")
    start = len(blob) - (8 + 8 * count + 9)
    check(start >= 0, "the index is longer than the blob")
    check(unpack("<II", blob, start, "the index") == (INDEX_FRAME, 8 * count + 9), "the index does not begin where it should")
    return start, [unpack("<II", blob, start + 8 + 8 * i, "the index") for i in range(count)]


def check_frames(blob, unpacked_size):
    end, frames = read_index(blob)
    at = 0
    for compressed, decompressed in frames:
        check(at + 4 <= end and unpack("<I", blob, at, "a frame") == (DATA_FRAME,), f"no frame begins at {at}")
        check(decompressed <= MAX_FRAME, f"the frame at {at} is larger than 4 MiB")
        at += compressed
    check(at == end, "the frames do not fill the blob up to its index")
    check(sum(size for _, size in frames) == unpacked_size, "the frames do not add up to unpackedSize")
    check(frames[-1][1] == END_OF_ARCHIVE, "the last frame is not the end-of-archive mark")
    return len(frames)


def check_archive(blob, layer):
    """Unpacks a layer with the `zstd` command; the paths in it."""
    archive = subprocess.run(["zstd", "-dcq"], input=blob, stdout=subprocess.PIPE, check=True).stdout
    check(len(archive) == layer["unpackedSize"], "the archive is not as long as unpackedSize says")
    check(digest(archive) == layer["diffId"], "the archive is not the one diffId names")
    # An app layer also brings the environment's scripts and .pth files that lead to its source tree.
    tops = {"runtime": {"python"}, "wheel": {"venv"}, "app": {"app", "venv"}}[layer["kind"]]
    paths = []
    for entry in tarfile.open(fileobj=io.BytesIO(archive)):
        paths.append(entry.name)
        check(entry.name.split("/")[0] in tops, f"{entry.name} is not below {' or '.join(sorted(tops))}")
        check((entry.uid, entry.gid, entry.mtime) == (0, 0, BUILT_AT), f"{entry.name} has an owner or a time of its own")
        modes = {tarfile.DIRTYPE: {0o755}, tarfile.REGTYPE: {0o644, 0o755}, tarfile.SYMTYPE: {0o777}}
        check(entry.mode in modes.get(entry.type, ()), f"{entry.name} has a type or mode that no layer has")
    keys = [path.encode() for path in paths]
    check(keys == sorted(set(keys)), "the entries are not sorted, or not unique")
    return set(paths)


def check_layers(manifest, payload):
    """Checks every blob; the paths in each layer, or `None` where `zstd` is missing."""
    contents, end = [], 0
    for layer in manifest["layers"]:
        title = f"{layer['name']} {layer.get('version', '')}".strip()
        offset, size = layer["offset"], layer["size"]
        check(offset % 4096 == 0 and offset >= end, f"the blob of {title} is not where one can be")
        check(not any(payload[end:offset]), f"the gap before the blob of {title} is not empty")
        end = offset + size
        check(end <= len(payload), f"the blob of {title} goes beyond its section")
        blob = payload[offset:end]
        check(digest(blob) == layer["digest"], f"the blob of {title} is damaged")
        frames = check_frames(blob, layer["unpackedSize"])
        contents.append(check_archive(blob, layer) if shutil.which("zstd") else None)
        looked = "not looked into: there is no zstd" if contents[-1] is None else f"{len(contents[-1])} entries"
        print(f"layer    {layer['kind']:8} {title:30} {size:>10} bytes, {frames} frames, {looked}")
    check(not any(payload[end:]), "something follows the last blob")
    return contents


def check_environment(manifest, contents):
    environment = manifest["environment"]
    for kind in ("links", "scripts"):
        for path, source in environment[kind].items():
            there = contents[source["layer"]]
            check(there is None or source["path"] in there, f"{path} leads to {source['path']}, which its layer has not")


def main():
    with open(sys.argv[1], "rb") as file:
        elf = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    found = sections(elf)
    manifest = read_manifest(section(elf, found, ".coil.manifest"), section(elf, found, ".coil.stamp"))
    python, platform = manifest["python"], manifest["platform"]
    print(f"bundle   {manifest['name']} {manifest.get('version', '')}".rstrip())
    print(f"python   {python['implementation']} {python['version']}, {python['libc']}, {platform['os']}/{platform['architecture']}")
    for name, command in sorted(manifest["commands"].items()):
        default = " (default)" if name == manifest.get("default") else ""
        print(f"command  {name}: {' '.join([command['script'], *command.get('args', [])])}{default}")
    check_environment(manifest, check_layers(manifest, section(elf, found, ".coil.layers")))
    print("ok")


if __name__ == "__main__":
    try:
        main()
    except (Wrong, LookupError, ValueError, TypeError, OSError, tarfile.TarError, subprocess.CalledProcessError) as error:
        sys.exit(f"read_bundle.py: {error}")
