"""The same bytes whatever runs a command: one process, threads, processes, a job array and Dask under a real SLURM, and kills.

    python benchmarks/same_bytes.py [WORD…] [--smoke]

Runs the jobs whose names hold a word, in every way, and prints wall and CPU seconds and whether the output is that of one
process. After a kill of the first process, it also prints how many tasks the first run had finished, and how many of them the
same command did again: at most those in flight. SLURM is started as the tests do; without it, its ways are left out. Exits with
1 when bytes differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any

import numpy as np
from common import CHECKOUT, RELREP, SMOKE, size

sys.path.insert(0, str(CHECKOUT / "tests" / "engine"))
import slurm

HEADS = "linear" if SMOKE else "linear,mlp"
JOBS = {  # name -> the words of the command, its output, and the parts that make it
    "compare": ("compare small*.npy --preset quick -q -o out.tsv", "out.tsv", "out.tsv.*.part"),
    "stitch": (
        f"stitch grid*.npz -a ids.txt --method relative,ridge --head {HEADS} -q --cache kept -o out.tsv",
        "out.tsv",
        "out.tsv.*.part",
    ),
    "project": ("project big.npy -a ids.txt -q -o out.h5", "out.h5", "out.*-of-4.h5"),
}
RECIPES = dict(re.findall(r"```sh file=(\w+)\n(.*?)```", (CHECKOUT / "docs/cluster.md").read_text("utf-8"), re.DOTALL))
DONE = 0.3  # the part of the tasks after which something is killed
ENVIRONMENT = {**os.environ, "SOURCE_DATE_EPOCH": "1000000000", "PYTHONWARNINGS": "ignore"}
Way = Callable[[str, str, str], str]  # from a command, its output and its parts to a remark


def run(*command: str) -> None:
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def make() -> None:
    """The inputs: 12 spaces of 1,000 x 64, 4 with labels, and 1,000,000 x 64."""
    rng = np.random.default_rng(0)
    n = size(1000, 120)
    hidden = rng.normal(size=(n, 16))
    for number in range(size(12, 4)):
        x = hidden @ rng.normal(size=(16, 64)) + rng.normal(size=(n, 64))
        np.save(f"small{number:02d}.npy", x.astype("f4"))
    for number in range(size(4, 2)):
        x, labels = (hidden @ rng.normal(size=(16, 32))).astype("f4"), hidden[:, :3].argmax(1).astype("S")
        np.savez(f"grid{number}.npz", x=x, ids=np.arange(n).astype("S"), label=labels)
    np.save("big.npy", rng.normal(size=(size(1_000_000, 20_000), 64)).astype("f4"))
    Path("ids.txt").write_text("\n".join(map(str, range(50))))


def plain(*more: str) -> Way:
    def way(command: str, output: str, parts: str) -> str:
        run(*RELREP, *command_words(command), *more)
        return ""

    return way


def command_words(command: str) -> list[str]:
    """The words of a command, with the files that a pattern names."""
    return [name for word in command.split() for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def array(command: str, output: str, parts: str) -> str:
    """An array of four, with the lines of the recipe before the command, and the merge."""
    head = RECIPES["array"].partition("exec ")[0]
    batch(f"{head}exec relrep {command.replace(' --cache kept', '')} --shard auto\n")
    run(*RELREP, "merge", *sorted(map(str, Path().glob(parts))), "-o", output, "-q")
    return ""


def dask(command: str, output: str, parts: str) -> str:
    """The recipe of a Dask cluster within a job."""
    head = RECIPES["dask"].partition("relrep compare")[0]
    batch(f'{head}relrep {command} --cluster "$tls/scheduler.json"\n')
    return ""


def batch(script: str) -> None:
    """Submit a script, and wait until it has ended well."""
    Path("job.sbatch").write_text(script)
    run("sbatch", "--wait", "job.sbatch")


def started(command: str) -> subprocess.Popen[bytes]:
    """A run in two processes that has done some of its tasks."""
    Path("log").unlink(missing_ok=True)
    first = subprocess.Popen([*RELREP, *command_words(command), "--cluster", "local:2", "--log", "log"], env=ENVIRONMENT)
    while first.poll() is None:
        events = log_events()
        if len(events) > 0 and len(events) >= DONE * events[0]["of"]:
            break
        time.sleep(0.02)
    return first


def log_events() -> list[dict[str, Any]]:
    text = Path("log").read_text() if Path("log").exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def worker_killed(command: str, output: str, parts: str) -> str:
    first = started(command)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    if first.poll() is None and (processes := children.read_text().split()):
        os.kill(int(processes[0]), signal.SIGKILL)
    if first.wait():
        sys.exit(f"{command}: exit code {first.returncode}")
    ended = [event for event in log_events() if event["event"] == "process ended"]
    return f"{len(ended)} process ended {ended[0]['how'] if ended else ''}"


def driver_killed(command: str, output: str, parts: str) -> str:
    first = started(command)
    first.kill()
    first.wait()
    events = log_events()
    done, total = sum(event["event"] == "done" for event in events), events[0]["of"] if events else 0
    Path("log").unlink(missing_ok=True)
    run(*RELREP, *command_words(command), "--cluster", "local:2", "--log", "log")
    again = done + sum(event["event"] == "done" for event in log_events()) - total
    return f"{done} of {total} tasks were done, {max(0, again)} of them again"


def measure(name: str, ways: dict[str, Way]) -> bool:
    """Print a line for each way. Returns whether all bytes are those of the first."""
    command, output, parts = JOBS[name]
    first, good = "", True
    for title, way in ways.items():
        for path in [*Path().glob(parts), Path(output)]:
            path.unlink(missing_ok=True)
        for folder in [*Path().glob(".*relrep-records"), Path("kept")]:
            shutil.rmtree(folder, ignore_errors=True)
        wall, before = time.time(), os.times()
        remark = way(command, output, parts)
        wall, after = time.time() - wall, os.times()
        digest = hashlib.sha256(Path(output).read_bytes()).hexdigest()
        first, cpu = (
            first or digest,
            after.children_user + after.children_system - before.children_user - before.children_system,
        )
        shown = "" if "SLURM" in title else f"{cpu:.1f}"
        print(f"| `{name}` | {title} | {shown} | {wall:.0f} | {'yes' if digest == first else 'NO'} | {remark} |", flush=True)
        good = good and digest == first
    return good


def main() -> None:
    words = sys.argv[1:] or list(JOBS)
    ways: dict[str, Way] = {"one process": plain("-@", "1"), "`-@ 2`": plain("-@", "2")}
    ways |= {f"`local:{count}`": plain("--cluster", f"local:{count}") for count in (2, 4)}
    ways |= {"a worker killed": worker_killed, "the first process killed": driver_killed}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="same_bytes.")))
        if why := "not in a smoke test" if SMOKE else slurm.missing():
            print(f"SLURM: {why}")
        else:
            (folder / "slurm").mkdir()
            ENVIRONMENT.update(stack.enter_context(slurm.cluster(folder / "slurm")))
            ways |= {"an array of four under SLURM": array, "Dask under SLURM": dask}
        if SMOKE:
            ways = {title: ways[title] for title in ("one process", "`local:2`", "the first process killed")}
        (folder / "bin").mkdir()
        for program, module in (("relrep", "relrep_cli"), ("dask", "dask")):
            script = folder / "bin" / program
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
            script.chmod(0o755)
        ENVIRONMENT["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        (folder / "work").mkdir()
        stack.enter_context(chdir(folder / "work"))
        make()
        print("| job | way | CPU s | wall s | the same bytes | |\n| --- | --- | --- | --- | --- | --- |", flush=True)
        good = [measure(name, ways) for name in JOBS if any(word in name for word in words)]
    if not all(good):
        sys.exit(1)


if __name__ == "__main__":
    main()
