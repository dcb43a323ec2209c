# ruff: noqa: I001 (the order of imports is the order of the catalogue)
"""The imports register every translator."""

from relrep_cli.stitching import translators as translators, local_maps as local_maps
