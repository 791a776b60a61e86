"""Follows `compile.py` for Python 3.9 and 3.10: byte code with the members of frozensets in one order.

From 3.11 on, marshal sorts them. Before that they come in the order of their hashes, and some hashes are
addresses, which differ from run to run.
"""

CODE = type(number.__code__)


def marshalled(code):
    if not is_unstable(code):
        return marshal.dumps(code)
    data = dump(code)
    # A mistake here would be one in the app: read it back while there is time.
    if marshal.loads(data) != code:
        raise ValueError("its constants cannot be put in order")
    return data


def is_unstable(value):
    """Whether a frozenset in `value` has a member whose hash is an address."""
    if isinstance(value, CODE):
        return any(map(is_unstable, value.co_consts))
    if isinstance(value, tuple):
        return any(map(is_unstable, value))
    if isinstance(value, frozenset):
        return any(map(has_address, value))
    return False


def has_address(value):
    if isinstance(value, (tuple, frozenset)):
        return any(map(has_address, value))
    return value is None or value is Ellipsis


def dump(value):
    """What `marshal.dumps(value, 2)` gives, without references, the members of frozensets sorted."""
    if isinstance(value, CODE):
        return dump_code(value)
    if isinstance(value, tuple):
        return b"(" + number(len(value)) + b"".join(map(dump, value))
    if isinstance(value, frozenset):
        return b">" + number(len(value)) + b"".join(sorted(map(dump, value)))
    return marshal.dumps(value, 2)


def dump_code(code):
    """The fields of a code object in the order of marshal.c, Python 3.8 to 3.10."""
    numbers = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_nlocals,
        code.co_stacksize,
        code.co_flags,
    )
    before = (
        code.co_code,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_filename,
        code.co_name,
    )
    lines = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    parts = [b"c", *map(number, numbers), *map(dump, before), number(code.co_firstlineno), dump(lines)]
    return b"".join(parts)
