"""The apps that are packed: the same sources, and the same pinned wheels, for every tool."""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

APPS = Path(__file__).resolve().parent / "apps"
FIRST_STAMP = "0000"


@dataclass
class App:
    """An app is the package `peers_NAME`, started by `-m peers_NAME`; it prints its stamp on its last line."""

    name: str
    title: str
    prints: list  # every one of these has to be in what it prints, and its stamp at the end
    pyinstaller: list = field(default_factory=list)  # what PyInstaller has to be told, as its documentation says
    nuitka: list = field(default_factory=list)

    @property
    def package(self):
        return f"peers_{self.name}"

    @property
    def requirements(self):
        return APPS / self.name / "requirements.txt"

    @property
    def has_requirements(self):
        return bool(self.requirements.read_text().strip())

    def digest(self):
        """Changes whenever the sources or the requirements do."""
        whole = hashlib.sha256()
        for path in sorted((APPS / self.name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                whole.update(f"{path.relative_to(APPS)}\0".encode() + path.read_bytes() + b"\0")
        return whole.hexdigest()[:16]

    def copy(self, directory):
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(APPS / self.name, directory, ignore=shutil.ignore_patterns("__pycache__"))

    def change_one_line(self, directory, number):
        """Gives a copy of the sources another stamp, which is returned."""
        main = directory / "src" / self.package / "main.py"
        stamp = f"{number:04}"
        lines = main.read_text().splitlines(keepends=True)
        main.write_text("".join(f'STAMP = "{stamp}"\n' if line.startswith("STAMP =") else line for line in lines))
        return stamp

    def wrong(self, output, stamp):
        """What is wrong with what it printed, or None."""
        for expected in self.prints:
            if expected not in output:
                return f"did not print “{expected}”"
        if not output.rstrip().endswith(f"stamp {stamp}"):
            return "still has the line that was changed"
        return None


HELLO = App("hello", "hello", ["Hello, world!"])
FLASK = App(
    "flask",
    "flask + click + requests",
    ["200 <h1>Served with requests at hand</h1>", "certificates ok"],
    pyinstaller=["--add-data", "src/peers_flask/templates:peers_flask/templates"],
    nuitka=["--include-package-data=peers_flask"],
)
DJANGO = App(
    "django",
    "Django, `manage check`",
    ["System check identified no issues"],
    pyinstaller=[
        *("--hidden-import", "peers_django.settings", "--hidden-import", "peers_django.urls"),
        *("--collect-submodules", "django", "--collect-data", "django", "--collect-submodules", "whitenoise"),
    ],
    nuitka=["--include-package=peers_django", "--include-package=django", "--include-package-data=django", "--include-package=whitenoise"],
)
ALL = {app.name: app for app in (HELLO, FLASK, DJANGO)}
