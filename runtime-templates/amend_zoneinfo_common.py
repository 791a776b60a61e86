

# Added by coil. Where neither the host nor a tzdata package knows a time zone, those that came along are
# looked through: a file of lines `NAME OFFSET LENGTH`, an empty line, and what those lines refer to.
def _coil_zones():
    import sys

    try:
        with open(sys.base_prefix + "/share/zoneinfo", "rb") as file:
            content = file.read()
    except OSError:
        return {}, b""
    index, _, zones = content.partition(b"\n\n")
    lines = (line.split() for line in index.decode().splitlines())
    return {name: (int(offset), int(length)) for name, offset, length in lines}, zones


_coil_load_tzdata = load_tzdata


def load_tzdata(key):
    try:
        return _coil_load_tzdata(key)
    except ZoneInfoNotFoundError:
        names, zones = _coil_zones()
        if key not in names:
            raise
        import io

        offset, length = names[key]
        return io.BytesIO(zones[offset : offset + length])
