# Starts {module}:{attribute}.
import sys

from {module} import {first}

if __name__ == "__main__":
    sys.exit({attribute}())
