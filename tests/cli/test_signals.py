"""INT, TERM and HUP end every command soon, with the right code, nothing left behind and the old output intact."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import CHECKOUT, Process, Workdir, ended
from safetensors.numpy import save_file

from relrep_cli.store import write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads CPU times from /proc"),
]
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
CODES = {INT: 130, TERM: 143, HUP: 129}
OTHERS = 1.5  # load per CPU from which this machine has no time to be on time
LONG = {  # at one thread each takes far longer than the signal waits
    "embed pca": "embed drawings --encoder pca -o out.h5 --force",
    "embed conv-ae": "embed photos --encoder conv-ae --epochs 1000 --patience 1000 -o out.h5 --force",
    "project": "project big.h5 --anchors ids.txt -o out.h5 --force --dtype float16",
    "compare jaccard": "compare big.h5 big.h5 -m jaccard -o out.tsv --force",
    "compare mrr": "compare big.h5 big.h5 -m mrr -o out.tsv --force",
    "compare cka": "compare big.h5 big.h5 -m cka -o out.tsv --force",
    "stitch": "stitch big.h5 big.h5 --anchors few.txt --head linear",
}


def patience() -> float:
    """Seconds within which a command must end: 3, or more where other programs keep all CPUs busy."""
    return 3.0 if os.getloadavg()[0] < OTHERS * (os.cpu_count() or 1) else 10.0


def used(process: Process) -> float:
    """Seconds of CPU that the process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy(process: Process, seconds: float) -> bool:
    """Wait until the process has used so many seconds of CPU; whether it is still there then."""
    while process.poll() is None:
        if used(process) >= seconds:
            return True
        time.sleep(0.01)
    return False


def idle(process: subprocess.Popen[bytes]) -> bool:
    """Wait until the process has started and then used no CPU for a while; whether it is still there then."""
    before = -1.0
    while process.poll() is None and not (used(process) == before > 0.05):
        before = used(process)
        time.sleep(0.25)
    return process.poll() is None


def idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes())


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """big.h5: wide vectors that are little to store and much to compute with; two folders of images; an older out.h5."""
    folder, rng = tmp_path_factory.mktemp("heavy"), np.random.default_rng(0)
    n, d = 6144, 4096
    x = np.tile(rng.standard_normal((n, 64)).astype(np.float16), d // 64)
    ids, odd = np.arange(n).astype("S4"), np.arange(n) % 2 == 1
    write(
        str(folder / "big.h5"), [x], shape=x.shape, dtype="float16", ids=ids,
        obs={"label": np.where(odd, b"odd", b"even"), "split": np.where(np.arange(n) % 4 == 0, b"test", b"train")},
        var={"id": np.arange(d).astype("S4")}, kind="absolute", space="big", steps=[],
    )  # fmt: skip
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in range(4096)))
    (folder / "few.txt").write_text("".join(f"{i}\n" for i in range(85) if i % 4))  # training items alone, for stitch
    for name, shape in (("drawings", (3000, 64, 64)), ("photos", (4000, 28, 28)), ("snaps", (1200, 28, 28))):
        (folder / name).mkdir()
        idx(folder / name / "train-images-idx3-ubyte", rng.integers(0, 256, shape, np.uint8))
    (folder / "out.h5").write_bytes(b"an older result")
    return folder


@pytest.fixture
def work(empty: Workdir, heavy: Path) -> Workdir:
    """A shell in a folder with the files of `heavy`, where commands take one thread."""
    for file in heavy.iterdir():
        (empty / file.name).symlink_to(file)
    (empty / "out.h5").unlink()
    (empty / "out.h5").write_bytes((heavy / "out.h5").read_bytes())
    empty.env["RELREP_THREADS"] = "1"
    return empty


def starts(command: str) -> float:
    """CPU seconds until a command with a warm start is in the midst of its work; conv-ae decodes and compiles first."""
    return 1.0 if "conv-ae" in command else 0.4


@pytest.mark.parametrize(
    "name, number",
    [*((name, TERM) for name in LONG), ("project", INT), ("compare mrr", HUP)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_signal_ends_any_command(work: Workdir, name: str, number: signal.Signals) -> None:
    output = work / ("out.tsv" if name.startswith("compare") else "out.h5")
    output.write_bytes(b"an older result")
    process = work.fork(LONG[name])
    assert busy(process, starts(name)), process.communicate()
    code, stderr, seconds = ended(process, number)
    assert code == CODES[number] and (not stderr or "stopped. The same command goes on" in stderr)
    assert seconds < patience()
    assert output.read_bytes() == b"an older result" and not work.leftovers()


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_from_the_first_moment_on(work: Workdir, number: signal.Signals) -> None:
    """While Python starts, too: never a traceback, never an exit that says all went well."""
    for seconds in (0.03, 0.1, 0.25, 0.5) if number is TERM else (0.06, 0.4):
        process = work.start("project big.h5 --anchors ids.txt -o new.h5")
        assert busy(process, seconds)
        code, stderr, _ = ended(process, number)
        if code == 1 and "init_import_site" in stderr:
            continue  # Python itself was interrupted, before it looked at any of our code
        assert code in (CODES[number], -number), (seconds, code, stderr)
        assert "relrep_cli/cli" not in stderr, (seconds, stderr)
    assert not (work / "new.h5").exists() and not work.leftovers()


@pytest.mark.parametrize("number", [INT, TERM], ids=lambda number: number.name)
def test_a_signal_to_the_whole_group(work: Workdir, number: signal.Signals) -> None:
    """Ctrl-C reaches the child that reads the file as well; its death is no verdict on the file."""
    for seconds in (0.3, 0.4):
        process = work.start("info " + "big.h5 " * 20, start_new_session=True)
        assert busy(process, seconds)
        os.killpg(process.pid, number)
        code, stderr, _ = ended(process)
        assert code == CODES[number] and not stderr, (seconds, code, stderr)


@pytest.mark.parametrize("command", ["info -", "project - --anchors ids.txt -o new.h5"])
def test_waiting_for_input(work: Workdir, command: str) -> None:
    process = work.start(command, stdin=subprocess.PIPE)
    assert idle(process)
    assert process.stdin is not None
    process.stdin.write(b"\x89HDF\r\n\x1a\n")
    process.stdin.flush()
    process.send_signal(TERM)
    begun = time.monotonic()
    assert process.wait(30) == 143 and time.monotonic() - begun < patience()
    process.communicate()
    assert not work.leftovers()


def test_waiting_for_a_reader(work: Workdir) -> None:
    """A pipe that nobody empties."""
    process = work.start("project big.h5 --anchors few.txt -o -")
    assert process.stdout is not None and process.stdout.read(1) == b"\x89"
    process.send_signal(TERM)
    begun = time.monotonic()
    assert process.wait(30) == 143 and time.monotonic() - begun < patience()
    process.communicate()
    assert not work.leftovers()


def ignoring(*numbers: signal.Signals) -> Callable[[], None]:
    return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers] and None


@pytest.mark.parametrize("number", [INT, HUP], ids=lambda number: number.name)
def test_what_was_ignored_stays_ignored(work: Workdir, number: signal.Signals) -> None:
    """As by nohup, and by a shell for jobs in its background."""
    command = "project big.h5 --anchors few.txt -o out.h5 --force"
    process = work.start(command, preexec_fn=ignoring(number))
    while busy(process, 0.1) and process.poll() is None:
        process.send_signal(number)
        time.sleep(0.05)
    assert ended(process)[0] == 0
    work.run("relrep info out.h5 --verify")


def test_a_background_job_of_a_script(work: Workdir) -> None:
    """The script a scheduler runs: TERM to the job, `wait` hears of it."""
    done = work.cold.run(f"relrep {LONG['project']} & sleep 1; kill -TERM $!; wait $!; echo ended $?")
    assert done.stdout == "ended 143\n" and not work.leftovers()


def test_a_training_goes_on_where_it_was(work: Workdir) -> None:
    """The same vectors as in one go, and the records are gone when the output is there."""
    train = "embed snaps --encoder conv-ae --epochs 4 --patience 9"
    process, folder = work.fork(f"{train} -o again.h5"), work / ".again.h5.relrep-records"
    while not list(folder.glob("*.safetensors")):
        assert busy(process, 0.1)
        time.sleep(0.05)
    code, stderr, _ = ended(process, TERM)
    assert code == 143 and not (work / "again.h5").exists() and folder.exists()
    assert "relrep embed: stopped. The same command goes on from what is kept in .again.h5.relrep-records." in stderr
    stderr = work.run(f"relrep {train} -o again.h5 && relrep {train} -o once.h5").stderr
    assert stderr.count("goes on after the last whole epoch of the run that was stopped.") == 1
    assert not folder.exists()
    digests = {r["value"] for r in work.run("relrep info again.h5 once.h5").rows if r["name"] == "digest"}
    assert len(digests) == 1


SCRIPTS = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", (CHECKOUT / "docs" / "cluster.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_the_batch_scripts_of_the_documentation(work: Workdir, number: int) -> None:
    """What SLURM does with --signal=B:TERM@60: TERM to the shell of the script alone. Run again, the script finishes."""
    (work / "a.h5").symlink_to(work / "big.h5")
    (work / "b.h5").symlink_to(work / "big.h5")
    (work / "job.sh").write_text(SCRIPTS[number].replace("anchors.h5", "few.txt"))
    shell = subprocess.Popen(
        ["bash", "job.sh"], cwd=work.path, env=work.cold.env, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    while not list(work.path.glob(".a.rel.h5.relrep.*")):
        assert shell.poll() is None, shell.communicate()
        time.sleep(0.01)
    code, stderr, seconds = ended(shell, TERM)
    assert code == 143 and seconds < patience(), stderr
    assert not (work / "a.rel.h5").exists() and not work.leftovers()
    work.cold.run("bash job.sh")
    work.run("relrep info a.rel.h5 --verify")


def test_a_second_signal(work: Workdir) -> None:
    """The second of two signals ends at once, whatever the first one waits for."""
    process = work.start(LONG["embed pca"])
    assert busy(process, 1)  # within one long call of linear algebra
    process.send_signal(TERM)
    time.sleep(0.2)
    code, stderr, seconds = ended(process, TERM)
    assert code in (143, -TERM) and not stderr and seconds < patience()  # a shell shows 143 for both
    assert not work.leftovers()


# --- a file that gets shorter while it is mapped ---


@pytest.mark.parametrize("suffix", [".h5", ".npy", ".safetensors"])
def test_a_file_cut_while_it_is_read_is_one_line(empty: Workdir, suffix: str) -> None:
    """SIGBUS, which Python's own handlers cannot end. The second file comes through a pipe, so the moment is known."""
    x = np.random.default_rng(0).standard_normal((300_000, 4)).astype(np.float32)
    ids, file = np.arange(len(x)).astype("S6"), empty / f"x{suffix}"
    columns: dict = {"ids": ids, "obs": {}, "var": {"id": np.arange(4).astype("S1")}}
    write(str(empty / "x.h5"), [x], shape=x.shape, dtype="float32", **columns, kind="absolute", space="s", steps=[])
    other = (empty / "x.h5").read_bytes()
    if suffix == ".npy":
        np.save(file, x)
    elif suffix == ".safetensors":
        save_file({"x": x}, file)
    with subprocess.Popen(
        ["relrep", "compare", file.name, "-", "-m", "cosine", "-q", "--by-position"],
        cwd=empty.path, env=empty.cold.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin and process.stderr and process.stdout
        process.stdin.write(other[: 1 << 20])  # more than a pipe takes: when it is gone, the first file has been read
        process.stdin.flush()
        os.truncate(file, 4096)
        process.stdin.write(other[1 << 20 :])
        process.stdin.close()
        stderr = process.stderr.read().decode()
        assert process.stdout.read() == b""
    shorter = "became shorter while it was read. Try again when nothing writes to it."
    assert (process.returncode, stderr) == (3, f"relrep compare: {file.name}: {shorter}\n")
    assert not list(empty.tmp.iterdir())
