"""Entry point of the `relrep` command; `python -m relrep_cli` is the same."""

import gc
import resource
import sys

if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
    sys.dont_write_bytecode = True  # Python keeps the half of a .pyc that the limit lets through, and no later run can read it

from relrep_cli.base import signals


def main() -> None:
    signals.install()  # before the slow imports, so that a signal finds its handler from the first moment on
    gc.disable()  # until `load` in cli has imported all: what a command imports, it keeps
    from relrep_cli.cli import main

    main()


if __name__ == "__main__":
    main()
