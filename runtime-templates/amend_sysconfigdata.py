

# Added by coil: the paths above are those of an image, where all this is in /python. These are the ones here.
def _coil_relocate(paths):
    import os
    import re
    import sys

    prefix = sys.base_prefix
    image = re.compile(r"(?:(?<![\w./+-])|(?<=-[IL]))/python(?![\w.+-])")
    here = lambda match: prefix
    for name, value in build_time_vars.items():
        if isinstance(value, str) and "/python" in value:
            build_time_vars[name] = image.sub(here, value)
    for name, below in paths.items():
        if name in build_time_vars:
            build_time_vars[name] = os.path.normpath(os.path.join(prefix, below))


