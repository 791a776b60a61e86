

# Added by coil: the zones that came along can be had as well (`_common.load_tzdata`).
_coil_available_timezones = available_timezones


def available_timezones():
    from ._common import _coil_zones

    return _coil_available_timezones() | set(_coil_zones(TZPATH)[0])


available_timezones.__doc__ = _coil_available_timezones.__doc__
