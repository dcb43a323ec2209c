"""`python -m relrep_cli` is `relrep`."""

from relrep_cli.cli import main

main()
