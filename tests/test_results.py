"""What compare gives beyond its table of scores: Parquet, matrices, pictures, the worst items, permutation tests, layers."""

from __future__ import annotations

import json

import pyarrow.parquet
from conftest import N, Workdir, only_line

# --- Parquet ---


def test_parquet_holds_what_json_holds(work: Workdir) -> None:
    """Numbers in full precision, null for no value, text as text, also for keys that only some records have."""
    command = "relrep compare a.h5 b.h5 c.h5 -m cosine,knn-jaccard -q"
    wanted = json.loads(work.here(f"{command} --json").stdout)
    done = work.here(f"{command} -o out.parquet")
    table = pyarrow.parquet.read_table(work / "out.parquet")
    assert not done.stdout and table.to_pylist() == wanted
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert {types[c] for c in ("a", "metric", "convention")} == {"string"}
    assert (types["value"], types["n"], types["tied"]) == ("double", "int64", "int64")


def test_row_values_as_parquet(work: Workdir) -> None:
    work.here("relrep compare a.rel.h5 b.rel.h5 -m cosine --per-row rows.parquet -q")
    table = pyarrow.parquet.read_table(work / "rows.parquet")
    assert table.column_names == ["id", "a", "b", "metric", "value"] and len(table) == N


def test_parquet_is_no_text(work: Workdir) -> None:
    line = only_line(work.here("relrep compare a.h5 b.h5 -m cka -o x.parquet --json", 2), "x.parquet", "--format json")
    assert line.endswith("leave one out.") and not (work / "x.parquet").exists()
