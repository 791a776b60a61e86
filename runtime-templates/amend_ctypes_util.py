

# Added by coil: what is asked for may have come along, and then neither a compiler nor the host is asked where
# it is. The name that is found is loaded from beside the interpreter.
_coil_find_library = find_library


def find_library(name):
    import sys

    found = []
    for directory in ("lib", "libgcc", "libc"):
        try:
            files = os.listdir(os.path.join(sys.base_prefix, directory))
        except OSError:
            continue
        start = "lib%s.so" % name
        found += [file for file in files if file == start or file.startswith(start + ".")]
    return max(found, key=lambda file: (len(file), file)) if found else _coil_find_library(name)
