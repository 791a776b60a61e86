"""The command line: serve the site, or start it for a moment and look at it."""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import contextmanager
from typing import Iterator

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flask-cli")
def main() -> None:
    """A small Flask site in one file."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5000, show_default=True, help="0 picks a free one.")
def serve(host: str, port: int) -> None:
    """Serve the site until Ctrl-C."""
    from flask_cli.site import create_app

    create_app().run(host, port)


@main.command()
@click.argument("path", default="/")
def fetch(path: str) -> None:
    """Start the site for a moment and print what PATH answers."""
    import requests

    with running_site() as url:
        answer = ask(requests, url + path)
        click.echo(answer.text)
    if not answer.ok:
        raise click.ClickException(f"{path} answers {answer.status_code} {answer.reason}")


@main.command()
def check() -> None:
    """Start the site for a moment and see whether everything it is made of works."""
    import requests

    with running_site() as url:
        page = ask(requests, url + "/")
        facts = ask(requests, url + "/facts.json").json()
        lost = ask(requests, url + "/no-such-page")

    expect("the page comes from its template", page.ok and "<h1>Served by Python" in page.text)
    expect("the page and the JSON agree", all(number in page.text for number in facts["distributions"].values()))
    expect("a page that is not there is a 404", lost.status_code == 404)
    expect("the certificates of requests are there", os.path.getsize(requests.certs.where()) > 100_000)
    click.echo(json.dumps(facts, indent=2))


@contextmanager
def running_site() -> Iterator[str]:
    """The site on a free port of the loopback device, served by a thread."""
    from flask_cli.site import create_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, create_app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(requests, url: str):
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business on the loopback device
        return session.get(url, timeout=10)


def expect(what: str, true: bool) -> None:
    if not true:
        raise click.ClickException(f"not so: {what}")
    click.echo(f"ok: {what}")
