"""Every file of the corpus is refused in one line or read right; the second lines of defence hold by themselves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from corpus import ACCEPT, REFUSE, VALUES, Case, base

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.store import child, chunks, limits
from relrep_cli.store.foreign import found_in
from relrep_cli.store.hdf5 import list_hdf5, read_hdf5
from relrep_cli.store.hdf5_plans import CategoricalPlan, DatasetPlan, EmbeddingPlan, from_answer, to_answer

ROOT = Path(__file__).parents[2]
HONEST = [name for name, _, _, expect, _ in base.MAKERS if expect == ACCEPT]
ALONE = (  # read by a process of their own, whose time and memory are measured: the worst of each kind
    "external-zero", "virtual-pattern", "filter-gzip-twice", "shape-3gib", "index-bomb", "bomb-1gib", "bomb-links",
    "bomb-links-text", "bomb-tiny-chunks",
    "chunk-very-short", "laughs-ids", "laughs-known-attribute", "heap-free-zero-attribute", "text-1gib-ids", "attribute-20000",
    "nested-only", "is-fifo", "good-collection", "good-h5ad",
)  # fmt: skip


@pytest.fixture(scope="module")
def cases(hostile_corpus: list[Case]) -> dict[str, Case]:
    return {case.name: case for case in hostile_corpus}


def named(cases: dict[str, Case], name: str) -> Case:
    if name not in cases:
        pytest.skip("this HDF5, or this user, cannot write the case")
    return cases[name]


def is_one_line(message: str, path: Path) -> bool:
    """Where, what, why: the file first, something after it, nothing that a terminal would act on."""
    return message.isprintable() and str(path) in message and message[-1] in ".?" and 15 < len(message) - len(str(path)) < 700


def test_the_corpus_is_large_and_whole(cases: dict[str, Case]) -> None:
    assert len(cases) >= 340 and len(cases) >= len(base.MAKERS) - 8
    assert sum(case.expect == REFUSE for case in cases.values()) >= 250


@pytest.mark.parametrize("name", [name for name, _, _, expect, _ in base.MAKERS if expect == REFUSE])
def test_hostile_files_are_refused_in_one_line(cases: dict[str, Case], name: str) -> None:
    case = named(cases, name)
    with pytest.raises(DataError) as refusal:
        found_in(case.path, case.member, hdf5=True)
    assert is_one_line(str(refusal.value), case.path), str(refusal.value)


@pytest.mark.parametrize("name", HONEST)
def test_honest_files_are_read_as_h5py_reads_them(cases: dict[str, Case], name: str) -> None:
    case = named(cases, name)
    content = found_in(case.path, case.member, hdf5=True)
    with h5py.File(case.path) as file:
        item = file[case.member or "/"]
        group = item if isinstance(item, h5py.Group) else item.parent
        x = item if isinstance(item, h5py.Dataset) else item.get("X", item.get("embeddings"))
        assert np.array_equal(content.x, x[()]) and content.x.dtype.kind == "f"
        ids = group.get("ids", group.get("obs/id", file.get("obs/_index")))
        if ids is not None:
            read = ids.asstr()[()] if h5py.check_string_dtype(ids.dtype) else ids[()]
            assert content.ids is not None and [i.decode() for i in content.ids] == [str(i) for i in np.ravel(read)]


@pytest.mark.parametrize("name", [name for name, _, _, expect, _ in base.MAKERS if expect == VALUES])
def test_wrong_values_are_refused_by_the_store(cases: dict[str, Case], name: str) -> None:
    case = named(cases, name)
    read_hdf5(case.path, case.member)
    with pytest.raises(DataError) as refusal:
        store.read(str(case.path))
    assert is_one_line(str(refusal.value), case.path)


ROWS = [[0, 0, 0, 100, 16], [2, 0, 0, 116, 16]]  # two chunks of 2 x 2: corner, filter mask, address and size
PLAN = DatasetPlan("/x", (4, 2), "<f4")  # 32 bytes


def planned(path: Path, rows: list[list[int]], kind: str = "<f4") -> chunks.Stored:
    """What `chunks` makes of a plan for a file of 200 bytes."""
    path.write_bytes(bytes(200))
    with FileIO(path) as file:
        source = chunks.Source(path, file, os.fstat(file.fileno()), 0)
        return chunks.stored(source, replace(PLAN, chunk=(2, 2), table=np.array(rows, "<i8").tobytes(), kind=kind))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0], [4, 0, 0, 116, 16]], "do not cover it"),  # beyond the edge
        ([ROWS[0], [0, 0, 0, 116, 16]], "do not cover it"),  # one twice, one missing
        ([ROWS[0], [1, 0, 0, 116, 16]], "do not cover it"),  # between two corners
        ([ROWS[0], [-2, 0, 0, 116, 16]], "do not cover it"),
        ([ROWS[0]], "do not cover it"),
        ([ROWS[0], [2, 0, 0, 190, 16]], "beyond the end of the file"),
        ([ROWS[0], [2, 0, 0, -16, 16]], "beyond the end of the file"),
        ([ROWS[0], [2, 0, 0, 116, 0]], "beyond the end of the file"),
        ([ROWS[0], [2, 0, 0, 115, 16]], "its chunks overlap"),
        ([ROWS[1], [0, 0, 0, 117, 16]], "its chunks overlap"),
    ],
    ids=str,
)
def test_a_plan_is_judged_by_itself(rows: list[list[int]], message: str, tmp_path: Path) -> None:
    assert planned(tmp_path / "x.h5", ROWS).bytes == 32
    with pytest.raises(DataError, match=message):
        planned(tmp_path / "x.h5", rows)


def test_an_answer_of_a_child_that_the_file_took_over_is_no_plan() -> None:
    plan = EmbeddingPlan(
        replace(PLAN, raw=b"numbers"), obs=(("label", CategoricalPlan(PLAN, PLAN)),), attrs=(("kind", "absolute"),)
    )
    answer = child.decode(child.encode(to_answer(plan)))
    assert from_answer(answer) == plan
    for part, other in (("shape", [-4, 2]), ("shape", [4.0, 2]), ("name", 3), ("offset", "0"), ("raw", [1])):
        with pytest.raises((ValueError, TypeError)):
            from_answer(answer | {"x": answer["x"] | {part: other}})
    with pytest.raises(KeyError):
        from_answer({"kind": "items"})


@pytest.mark.parametrize("offset", [None, -1, 169, 200, 2**62])
def test_data_in_one_piece_end_within_the_file(offset: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(bytes(200))
    with FileIO(path) as file:
        source = chunks.Source(path, file, os.fstat(file.fileno()), 0)
        assert chunks.stored(source, replace(PLAN, offset=168)).bytes == 32
        with pytest.raises(DataError, match="its data end at byte"):
            chunks.stored(source, replace(PLAN, offset=offset))


def test_bounds_of_chunks_are_those_of_their_bytes() -> None:
    """Of a file large enough for what they declare: 128 MiB a chunk, a chunk for every 16 bytes, 200 times what is stored."""
    size = 1 << 40
    assert limits.chunk_fault([4096, 8192], [4096, 8192], 4, size) == ""
    assert "257 MiB each" in limits.chunk_fault([8224, 8192], [8224, 8192], 4, size)
    assert limits.chunk_fault([66], [1], 4, 32) == "" and "67 chunks" in limits.chunk_fault([67], [1], 4, 32)
    many = limits.MANY_CHUNKS + 1000  # a thousand for 512,000 bytes
    assert limits.chunk_fault([many], [1], 4, 512000) == "" and "too long" in limits.chunk_fault([many + 1], [1], 4, 512000)
    assert limits.packing_fault(200 << 30, 1 << 30) == "" and "bomb" in limits.packing_fault((200 << 30) + 1, 1 << 30)
    assert limits.packing_fault(256 << 20, 1) == "" and "bomb" in limits.packing_fault((256 << 20) + 1, 1)


@pytest.mark.parametrize("kind", ["O", "<f4O", "<f4, O", "|S99999", "f4", ""])
def test_a_plan_of_another_kind_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of no known type"):
        planned(tmp_path / "x.h5", ROWS, kind=kind)


def test_what_no_item_fills_was_not_shuffled() -> None:
    """Planes of first, second and third bytes, and what is left over, as it is."""
    assert chunks.UNDO["shuffle"](b"aAbBcCxy", 8, 3) == b"abcABCxy"


def test_checksums_of_either_byte_order_are_known_and_wrong_ones_refused() -> None:
    sums = chunks.fletcher32(b"abcdef")
    for order in "<>":
        assert chunks.UNDO["fletcher32"](b"abcdef" + struct.pack(f"{order}HH", *sums), 6, 4) == b"abcdef"
    with pytest.raises(ValueError, match="does not match its checksum"):
        chunks.UNDO["fletcher32"](b"abcdeg" + struct.pack("<HH", *sums), 6, 4)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other numbers in the same places: the size stays."""
    path = tmp_path / "x.h5"
    base.plain(path)
    real = child.run

    def run(*question: object, **more: object) -> object:
        answer = real(*question, **more)
        os.utime(path, ns=(1, 1))
        return answer

    assert read_hdf5(path, None).x.shape == (base.N, base.D)
    monkeypatch.setattr(child, "run", run)
    with pytest.raises(DataError, match="the file changed while it was read"):
        read_hdf5(path, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_time_and_memory_are_bounded(cases: dict[str, Case], name: str) -> None:
    """Under 2 s of CPU and 100 MB a process. The one that reads imports h5py for its children, and nothing heavier."""
    program = """if True:
        import json, resource, sys
        from pathlib import Path
        from relrep_cli.base.errors import DataError
        from relrep_cli.store.hdf5 import read_hdf5
        try:
            read_hdf5(Path(sys.argv[1]), None)
        except DataError as error:
            print(error, file=sys.stderr)
        itself, below = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        seconds = sum(usage.ru_utime + usage.ru_stime for usage in (itself, below))
        status = Path("/proc/self/status")  # Linux counts what ran before exec into ru_maxrss
        peak = status.read_text().partition("VmHWM:")[2].split()[0] if status.exists() else itself.ru_maxrss
        heavy = [name for name in ("torch", "faiss", "pyarrow", "rich") if name in sys.modules]
        print(json.dumps([seconds, int(peak), below.ru_maxrss, heavy]))
    """
    command = [sys.executable, "-c", program, str(named(cases, name).path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    seconds, *peaks, heavy = json.loads(done.stdout)
    assert seconds < 2 and heavy == [] and "Traceback" not in done.stderr
    assert max(peaks) * (1 if sys.platform == "darwin" else 1024) < 100e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["good-collection", "bomb-1gib", "external-bare", "heap-free-zero-attribute"])
def test_the_same_without_fork(cases: dict[str, Case], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "FORKS", False)
    case = named(cases, name)
    if case.expect == ACCEPT:
        assert read_hdf5(case.path, None).x.shape == (base.N, base.D)
        return
    with pytest.raises(DataError) as refusal:
        read_hdf5(case.path, None)
    assert is_one_line(str(refusal.value), case.path)


def test_the_environment_does_not_steer_libhdf5(cases: dict[str, Case]) -> None:
    """A stale HDF5_DRIVER breaks h5py.File; a plugin path makes it load libraries."""
    program = "import sys, pathlib; from relrep_cli.store.hdf5 import read_hdf5; read_hdf5(pathlib.Path(sys.argv[1]), None)"
    environment = {**os.environ, "HDF5_DRIVER": "nonsense", "HDF5_USE_FILE_LOCKING": "TRUE", "HDF5_VOL_CONNECTOR": "nonsense"}
    command = [sys.executable, "-c", program, str(cases["good-v0"].path)]
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def test_many_threads_read_at_once(cases: dict[str, Case]) -> None:
    """Forks from threads; the warning of Python 3.12 about them is an error here unless it is dealt with."""
    with ThreadPoolExecutor(8) as pool:
        sums = set(pool.map(lambda _: float(read_hdf5(cases["good-vlen"].path, None).x.sum()), range(32)))
    assert len(sums) == 1


def test_what_a_file_holds_is_listed(cases: dict[str, Case]) -> None:
    assert list_hdf5(cases["good-inside"].path) == ["/layer/0", "/layer/6"]
    assert list_hdf5(cases["good-h5ad"].path) == ["/", "/obsm/X_pca"]
    assert list_hdf5(cases["two-matrices"].path) == ["/embeddings", "/features"]
    assert list_hdf5(cases["nested-only"].path) == list_hdf5(cases["crowd"].path) == []
    with pytest.raises(
        DataError, match=r"found /layer/0, /layer/6\. Write .*inside.h5::/layer/0\. compare and evaluate take all"
    ):
        read_hdf5(cases["good-inside"].path, None)


@pytest.mark.parametrize(
    "kind", ["tree", "superblock", "heap-free", "laughs-", "virtual-", "external-", "soft-", "cycle", "cut-collection"]
)
def test_listing_never_hangs(cases: dict[str, Case], kind: str) -> None:
    for case in (case for name, case in cases.items() if name.startswith(kind)):
        start = time.process_time()
        with contextlib.suppress(DataError):
            assert all(name.startswith("/") for name in list_hdf5(case.path))
        assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut-50", "truncated: 4512 bytes of 9024"),
        ("is-gzip", "gzip"),
        ("is-lfs", "Git LFS"),
        ("is-html", "HTML"),
        ("is-pickle", "pickle"),
        ("is-npy", r"\.npy"),
        ("format-newer", r"made by a newer relrep \(format 2\); this one reads 1"),
        ("sparse-x", "csr_matrix"),
        ("external-index", "/obs/id: its data lie in an external file"),
        ("external-link-obs", "/obs: it is an external link, and relrep follows only hard links"),
        ("chunk-missing", "6 chunks are declared and 5 stored"),
        ("shape-3gib", "declares 3221225472 bytes and stores 0"),
        ("heap-free-zero-attribute", "busy without end"),
        ("open-for-writing", "still writing"),
        ("codes-beyond", "do not fit its 3 categories"),
        ("filter-blosc", "it is packed with filter"),
    ],
)
def test_messages_say_what_was_found(cases: dict[str, Case], name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        found_in(cases[name].path, cases[name].member, hdf5=True)


# --- the second line of defence: what the child may do, whatever a check has missed ---


def naive(path: str) -> list[float]:
    """Reads like any script, but confined."""
    child.confine(5, files=1, memory=1 << 25)
    with h5py.File(path) as file:
        return [float(number) for number in file["embeddings"][0]]


def test_a_confined_child_opens_one_file(cases: dict[str, Case], own_forks: None) -> None:
    assert child.run(naive, str(cases["good-v0"].path)) == pytest.approx(base.X[0].tolist())
    for name in ("external-bare", "external-link-bare", "soft-through-external", "external-fifo", "filter-plugin"):
        with pytest.raises(child.Died):
            child.run(naive, str(cases[name].path))
    assert child.run(naive, str(cases["virtual-bare"].path)) == [0] * base.D  # fill values; nothing was opened


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def spin() -> None:
    child.confine(0.2, files=0, memory=1 << 25)
    while True:
        pass


def swell() -> int:
    child.confine(5, files=0, memory=1 << 25)
    return len(bytearray(1 << 30))


def sleep() -> None:
    time.sleep(60)


def speak(text: str) -> dict[str, object]:
    print("noise on stdout")
    return {"text": text, "data": b"\0\xff", "more": [b"", {"bytes": 3}]}


@pytest.mark.slow
def test_a_child_that_dies_is_an_error(own_forks: None) -> None:
    for function, words in ((crash, r"signal 11"), (spin, "busy without end"), (swell, r"failed \(exit 1\)")):
        with pytest.raises(child.Died, match=words):
            child.run(function)
    with pytest.raises(child.Died, match="longer than 1 s"):
        child.run(sleep, patience=1)


def test_a_child_answers_with_text_and_bytes(own_forks: None) -> None:
    assert child.run(speak, "\x1b é \ud800") == {"text": "\x1b é \ud800", "data": b"\0\xff", "more": [b"", {"bytes": 3}]}


@pytest.mark.parametrize(
    "answer", [b"", b"\n", b"[1]\n", b"[2]\n{}x", b"[-1, 3]\n{}", b'[4]\n"\xff"', b"{}\n", b"[12]\n" + b"[" * 12]
)
def test_a_nonsense_answer_is_an_error(answer: bytes) -> None:
    with pytest.raises(child.Died):
        child.decode(answer)
