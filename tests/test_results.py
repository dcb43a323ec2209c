"""What compare gives beyond its table of scores: Parquet, matrices, pictures, the worst items, permutation tests, layers."""

from __future__ import annotations

import json

import h5py
import pyarrow.parquet
import pytest
from conftest import N, Workdir, only_line
from test_shell import on_terminal

from relrep_cli.matrix import short_names

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


# --- matrices, references, layers ---


@pytest.fixture
def layers(work: Workdir) -> Workdir:
    """layers.h5 beside a.h5, b.h5 and c.h5, which it holds as layer/0, layer/2 and layer/10."""
    with h5py.File(work / "layers.h5", "w") as file:
        for name, number in zip("abc", (0, 2, 10), strict=True):
            with h5py.File(work / f"{name}.h5") as source:
                group = file.create_group(f"layer/{number}")
                for key in source:
                    source.copy(key, group)
                group.attrs.update(source.attrs)
    return work


def test_a_matrix_holds_the_scores(work: Workdir) -> None:
    scores = {(r["a"], r["b"]): r["value"] for r in work.here("relrep compare a.h5 b.h5 c.h5 -m cka -q").rows}
    rows = work.here("relrep compare a.h5 b.h5 c.h5 -m cka -q --matrix").rows
    assert [list(r) for r in rows] == [["cka", "a", "b", "c"]] * 3
    for i, row in zip("abc", rows, strict=True):
        for j in "abc":
            pair = tuple(sorted((f"{i}.h5", f"{j}.h5")))
            assert row["cka"] == i and row[j] == ("1.0" if i == j else scores[pair])


def test_a_matrix_of_an_asymmetric_metric_has_both_orders(work: Workdir) -> None:
    rows = work.here("relrep compare a.h5 b.h5 c.h5 -m pwcca -q --matrix").rows
    for first, second in (("a", "c"), ("c", "a")):
        alone = work.here(f"relrep compare {first}.h5 {second}.h5 -m pwcca -q").rows[0]["value"]
        assert {r["pwcca"]: r for r in rows}[first][second] == alone
    assert rows[0]["c"] != rows[2]["a"]


def test_a_matrix_says_its_convention_and_what_is_missing(work: Workdir) -> None:
    done = work.here("relrep compare a.h5 b.h5 gone.h5 -m cka --matrix", 3)
    assert [r["gone"] for r in done.rows] == ["n/a", "n/a", "1.0"]
    assert "gone.h5: no such file" in done.stderr and "cka: linear kernel, biased HSIC, columns centred; n = 240" in done.stderr
    table = work.here("relrep compare a.h5 b.h5 c.h5 -m cka --matrix --format table").stdout.splitlines()
    assert table[0].split() == ["cka", "a", "b", "c"] and table[-1].startswith("cka: linear kernel")
    work.here("relrep compare a.h5 b.h5 c.h5 -m cka --matrix -o m.parquet -q")
    assert pyarrow.parquet.read_table(work / "m.parquet").to_pylist()[0]["a"] == 1.0


def test_a_matrix_on_a_terminal(work: Workdir) -> None:
    command = "relrep compare a.h5 b.h5 c.h5 -m cka"
    assert on_terminal(work, command, "stdout", NO_COLOR="1").startswith("cka ")
    assert on_terminal(work, f"{command} --no-matrix", "stdout", NO_COLOR="1").startswith("a ")


def test_the_reference_is_the_first_or_one_by_name(work: Workdir) -> None:
    for told, first, others in (("first", "a.h5", ["b.h5", "c.h5"]), ("c.h5", "c.h5", ["a.h5", "b.h5"])):
        rows = work.here(f"relrep compare a.h5 b.h5 c.h5 -m cka -q --reference {told}").rows
        assert [(r["a"], r["b"]) for r in rows] == [(first, other) for other in others]
    only_line(work.here("relrep compare a.h5 b.h5 -m cka --reference x.h5", 2), "x.h5", "first, or one of them")


def test_a_pattern_names_the_layers_of_a_file(layers: Workdir) -> None:
    found = [f"layers.h5::layer/{number}" for number in (0, 2, 10)]
    rows = layers.here("relrep compare 'layers.h5::layer/*' a.h5 -m cka -q").rows
    assert [(r["a"], r["b"]) for r in rows] == [(layer, "a.h5") for layer in found]
    rows = layers.here("relrep compare 'layers.h5::/layer/?' -m cka -q").rows
    assert [(r["a"], r["b"]) for r in rows] == [tuple(found[:2])]
    rows = layers.here("relrep compare 'layers.h5::*' 'layers.h5::*' -m cka -q --matrix").rows
    assert [r["cka"] for r in rows] == ["layer/0", "layer/2", "layer/10"]
    assert float(rows[1]["layer/2"]) == pytest.approx(1)  # two groups meet, so it was measured
    line = only_line(layers.here("relrep compare 'layers.h5::block/*' a.h5", 3), "layers.h5", "block/*")
    assert line.endswith("found layer/0, layer/2, layer/10.")


def test_what_a_matrix_cannot_show(work: Workdir) -> None:
    only_line(work.here("relrep compare a.h5 b.h5 c.h5 --matrix -m cka,mse", 2), "one metric", "cka, mse")


@pytest.mark.parametrize(
    "uris, names",
    [
        (["a.h5", "b.npz"], ["a.h5", "b.npz"]),
        (["x/a.h5", "x/b.h5"], ["a", "b"]),
        (["a.h5::l/1", "b.h5::l/1"], ["a.h5::l/1", "b.h5::l/1"]),
        (["cka.h5", "b.h5"], ["cka.h5", "b.h5"]),
        (["a.h5", "a.h5"], ["a.h5"]),
        (["v1.2", "v1.3"], ["v1.2", "v1.3"]),
    ],
)
def test_names_in_a_matrix_are_short_and_unique(uris: list[str], names: list[str]) -> None:
    assert list(short_names(uris, "cka").values()) == names
