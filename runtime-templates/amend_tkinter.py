

# Added by coil. Tcl looks for its scripts where it was built to find them, and they came along instead. It is told
# so while an interpreter is made and not longer: no program that is started later inherits it.
def _coil_create(*args, **kwargs):
    share = sys.base_prefix + "/lib/"
    told = {}
    for name, version in (("TCL_LIBRARY", _tkinter.TCL_VERSION), ("TK_LIBRARY", _tkinter.TK_VERSION)):
        path = share + name[:-8].lower() + version
        if name not in os.environ and os.path.isdir(path):
            told[name] = path
    os.environ.update(told)
    try:
        return _coil_tkinter_create(*args, **kwargs)
    finally:
        for name in told:
            os.environ.pop(name, None)


import os

_coil_tkinter_create = _tkinter.create
_tkinter.create = _coil_create
