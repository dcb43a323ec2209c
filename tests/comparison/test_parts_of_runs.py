"""A comparison in parts, and in other processes: the bytes of one run; parts that do not make a whole are refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.comparison.run_parts import from_json
from relrep_cli.engine.shards import to_bytes

LAYERED = "relrep compare l.h5::* x.npy -m cka,knn-jaccard --k 5 --permutations 9 -o whole.tsv"
MATRIX = "relrep compare x.npy y.npy broken.npy -m linear-regression --matrix -o whole.csv"
RELATIVE = "relrep compare x.npy y.npy z.npy -a ids.txt -s cosine,l1 -m cka -o whole.json"


@pytest.fixture
def spaces(empty: Workdir) -> Workdir:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(40, 4))
    for name in "xyz":
        np.save(empty / f"{name}.npy", hidden @ rng.normal(size=(4, 3)))
    with h5py.File(empty / "l.h5", "w") as file:
        for layer in range(3):
            file[f"layer{layer}"] = hidden @ rng.normal(size=(4, 5))
    (empty / "broken.npy").write_bytes(b"\x93NUMPY")
    (empty / "ids.txt").write_text("\n".join(map(str, range(8))))
    return empty


def parts_of(work: Workdir, command: str, count: int, codes: tuple[int, ...] = (0, 3)) -> list[str]:
    for number in range(1, count + 1):
        work.here(f"{command} --shard {number}/{count}", codes)
    whole = command.split()[-1]
    return [f"{whole}.{number}-of-{count}.part" for number in range(1, count + 1)]


@pytest.mark.parametrize("command, count, code", [(LAYERED, 2, 0), (MATRIX, 3, 3), (RELATIVE, 4, 0)])
def test_the_whole_of_parts_has_the_bytes_of_one_run(spaces: Workdir, command: str, count: int, code: int) -> None:
    whole = spaces / command.split()[-1]
    parts = parts_of(spaces, command, count)
    spaces.here(f"relrep merge {' '.join(reversed(parts))} -o {whole.name}", code)
    merged = whole.read_bytes()
    whole.unlink()
    spaces.here(command, code)
    assert merged == whole.read_bytes()


def test_parts_that_make_no_whole_are_refused(spaces: Workdir) -> None:
    command = "relrep compare x.npy y.npy z.npy -m cka -o whole.tsv"
    one, two, three = parts_of(spaces, command, 3)
    spaces.error(f"relrep merge {one} {three} -o whole.tsv", 2, "1 of 3 parts are missing: 2.")
    spaces.error(f"relrep merge {one} {two} {two} -o whole.tsv", 2, "part 2, as", "Name each part once.")
    other = parts_of(spaces, "relrep compare x.npy y.npy z.npy -m cka --seed 1 -o other.tsv", 3)
    spaces.error(f"relrep merge {one} {other[1]} {three} -o whole.tsv", 2, "other options than")
    (different,) = parts_of(spaces, command, 1)
    spaces.error(f"relrep merge {one} {different} -o whole.tsv", 2, "one part of 1", "one of 3")
    np.save(spaces / "y.npy", np.ones((40, 3)))
    spaces.here(f"{command} --shard 3/3 --force")
    spaces.error(f"relrep merge {one} {two} {three} -o whole.tsv", 2, "y.npy had other content")
    spaces.error("relrep merge x.npy -o whole.tsv", 3, "x.npy: no part of a run.")
    assert not (spaces / "whole.tsv").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p | {"shard": [1]},
        lambda p: p | {"pairs": []},
        lambda p: p | {"job": {"plan": {}}},
        lambda p: p | {"pairs": [7]},
        lambda p: p | {"version": "0"},
        lambda p: [p],
    ],
)
def test_a_spoilt_part_is_refused_in_one_line(spaces: Workdir, spoil: object) -> None:
    (part,) = parts_of(spaces, "relrep compare x.npy y.npy -m cka -o whole.tsv", 1)
    content = spoil(json.loads((spaces / part).read_text()))  # type: ignore[operator]
    sealed = to_bytes("compare", content) if isinstance(content, dict) else json.dumps(content).encode()
    (spaces / part).write_bytes(sealed)
    spaces.error(f"relrep merge {part} -o whole.tsv", 3, part)


def test_a_part_with_one_changed_digit_is_refused(spaces: Workdir) -> None:
    (part,) = parts_of(spaces, "relrep compare x.npy y.npy -m cka --no-interval -o whole.tsv", 1)
    content = (spaces / part).read_text()
    place = content.index('"value": 0.') + len('"value": 0.')
    (spaces / part).write_text(content[:place] + str((int(content[place]) + 1) % 10) + content[place + 1 :])
    spaces.error(f"relrep merge {part} -o whole.tsv", 3, f"{part}: damaged", "Run its part again.")


def test_a_part_states_what_it_was_made_of(spaces: Workdir) -> None:
    (one, two) = parts_of(spaces, "relrep compare x.npy y.npy z.npy -m cka -o whole.tsv", 2)
    known = [from_json(name, json.loads((spaces / name).read_bytes())).contents for name in (one, two)]
    assert [sorted(contents) for contents in known] == [["x.npy", "y.npy"], ["x.npy", "y.npy", "z.npy"]]
    assert known[0].items() <= known[1].items()


@pytest.mark.parametrize(
    "option, words",
    [("--worst 3", "--worst needs the whole"), ("--per-row r.tsv", "--per-row needs"), ("--plot p.png", "--plot needs"),
     ("--fail-under 1", "relrep merge"), ("-o -", "Name the whole"), ("--shard auto", "works only in an array job"),
     ("--against y.npy", "does not go with"), ("--diagnose", "does not go with")],
)  # fmt: skip
def test_what_a_part_cannot_make(spaces: Workdir, option: str, words: str) -> None:
    spaces.error(f"relrep compare x.npy y.npy -m mse -o whole.tsv --shard 1/2 {option}", 2, words)


@pytest.mark.slow
def test_other_processes_give_the_bytes_of_this_one(spaces: Workdir) -> None:
    for command in (LAYERED, RELATIVE):
        whole = spaces / command.split()[-1]
        spaces.here(command)
        alone = whole.read_bytes()
        spaces.here(f"{command} --force --cluster local:2")
        assert whole.read_bytes() == alone


@pytest.mark.parametrize(
    "where, code, words",
    [("local:0", 2, "local:4"), ("local:99999", 2, "at most"), ("node7:8786", 2, "not encrypted"), ("s.json", 74, "s.json")],
)
def test_places_that_are_no_cluster(spaces: Workdir, where: str, code: int, words: str) -> None:
    spaces.error(f"relrep compare x.npy y.npy -m mse --cluster {where}", code, words)


@pytest.mark.slow
def test_other_processes_evaluate_as_this_one(work: Workdir) -> None:
    command = "relrep evaluate a.h5 b.h5 gone.h5 --task knn,linear-probe --json"
    actual = [work.here(f"{command} {option}", 3).stdout for option in ("", "--cluster local:2")]
    assert actual[0] == actual[1]


def test_standard_input_is_for_one_process(spaces: Workdir) -> None:
    spaces.error("relrep evaluate - --task knn --cluster local:2", 2, "only one process can read standard input (-)")
    spaces.error("relrep compare - y.npy -m mse --cluster local:2", 2, "only one process can read standard input (-)")
