#!/usr/bin/env python3
"""Makes a project of the usual size: the Django example with thirty wheels around it.

    benches/django_thirty.py DIRECTORY

What packing it again costs after one changed line is what most people meet most often.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# With what they need, thirty wheels on CPython 3.12: frameworks, clients, and some with libraries inside.
REQUIREMENTS = """\
celery==5.5.*
django==5.2.*
django-filter
djangorestframework
gunicorn
pillow
psycopg2-binary
redis
requests
whitenoise
"""


def make(directory):
    leave = shutil.ignore_patterns("__pycache__", "*.sqlite3", ".venv", "README.md")
    shutil.copytree(ROOT / "examples" / "django-site", directory, ignore=leave)
    (Path(directory) / "requirements.txt").write_text(REQUIREMENTS)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(sys.argv[1])
