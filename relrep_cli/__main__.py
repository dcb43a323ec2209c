"""Entry point of the `relrep` command; `python -m relrep_cli` is the same."""

from relrep_cli import signals


def main() -> None:
    signals.install()  # before the slow imports, so that a signal finds its handler from the first moment on
    from relrep_cli.cli import main

    main()


if __name__ == "__main__":
    main()
