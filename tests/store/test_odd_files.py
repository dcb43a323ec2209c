"""Inputs that are no plain files: pipes, standard input under its other names, links, names with `::`, too few descriptors."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from conftest import Workdir, only_line

from relrep_cli.base.errors import DataError
from relrep_cli.base.uris import split_uri
from relrep_cli.store import read

DATA, WRITE = 3, 74


@pytest.mark.parametrize(
    "command",
    [
        "project a.h5 -a {} -o x.h5",
        "anchor a.h5 b.h5 -n 5 --strategy bootstrap --seeds {} -o x.tsv",
        "info {}",
        "embed {} -o x.h5",
        "embed a.npz --labels {} -o x.h5",
    ],
)
@pytest.mark.parametrize("name", ["ff", "ff.tsv"])
def test_a_named_pipe_is_refused_and_never_waited_for(work: Workdir, command: str, name: str) -> None:
    os.mkfifo(work / name)
    line = only_line(work.run(f"timeout 50 relrep {command.format(name)}", DATA))
    assert f"{name}: this is a pipe" in line, line


def test_a_log_does_not_wait_for_a_reader(work: Workdir) -> None:
    os.mkfifo(work / "ff")
    line = only_line(work.run("timeout 50 relrep compare a.h5 b.h5 -m cka -q --log ff", WRITE))
    assert "ff: --log: this is a pipe that nobody reads" in line
    work.run("cat ff > kept & timeout 50 relrep compare a.h5 b.h5 -m cka -q --log ff; wait")
    assert '"event": "done"' in (work / "kept").read_text()


def test_a_pipe_for_a_model_or_a_folder_of_pictures(work: Workdir) -> None:
    os.mkfifo(work / "ff")
    pictures = work.run("timeout 50 relrep embed ff --source pictures --encoder pca -o x.h5", DATA)
    assert "ff: no pictures here" in only_line(pictures)
    assert "ff: this is a pipe" in only_line(work.run("timeout 50 relrep embed a.npz --encoder torch:ff -o x.h5", DATA))


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
@pytest.mark.slow
def test_every_name_of_standard_input(work: Workdir, name: str) -> None:
    work.run(f"cat a.h5 | relrep info {name}")
    work.run(f"cat anchors.h5 | relrep project a.h5 -a {name} -o by-file.h5")
    work.run(f"relrep anchor a.h5 -n 9 --ids-only | relrep project a.h5 -a {name} -o by-ids.h5")
    assert read(str(work / "by-ids.h5")).x.shape[1] == 9


def test_a_name_that_holds_the_mark_of_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a::b.npy", np.eye(3, dtype=np.float32))
    assert read("./a::b.npy").x.shape == (3, 3)
    assert split_uri("a::b.npy::layer::1") == ("a::b.npy", "::", "layer::1")
    assert split_uri("c::b.npy") == ("c", "::", "b.npy")


def test_a_dangling_link_says_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link.h5").symlink_to("nowhere.h5")
    with pytest.raises(DataError, match=r"this is a link to nowhere\.h5, which does not exist"):
        read(str(tmp_path / "link.h5"))


@pytest.mark.parametrize("suffix", ["h5", "npz", "parquet"])
def test_too_few_descriptors_are_no_damage(work: Workdir, suffix: str) -> None:
    """Whatever step is the first to find none left: the message names the limit, never the file."""
    if suffix == "parquet":
        work.here("relrep embed a.npz -o a.parquet")
    work.here(f"relrep info a.{suffix}")  # what it imports is there
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    lines = []
    for more in range(8 if suffix == "parquet" else 4):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
        try:
            done = work.here(f"relrep info a.{suffix}", (0, WRITE))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        lines += [only_line(done)] if done.code else []
    assert lines and all("too few file descriptors" in line for line in lines), lines
