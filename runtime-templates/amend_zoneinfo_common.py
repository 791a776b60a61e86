

# Added by coil. Where neither the host nor a tzdata package knows a time zone, those that came along are
# looked through: a file of lines `NAME OFFSET LENGTH`, an empty line, and what those lines refer to. They stand in
# for the system's, and so only while that is where zones are looked for.
from . import _tzpath as _coil_tzpath


def _coil_zones(places):
    import os
    import sys
    import sysconfig

    system = (sysconfig.get_config_var("TZPATH") or "").split(os.pathsep)
    if places != tuple(filter(os.path.isabs, system)):
        return {}, b""
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
        names, zones = _coil_zones(_coil_tzpath.TZPATH)
        if key not in names:
            raise
        import io

        offset, length = names[key]
        return io.BytesIO(zones[offset : offset + length])
