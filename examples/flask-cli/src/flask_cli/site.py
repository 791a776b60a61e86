"""The site: one page rendered from a template, and the same as JSON."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version

from flask import Flask, jsonify, render_template

SHOWN = ["flask", "werkzeug", "jinja2", "click", "requests"]


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def index() -> str:
        return render_template("index.html", **facts())

    @app.get("/facts.json")
    def as_json():
        return jsonify(facts())

    return app


def facts() -> dict:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "distributions": {name: version(name) for name in SHOWN},
    }
