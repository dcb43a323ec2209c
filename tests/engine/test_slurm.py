"""The recipes of docs/cluster.md, word for word, under a real SLURM: the bytes of one run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import slurm
from conftest import CHECKOUT, Workdir

from relrep_cli.store import read

RECIPES = dict(re.findall(r"```sh file=(\w+)\n(.*?)```", (CHECKOUT / "docs/cluster.md").read_text("utf-8"), re.DOTALL))
WHY_NOT = slurm.missing()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running SLURM; where its daemons do not start, the tests are skipped with what they say."""
    with ExitStack() as stack:
        try:
            actual = stack.enter_context(slurm.cluster(tmp_path_factory.mktemp("slurm")))
        except (subprocess.CalledProcessError, TimeoutError) as error:
            pytest.skip(f"SLURM does not start here: {getattr(error, 'stderr', None) or error}")
        yield actual


@pytest.fixture
def batch(empty: Workdir, variables: dict[str, str]) -> Workdir:
    """A folder with four spaces and the recipes, where sbatch works; `relrep` and `dask` start Python anew."""
    work = replace(
        empty.cold, env={**empty.cold.env, **variables, "PYTHONWARNINGS": "ignore", "PYTHONPATH": ":".join(sys.path)}
    )
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(300, 8))
    for name in "abcd":
        np.save(work / f"{name}.npy", hidden @ rng.normal(size=(8, 8)) + rng.normal(size=(300, 8)))
    for name, script in RECIPES.items():
        (work / f"{name}.sbatch").write_text(script)
    commands = work / "bin"
    commands.mkdir()
    (commands / "dask").write_text(f'#!/bin/sh\nexec {sys.executable} -m dask "$@"\n')
    (commands / "dask").chmod(0o755)
    return replace(work, env={**work.env, "PATH": f"{commands}:{work.env['PATH']}"})


def alone(work: Workdir, recipe: str) -> bytes:
    """What the command of a recipe gives in one run without options of clusters."""
    (command,) = re.findall(r"relrep compare .*", RECIPES[recipe])
    command = re.sub(r" --(shard|cluster) \S+", "", command).replace("results.tsv", "alone.tsv")
    work.run(command)
    return (work / "alone.tsv").read_bytes()


def finished(work: Workdir, *jobs: str) -> None:
    """Wait until the jobs have completed."""
    for _ in range(300):
        states = work.run(f"squeue -h -t all -j {','.join(jobs)} -o %T").stdout.split()
        if states and set(states) == {"COMPLETED"}:
            return
        if "PENDING" in states:  # SLURM starts a requeued job after two minutes
            now = "; ".join(f"scontrol update JobId={job} StartTime=now" for job in jobs)
            work.run(f"({now}) 2>/dev/null || true")
        assert not {"FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT"} & set(states), job_outputs(work)
        time.sleep(0.2)
    raise AssertionError(f"{states}\n{job_outputs(work)}")


def job_outputs(work: Workdir) -> str:
    return "\n".join(path.read_text() for path in work.path.glob("slurm-*.out"))


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_an_array_and_its_merge(batch: Workdir) -> None:
    submitted = batch.run(RECIPES["submit"] + 'echo "$array"').stdout.split()
    finished(batch, submitted[-1], submitted[-2])
    assert (batch / "results.tsv").read_bytes() == alone(batch, "array")
    assert len(list(batch.path.glob("*.part"))) == 4


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask not installed: pip install 'relrep[cluster]'")
def test_dask_within_a_job(batch: Workdir) -> None:
    job = batch.run("sbatch --parsable dask.sbatch").stdout.strip()
    finished(batch, job)
    assert (batch / "results.tsv").read_bytes() == alone(batch, "dask")
    assert not list(batch.path.glob(".tls*"))


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_requeued_job_goes_on(batch: Workdir) -> None:
    job = batch.run("sbatch --parsable requeue.sbatch").stdout.strip()
    records = batch / ".results.tsv.relrep-records"
    for _ in range(300):
        if records.is_dir() and list(records.glob("*.null")):
            break
        time.sleep(0.05)
    before = {path.name for path in records.glob("*.null")}
    assert before and not (batch / "results.tsv").exists(), job_outputs(batch)
    batch.run(f"scontrol requeue {job}")
    time.sleep(2)  # a node refuses a job that starts again within the second in which it was stopped
    finished(batch, job)
    assert (batch / "results.tsv").read_bytes() == alone(batch, "requeue")
    assert not records.exists()


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_projection_in_parts(batch: Workdir) -> None:
    np.save(batch / "big.npy", np.random.default_rng(1).normal(size=(3000, 4)))
    (batch / "anchors.txt").write_text("1\n2\n3\n")
    finished(batch, batch.run("sbatch --parsable project.sbatch").stdout.strip())
    batch.run("relrep merge big.rel.*-of-3.h5 -o big.rel.h5 && relrep project big.npy -a anchors.txt -o alone.h5")
    assert read(str(batch / "big.rel.h5")).digest == read(str(batch / "alone.h5")).digest


GRID = "relrep stitch a.npz b.npz c.npz d.npz -a anchors.txt --method relative,ridge --head linear,mlp"
PROJECTION = "relrep project big.npy -a anchors.txt -o big.rel.h5"


@pytest.fixture
def labelled(batch: Workdir) -> Workdir:
    """Four spaces with labels beside the others, anchors, and a larger file."""
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(200, 4))
    for name in "abcd":
        labels = (hidden[:, 0] > 0).astype("S5")
        np.savez(batch / f"{name}.npz", x=hidden @ rng.normal(size=(4, 6)), ids=np.arange(200).astype("S"), label=labels)
    (batch / "anchors.txt").write_text("\n".join(map(str, range(20))))
    np.save(batch / "big.npy", np.random.default_rng(1).normal(size=(200_000, 64)).astype("f4"))
    return batch


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_grid_in_parts(labelled: Workdir) -> None:
    finished(labelled, labelled.run("sbatch --parsable grid.sbatch").stdout.strip())
    labelled.run("relrep merge grid.tsv.*-of-4.part -o grid.tsv")
    whole, threaded = (labelled.run(f"{GRID} -@ {count} 2>/dev/null", timeout=300).stdout for count in (1, 2))
    assert (labelled / "grid.tsv").read_text() == whole == threaded


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask not installed: pip install 'relrep[cluster]'")
def test_a_grid_and_a_projection_on_dask(labelled: Workdir) -> None:
    where = '--cluster "$tls/scheduler.json"'
    script = re.sub(r"relrep compare .*", "", RECIPES["dask"])
    lines = [f"{GRID} {where} > grid.tsv", f"{PROJECTION} {where}"]
    (labelled / "dask.sbatch").write_text(script + "\n".join(lines) + "\n")
    labelled = replace(labelled, env={**labelled.env, "SOURCE_DATE_EPOCH": "1000000000"})
    finished(labelled, labelled.run("sbatch --parsable dask.sbatch").stdout.strip())
    assert (labelled / "grid.tsv").read_text() == labelled.run(f"{GRID} 2>/dev/null", timeout=300).stdout
    labelled.run(PROJECTION.replace("big.rel", "alone"))
    assert (labelled / "big.rel.h5").read_bytes() == (labelled / "alone.h5").read_bytes()


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.skipif(importlib.util.find_spec("dask_jobqueue") is None, reason="pip install dask-jobqueue")
def test_jobs_that_relrep_submits(batch: Workdir) -> None:
    command = "relrep compare *.npy -m cka,knn-jaccard -o results.tsv"
    batch = replace(batch, env={**batch.env, "DASK_JOBQUEUE__SLURM__MEMORY": "500MB"})
    batch.run(f"{command} --cluster slurm:2", timeout=300)  # starting Dask in a job takes a loaded machine a minute
    assert (batch / "results.tsv").read_bytes() == alone(batch, "array")
    assert not list(batch.path.glob(".relrep-cluster*")) and not batch.run("squeue -h -t running,pending").stdout


def test_every_script_of_the_page_is_a_script() -> None:
    assert RECIPES.keys() == {"array", "merge", "submit", "grid", "project", "dask", "requeue"}
    for script in RECIPES.values():
        subprocess.run(["bash", "-n"], input=script.encode(), check=True)
