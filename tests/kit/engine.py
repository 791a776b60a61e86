
# In place of docker or podman, as far as `coil deploy --image` talks to them. What it has is in images.json beside it, what it
# is to do otherwise than usual in files with the names of that.
import gzip, hashlib, io, json, os, sys, tarfile

bin, name = os.path.split(os.path.abspath(sys.argv[0]))
home = os.path.dirname(bin)
words = sys.argv[1:]


def marked(mark):
    try:
        return open(os.path.join(home, mark)).read()
    except FileNotFoundError:
        return None


def fail(why):
    sys.exit(print(why, file=sys.stderr) or 1)


def note(file, text, mode="w"):
    with open(os.path.join(home, file), mode) as out:
        out.write(text)


images = json.loads(marked("images.json") or "{}")
version = (marked("version") or ("20.10.24+dfsg1" if name == "docker" else "4.3.1")).strip()
platform = "linux/" + (marked("architecture") or "amd64").strip()


def find(what):
    for id, image in images.items():
        if what in image["tags"] or id == what or "sha256:" + id == what:
            return id
    fail(f"Error: No such image: {what}")


def untag(what):
    for image in images.values():
        image["tags"] = [tag for tag in image["tags"] if tag != what]


def load():
    if marked("full") is not None:
        sys.stdin.buffer.read()
        fail("Error processing tar file(exit status 1): write /python/lib/x: no space left on device")
    archive = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))
    members = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    [image] = json.loads(members["manifest.json"])
    config = members[image["Config"]]
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    note("loads", f"{sum(layer in members for layer in image['Layers'])}\n", "a")
    for number, layer in enumerate(image["Layers"]):
        bytes = members.get(layer)
        if bytes is None:
            by_chain = any(one["layers"][: number + 1] == diff_ids[: number + 1] for one in images.values())
            by_itself = any(diff_ids[number] in one["layers"] for one in images.values())
            if marked("refuses-thin") is not None or not (by_chain if name == "docker" else by_itself):
                fail(f"open /var/lib/docker/tmp/docker-import-1/{layer}: no such file or directory")
        elif bytes[:4] == b"\x28\xb5\x2f\xfd":
            if version.startswith("20."):
                fail("Error processing tar file(exit status 1): archive/tar: invalid tar header")
            if hashlib.sha256(bytes).hexdigest() != layer.rsplit("/")[-1]:
                fail(f"{layer} has another digest")
            note("form", "zstd")
        else:
            if "sha256:" + hashlib.sha256(gzip.decompress(bytes)).hexdigest() != diff_ids[number]:
                fail(f"{layer} has another diff_id")
            note("form", "gzip")
    id = hashlib.sha256(config if marked("wrong") is None else b"").hexdigest()
    images.setdefault(id, {"tags": [], "layers": diff_ids})
    for tag in image["RepoTags"]:
        untag(tag)
        images[id]["tags"].append(tag)


def inspect(form, whats):
    for what in whats:
        id = find(what)
        image = images[id]
        shown = "sha256:" * (name == "docker") + id
        if form == "{{.Id}}":
            print(shown)
        elif form == "{{range .RepoTags}}{{println .}}{{end}}":
            print("\n".join(image["tags"]))
        elif form == "coil-image {{.Id}} {{json .RepoTags}} {{json .RootFS.Layers}}":
            tags, layers = (json.dumps(it, separators=(",", ":")) for it in (image["tags"], image["layers"]))
            print("coil-image", shown, tags, layers)
        else:
            fail(f"template: {form}")


if words == ["--version"]:
    sys.exit(print(f"{name} version {version}"))
if marked("no-daemon") is not None:
    fail(marked("no-daemon"))
if words[0] == "version":
    print(version, platform)
elif words[0] == "info":
    print('[["Backing Filesystem","extfs"]]')
elif words[:2] == ["image", "ls"]:
    for id, image in images.items():
        print("\n".join(["sha256:" + id] * max(1, len(image["tags"]))))
elif words[:3] == ["image", "inspect", "--format"]:
    inspect(words[3], words[4:])
elif words == ["load", "-q"]:
    load()
elif words[0] == "tag":
    id = find(words[1])
    untag(words[2])
    images[id]["tags"].append(words[2])
elif words[0] == "rmi":
    id = find(words[1])
    if words[1].rsplit(":")[-1] == marked("in-use"):
        fail(f"conflict: unable to remove repository reference {words[1]}: a container is using it")
    untag(words[1])
    if not images[id]["tags"]:
        del images[id]
elif words[:2] == ["ps", "-a"]:
    for line in (marked("containers") or "").splitlines():
        print("coil-container", line)
else:
    fail(f"unknown command: {words}")
note("images.json", json.dumps(images))
