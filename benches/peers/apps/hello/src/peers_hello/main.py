"""Says hello; imports nothing that Python has not imported anyway."""

import os
import sys

STAMP = "0000"  # changed before packing again


def main():
    print("Hello, world! stamp", STAMP, flush=True)
    if "PEERS_HOLD" in os.environ:
        sys.stdin.read()  # stays until its files were counted
