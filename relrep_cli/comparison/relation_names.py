"""The names of the relations that `compare --diagnose` looks for, the simplest first."""

from __future__ import annotations

RELATION_NAMES = (
    "equal",
    "precision",
    "noise",
    "scaled",
    "shifted",
    "unit-length",
    "padded",
    "truncated",
    "truncated-unit-length",
    "columns-permuted",
    "rotated",
    "whitened",
    "linear-map",
    "rows-reordered",
    "rotated-rows-reordered",
    "foreign-rows",
    "related",
    "unrelated",
    "none-of-these",
)
