"""A click command that asks a Flask site for one page, and has requests at hand."""

import os
import sys

import click
import requests
from flask import Flask, render_template

STAMP = "0000"  # changed before packing again


@click.command()
def main():
    site = Flask("peers_flask")
    site.add_url_rule("/", "index", lambda: render_template("index.html", client=requests.__name__))
    page = site.test_client().get("/")
    click.echo(f"{page.status_code} {page.text.strip()}")
    certificates = os.path.getsize(requests.certs.where()) > 100_000
    print("certificates", "ok" if certificates else "missing", "stamp", STAMP, flush=True)
    if "PEERS_HOLD" in os.environ:
        sys.stdin.read()  # stays until its files were counted
