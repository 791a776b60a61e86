"""Starts a process type of @APP@ for a supervisor: COIL=python @FILE@ @SCRIPT@ NAME

What systemd does by itself is done here: settings, a socket at descriptor 3 (sd_listen_fds(3)), another user.
"""

import os
import pwd
import re
import socket
import sys

DEFAULTS = {@DEFAULTS@}
REQUIRED = [@REQUIRED@]
ADDRESSES = {@ADDRESSES@}

# A line NAME=value as systemd reads it (EnvironmentFile= in systemd.exec(5)): parts in quotes, then plain text.
LINE = re.compile(
    r"""^(?![ \t]*[#;])[ \t]*([^=\n]+?)[ \t]*=((?:[ \t]*(?:"(?:[^"\\]|\\.)*"|'[^']*'))*)[ \t]*((?:[^\\\n]|\\.)*)""",
    re.MULTILINE | re.DOTALL,
)


def unescaped(text, special):
    """What is behind a backslash; the backslash itself stays before what is not special. A line end behind one goes."""
    return re.sub(rf"\\({special})", lambda found: found[1].strip("\n"), text, flags=re.DOTALL)


def settings(text):
    """The settings in a file that says `text`, by name."""
    found = {}
    for name, quoted, plain in LINE.findall(text):
        parts = re.findall(r""""((?:[^"\\]|\\.)*)"|'([^']*)'""", quoted, re.DOTALL)
        value = "".join(unescaped(double, r"[\"\\`$\n]") + single for double, single in parts)
        found[name] = value + unescaped(plain.rstrip(" \t"), ".")
    return found


name = sys.argv[1]
environment = {key: value for key, value in os.environ.items() if key != "COIL"}
environment.update(DEFAULTS, COIL_RUN=name, PYTHONUNBUFFERED="1")
try:
    with open("@SETTINGS@") as file:
        environment.update(settings(file.read()))
except FileNotFoundError:
    pass
missing = [required for required in REQUIRED if not environment.get(required)]
if missing:
    sys.exit("@APP@ does not start without " + ", ".join(missing) + ": say it in @SETTINGS@")

user = None
if os.geteuid() == 0:
    try:
        user = pwd.getpwnam("@USER@")
    except KeyError:
        sys.exit("there is no user @USER@; make one: useradd --system --no-create-home @USER@")

address = ADDRESSES.get(name)
if address:
    if address.startswith("/"):
        os.makedirs(os.path.dirname(address), exist_ok=True)
        if os.path.exists(address):
            os.unlink(address)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        os.chmod(address, 0o666)
    elif address.startswith("[::]:"):
        # Every address of the machine, as ListenStream= has it for a port alone.
        port, both = int(address.rpartition(":")[2]), socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    else:
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    listener.listen(4096)
    listener.setblocking(False)
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    environment.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))

os.makedirs("@STATE@", exist_ok=True)
if user:
    os.chown("@STATE@", user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
os.chdir("@STATE@")
os.umask(0o077)
os.execve("@FILE@", ["@FILE@", *sys.argv[2:]], environment)
