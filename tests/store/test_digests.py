"""Digests that files state are believed only after a check, and checked once as long as the files stay as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import store
from relrep_cli.embedding import Embedding, make_step, text
from relrep_cli.numerics.digests import checksum, digest
from relrep_cli.store import seen

CHANGED = "was changed after its digest was stored"


def edit(path: Path, change: Callable[[h5py.File], None] | None = None, *, hide: bool = False) -> None:
    """Change a file in place as another program does; hide: and set its times back."""
    before = os.stat(path)
    with h5py.File(path, "r+") as file:
        if change is None:
            file["X"][0] *= 3.0
        else:
            change(file)
    if hide:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "relrep" / "seen"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that were computed: `fast` or `full`."""
    done: list[str] = []

    def counted(x: np.ndarray, ids: np.ndarray, fast: bool = False) -> str:
        done.append("fast" if fast else "full")
        return digest(x, ids, fast)

    monkeypatch.setattr(store, "digest", counted)
    return done


# --- commands ---


def test_project_is_not_up_to_date_after_an_edit_in_place(work: Workdir) -> None:
    command = "relrep project a.h5 --anchors anchors.h5 -o out.h5"
    work.here(command)
    assert "up to date" in work.here(command).stderr
    edit(work / "a.h5", hide=True)
    error = work.here(command, 2).stderr
    assert f"a.h5: {CHANGED}" in error and "exists" in error
    work.here(f"{command} --force")
    assert CHANGED in work.here(command).stderr


def test_an_output_that_was_changed_is_not_up_to_date(work: Workdir) -> None:
    command = "relrep project a.h5 --anchors anchors.h5 -o out.h5"
    work.here(command)
    edit(work / "out.h5")
    error = work.here(command, 2).stderr
    assert f"out.h5: {CHANGED}" in error and "up to date" not in error


@pytest.mark.slow
def test_compare_takes_no_result_of_old_content(work: Workdir) -> None:
    command = "relrep compare a.h5 b.h5 -m cka --cache cache --format tsv"
    first = work.here(command).rows[0]["value"]
    assert work.here(command).rows[0]["value"] == first
    edit(work / "b.h5", lambda file: file["X"].write_direct(np.ascontiguousarray(file["X"][:][::-1])), hide=True)
    now = work.here(command)
    assert now.rows[0]["value"] != first and f"b.h5: {CHANGED}" in now.stderr
    assert now.rows == work.here("relrep compare a.h5 b.h5 -m cka --format tsv").rows


def test_stitch_takes_no_result_of_old_content(work: Workdir) -> None:
    command = "relrep stitch a.h5 b.h5 --anchors anchors.h5 --head linear --cache cache --format tsv"
    first = work.here(command).rows
    edit(work / "b.h5", lambda file: file["X"].write_direct(np.ascontiguousarray(file["X"][:][::-1])), hide=True)
    now = work.here(command)
    assert now.rows != first and now.rows == work.here(command.replace("--cache cache", "")).rows


INPUTS = {
    "anchors": ("project a.h5 --anchors anchors.h5", "anchors.h5", None),
    "anchor vectors": ("project a.h5 --anchors ids.txt --anchor-vectors anchors.h5", "anchors.h5", None),
    "statistics": (
        "project a.h5 --anchors anchors.h5 --center --statistics center.h5",
        "center.h5",
        lambda file: file["uns/center"].write_direct(np.zeros(file["uns/center"].shape, file["uns/center"].dtype)),
    ),
    "labels": (
        "anchor a.h5 -n 5 --strategy per-class",
        "a.h5",
        lambda file: file["obs/label/codes"].write_direct(np.ascontiguousarray(file["obs/label/codes"][:][::-1])),
    ),
    "ids": ("anchor a.h5 -n 5", "a.h5", lambda file: file["obs/id"].write_direct(np.roll(file["obs/id"][:], 1))),
    "vectors as items": ("embed a.h5 --encoder pca --dim 3", "a.h5", None),
    "positives": ("embed a.h5 --encoder siamese --dim 2 --epochs 1 --positives b.h5", "b.h5", None),
    "import": ("embed a.h5", "a.h5", None),
    "stitched": ("stitch a.h5 b.h5 --anchors anchors.h5 --method relative --similarity cosine --head linear", "b.h5", None),
    "list of anchors": ("anchor a.h5 --strategy from-file --source anchors.h5", "anchors.h5", None),
}


@pytest.mark.parametrize("name", INPUTS)
def test_every_kind_of_input_is_checked(work: Workdir, name: str) -> None:
    """An output is up to date until an input is edited in place, its times set back."""
    words, file, change = INPUTS[name]
    (work / "ids.txt").write_text("\n".join(i.decode() for i in store.read(str(work / "anchors.h5")).ids.tolist()))
    work.here("relrep project a.h5 --anchors anchors.h5 --center -o center.h5")
    command = f"relrep {words} -o out.h5"
    work.here(command)
    assert "out.h5: up to date" in work.here(command).stderr
    edit(work / file, change, hide=True)
    assert "up to date" not in work.here(command, (0, 2, 3)).stderr


SAVED = {  # a command that makes a file, and one that uses it; a table, as of a saved head, is computed in every run
    "encoder": (
        "embed a.npz --encoder pca --dim 3 --save-encoder e.safetensors -o made.h5",
        "embed a.npz --encoder e.safetensors",
    ),
    "aggregator": (
        "stitch a.h5 b.h5 --anchors anchors.h5 -m product -s cosine -s l1 --aggregate self-attention --head linear"
        " --head-epochs 1 --save-aggregator e.safetensors",
        "project a.h5 --anchors anchors.h5 --aggregator e.safetensors",
    ),
    "map": ("translate a.h5 --into b.h5 -m ridge --save-map e.h5 -o made.h5", "translate a.h5 --map e.h5"),
}


@pytest.mark.parametrize("name", SAVED)
def test_saved_weights_are_checked(work: Workdir, name: str) -> None:
    """The smallest change of a weight, the times set back."""
    makes, uses = SAVED[name]
    work.here(f"relrep {makes}")
    kept = next(work.path.glob("e.*"))
    work.here(f"relrep {uses} -o out.h5")
    assert "out.h5: up to date" in work.here(f"relrep {uses} -o out.h5").stderr
    before = os.stat(kept)
    if kept.suffix == ".h5":
        edit(kept, hide=True)
    else:
        content = bytearray(kept.read_bytes())
        content[-2] ^= 1
        kept.write_bytes(content)
        os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "up to date" not in work.here(f"relrep {uses} -o out.h5", (0, 2, 3)).stderr


def test_a_list_of_pairs_is_checked(work: Workdir) -> None:
    ids = [one.decode() for one in store.read(str(work / "anchors.h5")).ids.tolist()]
    pairs = work / "pairs.tsv"
    pairs.write_text("a\tb\n" + "".join(f"{one}\t{one}\n" for one in ids))
    command = "relrep translate a.h5 --into b.h5 -a pairs.tsv -m ridge -o out.h5"
    work.here(command)
    assert "out.h5: up to date" in work.here(command).stderr
    before = pairs.stat()
    pairs.write_text("a\tb\n" + "".join(f"{one}\t{two}\n" for one, two in zip(ids, ids[::-1], strict=True)))
    os.utime(pairs, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "up to date" not in work.here(command, (0, 2, 3)).stderr


def test_trust_digest_believes_what_the_file_states(work: Workdir) -> None:
    command = "relrep project a.h5 --anchors anchors.h5 -o out.h5"
    work.here(command)
    edit(work / "a.h5")
    assert work.here(f"{command} --trust-digest").stderr == "relrep project: out.h5: up to date.\n"
    assert CHANGED in work.here(command, 2).stderr, "and only in that run"


# --- what is remembered ---


def made(path: Path, x: np.ndarray | None = None) -> str:
    x = np.arange(12, dtype=np.float32).reshape(4, 3) if x is None else x
    ids = text(f"i{i}" for i in range(len(x)))
    names = {"id": np.arange(x.shape[1]).astype("S")}
    what = {"shape": x.shape, "dtype": x.dtype.name, "ids": ids, "obs": {}, "var": names, "kind": "absolute"}
    return store.write(str(path), [x], **what, space="s", steps=[], force=True)  # type: ignore[arg-type]


def test_a_file_is_checked_once_by_the_fast_hash(tmp_path: Path, home: Path, hashed: list[str]) -> None:
    name = made(tmp_path / "a.h5")
    assert store.digested(store.read(str(tmp_path / "a.h5"))).digest == name and not hashed, "relrep has just written it"
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    assert [store.digested(store.read(str(tmp_path / "b.h5"))).digest for _ in range(3)] == [name] * 3
    assert hashed == ["fast"], "the first time only"
    assert len(list(home.iterdir())) == 2


def test_a_file_without_a_checksum_is_hashed_in_full(tmp_path: Path, home: Path, hashed: list[str]) -> None:
    name = made(tmp_path / "a.h5")
    edit(tmp_path / "a.h5", lambda file: file.attrs.__delitem__("checksum"))
    assert [store.digested(store.read(str(tmp_path / "a.h5"))).digest for _ in range(2)] == [name] * 2
    assert hashed == ["full"]


def test_without_a_folder_of_ones_own_every_run_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    (tmp_path / "shared" / "relrep").mkdir(parents=True)
    (tmp_path / "shared" / "relrep").chmod(0o777)
    name = made(tmp_path / "a.h5")
    assert [store.digested(store.read(str(tmp_path / "a.h5"))).digest for _ in range(2)] == [name] * 2
    assert hashed == ["fast", "fast"]


@pytest.mark.parametrize("change", ["content", "digest", "checksum"])
def test_what_was_changed_gets_its_own_digest(tmp_path: Path, home: Path, change: str, hashed: list[str]) -> None:
    name = made(tmp_path / "a.h5")
    changes = {
        "content": lambda file: file["X"].__setitem__((0, 0), 7),
        "digest": lambda file: file.attrs.modify("digest", np.bytes_("sha256:" + "1" * 64)),
        "checksum": lambda file: file.attrs.modify("checksum", np.bytes_("sha256:" + "1" * 64)),
    }
    edit(tmp_path / "a.h5", changes[change], hide=True)
    for _ in range(2):
        e = store.read(str(tmp_path / "a.h5"))
        assert store.digested(e).digest == digest(e.x, e.ids)
        assert (store.digested(e).digest == name) == (change != "content")
    assert hashed == ["fast", "full"]


def test_a_change_of_a_mapped_page_is_seen(tmp_path: Path, home: Path) -> None:
    """The second write to a page that is mapped and not on the disk yet leaves all times as they are."""
    made(tmp_path / "a.h5")
    e = store.read(str(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "a.h5") as file:
        offset = file["X"].id.get_offset()
    x = np.memmap(tmp_path / "a.h5", np.float32, "r+", offset, (4, 3))
    for value in (5, 6, 7):
        x[0, 0] = value
        time.sleep(0.03)
        e = store.read(str(tmp_path / "a.h5"))
        assert store.digested(e).digest == digest(np.array(x), e.ids)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no tmpfs")
def test_a_file_system_that_misses_changes_is_not_trusted(home: Path, hashed: list[str]) -> None:
    path = Path(f"/dev/shm/relrep-test-{os.getpid()}.h5")
    try:
        made(path)
        for _ in range(2):
            store.digested(store.read(str(path)))
        assert hashed == ["fast", "fast"] and not home.exists()
    finally:
        path.unlink()


def test_a_fresh_time_is_waited_for_and_a_far_one_not_trusted(tmp_path: Path, home: Path) -> None:
    made(tmp_path / "a.h5")
    place = (str(tmp_path / "a.h5"), "")
    in_an_hour = time.time_ns() + 3_600_000_000_000
    os.utime(tmp_path / "a.h5", ns=(in_an_hour, in_an_hour))
    e = store.read(place[0])
    assert e.claim is not None and not seen.settled(place, e.claim.stamp)
    os.utime(tmp_path / "a.h5")
    e = store.read(place[0])
    started = time.time_ns()
    assert e.claim is not None and e.claim.stamp is not None and seen.settled(place, e.claim.stamp)
    assert time.time_ns() - max(e.claim.stamp[1:3]) >= seen.TICK and time.time_ns() - started < 1_000_000_000


def test_no_step_is_made_of_what_nobody_checked(tmp_path: Path, home: Path) -> None:
    made(tmp_path / "a.h5")
    e = store.read(str(tmp_path / "a.h5"))
    with pytest.raises(AssertionError):
        make_step("project", {}, None, [e])
    assert make_step("project", {}, None, [store.digested(e)])["inputs"][0]["digest"] == e.digest


# --- the fast hash ---


def test_the_fast_hash_notices_every_kind_of_change() -> None:
    """Also those that a sum misses: signs of all numbers, two numbers exchanged, whole pieces exchanged or repeated."""
    x = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)  # four pieces
    ids = text(str(i) for i in range(len(x)))
    swapped, exchanged, bit = x.copy(), x.copy(), x.copy()
    swapped[0, [0, 1]] = x[0, [1, 0]]
    exchanged[:256], exchanged[256:512] = x[256:512], x[:256]
    bit.view(np.uint32)[1023, 1023] ^= 1
    kinds = [x, -x, swapped, exchanged, bit, x[::-1], x.astype(np.float64), x[:512], x.reshape(512, 2048)]
    names = {digest(y, ids[: len(y)], fast=True) for y in kinds} | {digest(x, np.roll(ids, 1), fast=True)}
    assert len(names) == len(kinds) + 1


def test_the_fast_hash_does_not_depend_on_blocks() -> None:
    from relrep_cli.numerics.digests import Digest

    x = np.random.default_rng(0).normal(size=(700, 600)).astype(np.float32)
    ids = text(str(i) for i in range(len(x)))
    running = Digest(*x.shape, x.dtype, ids, fast=True)
    for part in np.array_split(x, 7):
        running.update(part)
    assert running.name() == digest(x, ids, fast=True) == digest(np.asfortranarray(x), ids, fast=True)
    assert checksum(running.name(), "a") != checksum(running.name(), "b")


def test_a_selection_is_hashed_anew(tmp_path: Path, home: Path) -> None:
    from relrep_cli.embedding import in_id_order, select

    made(tmp_path / "a.h5")
    e = store.read(str(tmp_path / "a.h5"))
    some: Embedding = select(e, np.array([2, 0]))
    assert store.digested(some).digest == digest(some.x, some.ids)
    assert store.digested(in_id_order(e)).digest == e.digest
