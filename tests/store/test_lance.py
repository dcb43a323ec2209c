"""Lance tables: read by the rule for tables; data elsewhere and damage are refused."""

from __future__ import annotations

import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree
from unittest import mock

import lance_tables
import numpy as np
import pytest
from lance_tables import NAMES, X

from relrep_cli import store
from relrep_cli.base.errors import WRITE, DataError, UsageError
from relrep_cli.store import fork_server, lance_folders
from relrep_cli.store.lance_manifests import check_table

needs_lance = pytest.mark.skipif(not find_spec("lance"), reason="pylance, the extra relrep[lance], is not installed")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lance")
    subprocess.run([sys.executable, lance_tables.__file__, str(folder)], check=True, capture_output=True)
    return folder


@needs_lance
def test_a_table_is_read_with_its_ids_without_deleted_rows(tables: Path) -> None:
    e = store.read(str(tables / "whole.lance"))
    assert np.array_equal(e.x, X) and e.ids.tolist() == [n.encode() for n in NAMES] and e.obs["label"][1] == b"v"
    assert store.read(f"{tables / 'deleted.lance'}::vector").ids.tolist() == [n.encode() for n in NAMES if n != "w2"]


@needs_lance
def test_data_elsewhere_and_damage_are_refused(tables: Path) -> None:
    with pytest.raises(DataError, match="its data lie in other folders"):
        store.read(str(tables / "clone.lance"))
    with pytest.raises(DataError, match=r"Write .*/clone\.lance, a Lance table"):
        store.read(str(tables))
    data = next((tables / "deleted.lance" / "data").iterdir())
    whole = data.read_bytes()
    data.write_bytes(b"\xff" * 400 + whole[400:])  # what the columns hold
    with pytest.raises(DataError, match="the lance package cannot read it: ") as refusal:
        store.read(str(tables / "deleted.lance"))
    assert str(refusal.value).isprintable() and ".rs" not in str(refusal.value)
    data.write_bytes(whole)


@needs_lance
@pytest.mark.slow
def test_too_few_descriptors_are_no_damage(tables: Path) -> None:
    """lance says so in words alone."""
    command = f"ulimit -n 14; exec {sys.executable} -m relrep_cli info {tables / 'whole.lance'}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == WRITE and "too few file descriptors" in done.stderr, done.stderr


@needs_lance
def test_damage_that_is_seen_without_the_package(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import alone passes the limits of a refusal."""
    monkeypatch.setattr(lance_folders, "read_apart", None)
    for name in ("whole", "clone"):
        copytree(tables / f"{name}.lance", tmp_path / f"{name}.lance")
    table = tmp_path / "whole.lance"
    with pytest.raises(DataError, match="its data lie in other folders"):
        store.read(str(tmp_path / "clone.lance"))
    manifest, data = next((table / "_versions").glob("*.manifest")), next((table / "data").iterdir())
    whole = {file: file.read_bytes() for file in (manifest, data)}
    columns, table_of_columns, table_of_messages = (
        int.from_bytes(whole[data][at : at + 8], "little") for at in (-40, -32, -24)
    )

    def with_bytes(at: int, *values: int) -> bytes:
        return whole[data][:at] + bytes(values) + whole[data][at + len(values) :]

    damage: list[tuple[Path, bytes | None, str]] = [
        (data, with_bytes(table_of_columns, 255, 255), r"lance is malformed"),  # where the first column is
        (data, with_bytes(table_of_messages, 255, 255), r"lance is malformed"),  # where the schema is
        (data, with_bytes(-12, 255), r"lance is malformed"),  # how many columns
        (data, with_bytes(columns + 1, 255), r"lance is malformed"),  # the length of the first field of a column
        (data, whole[data].replace(b"\x0a\x02\x00\x40\x12", b"\x0a\x02\xff\x7f\x12", 1), r"lance is malformed"),  # a buffer
        (data, None, r"data/\w+\.lance is missing"),
        (data, whole[data][:-7], "bytes, not 962"),
        (data, whole[data][:-20] + bytes(20), "has lost its end"),
        (data, whole[data][:-40] + b"\xff" * 8 + whole[data][-32:], r"lance is malformed"),
        (manifest, whole[manifest][:-7], "has lost its end"),
        (manifest, whole[manifest][:-16] + b"\xff" * 8 + whole[manifest][-8:], "manifest is malformed"),
        (manifest, whole[manifest][:-40] + b"\xff" * 24 + whole[manifest][-16:], "manifest is malformed"),
        (manifest, None, "it has no manifest"),
    ]
    for file, content, words in damage:
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(DataError, match=words):
            store.read(str(table))
        file.write_bytes(whole[file])
    with pytest.raises(TypeError):  # a sound table is the package's to read
        store.read(str(table))


def test_a_number_in_place_of_a_name(tmp_path: Path) -> None:
    """Found by fuzzing."""
    file = b"\x08\x05"  # field 1 as a number
    message = b"\x12\x04\x12\x02" + file  # in a file in a fragment
    (tmp_path / "_versions").mkdir()
    end = struct.pack("<QHH4s", 0, 0, 2, b"LANC")
    (tmp_path / "_versions" / "1.manifest").write_bytes(struct.pack("<I", len(message)) + message + end)
    with pytest.raises(DataError, match=r"1\.manifest is malformed"):
        check_table(tmp_path)


def test_a_process_that_has_imported_lance_is_not_forked() -> None:
    """lance's threads do not survive a fork, so that the child would wait for them for ever."""
    with (
        mock.patch.dict(sys.modules, lance=mock.Mock()),
        mock.patch.object(fork_server, "_server", []),
        mock.patch.object(fork_server, "start") as start,
    ):
        fork_server.ask("")
    start.assert_called_once()


def test_the_extra_is_named_where_the_package_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.lance" / "_versions").mkdir(parents=True)
    with (
        mock.patch("relrep_cli.store.lance_folders.find_spec", return_value=None),
        pytest.raises(UsageError, match=r"this is a Lance table. Install relrep\[lance\] to read it"),
    ):
        store.read(str(tmp_path / "a.lance"))
