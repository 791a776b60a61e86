"""Starts a process type of @APP@ for a supervisor: COIL=python @FILE@ @SCRIPT@ NAME

What systemd does by itself is done here: settings, a socket at descriptor 3 (sd_listen_fds(3)), another user.
"""

import os
import pwd
import shlex
import socket
import sys

name = sys.argv[1]
address = {@ADDRESSES@}.get(name)
environment = {key: value for key, value in os.environ.items() if key != "COIL"}
environment.update(COIL_RUN=name, PYTHONUNBUFFERED="1")
try:
    with open("@SETTINGS@") as settings:
        for word in shlex.split(settings.read(), comments=True):
            key, _, value = word.partition("=")
            environment[key] = value
except FileNotFoundError:
    pass

user = None
if os.geteuid() == 0:
    try:
        user = pwd.getpwnam("@USER@")
    except KeyError:
        sys.exit("there is no user @USER@; make one: useradd --system --no-create-home @USER@")

if address:
    if address.startswith("/"):
        os.makedirs(os.path.dirname(address), exist_ok=True)
        if os.path.exists(address):
            os.unlink(address)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        os.chmod(address, 0o666)
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        listener = socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
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
