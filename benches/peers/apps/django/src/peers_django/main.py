"""What `manage.py check` does, with the site's settings."""

import os
import sys

STAMP = "0000"  # changed before packing again


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "peers_django.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage", "check"])
    print("checked, stamp", STAMP, flush=True)
    if "PEERS_HOLD" in os.environ:
        sys.stdin.read()  # stays until its files were counted
