"""Manners of the command line, tried in a real shell: pipes, full disks, closed streams, formats, repetition."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ANCHORS, N, Workdir, only_line, same_bytes

from relrep_cli import store
from relrep_cli.base.machine_limits import cpu_limit
from relrep_cli.base.output import LOGGER

PROJECT = "relrep project a.h5 --anchors anchors.h5"
COMPARE = ["a", "b", "metric", "value", "corrected", "low", "high", "chance", "n", "k", "convention", "joined"]
STITCH = [
    "encoder",
    "head",
    "method",
    "anchors",
    "accuracy",
    "f1",
    "end_to_end",
    "stitching_index",
    "deviation",
    "low",
    "high",
    "n",
    "decoder",
]
GOLDEN = {
    "compare a.h5 b.h5 -m cosine": COMPARE,
    "compare a.h5 b.h5 -m knn-jaccard": [*COMPARE, "tied"],
    "compare a.h5 b.h5 -m cosine --anchors anchors.h5": [*COMPARE, "projection"],
    "compare a.h5 b.h5 -m cosine --permutations 5": [*COMPARE, "p", "q"],
    "compare a.h5 b.h5 -m cosine --worst 2": ["id", "label", "a", "b", "metric", "value"],
    "compare a.h5 b.h5 -m cka --matrix": ["cka", "a", "b"],
    "stitch a.h5 b.h5 --anchors anchors.h5 --head linear": STITCH,
    "info a.h5": ["file", "name", "value"],
}
DETERMINED = {"SOURCE_DATE_EPOCH": "1700000000"}


def identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


# --- pipes and streams ---


def test_cut(work: Workdir) -> None:
    lines = work.run("relrep compare a.rel.h5 b.rel.h5 --metric jaccard --k 10 | cut -f4,5").stdout.splitlines()
    assert lines[0] == "value\tcorrected"
    value, low = map(float, lines[1].split("\t"))
    assert 0.3 < low < value < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, reader",
    [
        ("relrep compare a.rel.h5 b.rel.h5 -q", "head -1"),
        (PROJECT + " -o - -q", "head -c 1"),
        ("relrep compare a.h5 b.h5 -m cka", "true"),
        ("relrep --help", "true"),
        ("relrep info --help", "true"),
        (PROJECT + " -o - -q", "true"),
    ],
)
def test_a_pipe_that_closes_is_no_error(work: Workdir, command: str, reader: str) -> None:
    done = work.cold.run(f"{command} | {reader}", 141 if reader == "true" else (0, 141))
    assert not done.stderr and not work.leftovers()


def test_projection_in_a_pipe(work: Workdir) -> None:
    done = work.run(PROJECT + " -o - | relrep compare - b.rel.h5 --json | python -m json.tool")
    records = json.loads(done.stdout)
    assert [r["a"] for r in records] == ["-"] * 2
    assert records[0]["metric"] == "cka" and records[0]["value"] > 0.9
    assert not work.leftovers()


@pytest.mark.parametrize(
    "command",
    [
        "relrep compare a.h5 b.h5 -m cka",
        "relrep anchor a.h5 -n 20 --ids-only",
        "relrep --help",
        "relrep --version",
        PROJECT + " -o -",
    ],
)
def test_full_disk(work: Workdir, command: str) -> None:
    work.cold.error(f"{command} > /dev/full", 74, "No space left on device")
    assert not work.leftovers()


@pytest.mark.parametrize("command", ["relrep compare a.h5 b.h5 -m cka", "relrep info --help", PROJECT + " -o -"])
def test_closed_stdout(work: Workdir, command: str) -> None:
    work.cold.error(f"{command} >&-", 74, "Bad file descriptor")


@pytest.mark.slow
def test_closed_stderr_and_stdin(work: Workdir) -> None:
    """What is said must not end up among the data, whatever descriptor is free."""
    quiet, work = work.run("relrep compare a.h5 b.h5 -m cosine -q"), work.cold
    assert work.run("relrep compare a.h5 b.h5 -m cosine 2>&-").stdout == quiet.stdout
    assert work.run("relrep compare a.h5 b.h5 -m cosine -q <&-").stdout == quiet.stdout
    work.error("relrep info - <&-", 3, "-: this is an empty file")
    bare = work.run(f"{PROJECT} -o - 2>&- <&-", **DETERMINED)
    assert bare.out == work.run(f"{PROJECT} -o - -q", **DETERMINED).out


def test_stdout_holds_data_only(work: Workdir) -> None:
    done = work.run("relrep compare a.h5 b.h5 -m cosine,cka")
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.startswith("relrep compare: a.h5 and b.h5 (spaces a and b): different spaces")


@pytest.mark.parametrize("command", ["compare a.h5 b.h5 c.h5 -m cka", "project a.h5 -a anchors.h5 -o x.h5"])
def test_redirected_stderr_has_no_bar(work: Workdir, command: str) -> None:
    """The other side of what a terminal shows, below."""
    done = work.run(f"relrep {command} 2> said > /dev/null; cat said")
    assert not re.search(r"[\x1b\r━]", done.stdout), done


def test_dash_is_stdin(work: Workdir) -> None:
    piped = work.run("relrep info - --verify --json < a.h5").stdout
    named = work.run("relrep info a.h5 --verify --json").stdout
    assert piped == named.replace('"a.h5"', '"-"')
    assert not work.leftovers()


def test_dash_twice_is_refused(work: Workdir) -> None:
    work.error("relrep compare - - -m cosine < a.h5", 2, "standard input", "once")


def test_output_in_text_formats_to_stdout(work: Workdir) -> None:
    done = work.run("relrep compare a.h5 b.h5 -m cosine -q -o -")
    assert done.stdout == work.run("relrep compare a.h5 b.h5 -m cosine -q").stdout


# --- on a terminal ---


def on_terminal(work: Workdir, command: str, stream: str, **env: str) -> str:
    """What `command` writes to a stream that is a terminal."""
    ours, theirs = pty.openpty()
    try:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
        environment = {**work.env, "COLUMNS": "200", **env}
        process = subprocess.Popen(["bash", "-c", command], cwd=work.path, env=environment, **streams)
        os.close(theirs)
        read = b""
        try:
            while block := os.read(ours, 65536):
                read += block
        except OSError:  # Linux reports the end of a terminal as EIO
            pass
        assert process.wait(60) == 0, read
    finally:
        os.close(ours)
    return read.decode()


def test_table_on_a_terminal(work: Workdir) -> None:
    shown = on_terminal(work, "relrep compare a.rel.h5 b.rel.h5 -m cosine", "stdout")
    assert "\t" not in shown and "\x1b[1m" in shown
    assert re.search(r"\ba\.rel\.h5 +b\.rel\.h5 +cosine +0\.9\d{3}\*? ", shown), shown
    plain = on_terminal(work, "relrep compare a.rel.h5 b.rel.h5 -m cosine", "stdout", NO_COLOR="1")
    assert "\x1b" not in plain and re.sub("\x1b.*?m", "", shown) == plain


@pytest.mark.slow
def test_bar_on_a_terminal(work: Workdir) -> None:
    command = "relrep compare a.h5 b.h5 c.h5 -m cka"
    assert "\x1b[" in on_terminal(work, command, "stderr")
    for calm in (command + " -q", "TERM=dumb " + command):
        assert "\x1b" not in on_terminal(work, calm, "stderr")


def test_no_binary_on_a_terminal(work: Workdir) -> None:
    shown = on_terminal(work, f"{PROJECT} -o - 2> said; echo $?; cat said", "stdout")
    assert shown.startswith("2\r\nrelrep project: -o -: binary output to a terminal")


# --- formats ---


@pytest.mark.parametrize("command", GOLDEN)
def test_golden_columns(work: Workdir, command: str) -> None:
    """Names and order of columns and keys are an interface."""
    records = json.loads(work.here(f"relrep {command} -q --json").stdout)
    assert records and all(list(r) == GOLDEN[command] for r in records)


@pytest.mark.slow
def test_formats_agree(work: Workdir) -> None:
    """Every format holds the same records; those for machines in full precision."""
    command = "relrep compare a.rel.h5 b.rel.h5 -m cosine,knn-jaccard -q --format "
    records = json.loads(work.here(command + "json").stdout)
    assert [json.loads(line) for line in work.here(command + "jsonl").stdout.splitlines()] == records
    for format, delimiter in (("tsv", "\t"), ("csv", ",")):
        read = list(csv.DictReader(io.StringIO(work.here(command + format).stdout), delimiter=delimiter))
        assert [list(r) for r in read] == [list(r) for r in records]
        for row, record in zip(read, records, strict=True):
            assert float(row["value"]) == record["value"] and row["convention"] == record["convention"]
            assert row["k"] == ("n/a" if record["k"] is None else str(record["k"]))
    header, rule, *rows = work.here(command + "markdown").stdout.splitlines()
    assert header.strip("| ").split(" | ") == ["a", "b", "metric", "value", "corrected", "chance", "n", "k"]
    assert set(rule) <= set("| -") and [row.startswith("| a.rel.h5 |") for row in rows[:2]] == [True, True]
    table = work.here(command + "table").stdout
    assert f"{records[0]['value']:.4f}" in table and "\x1b" not in table
    only_line(work.here(command + "xml", 2), "--format", "json", "markdown")
    only_line(work.here(command + "csv --json", 2), "--json", "csv")


def test_paths_are_never_cut(work: Workdir) -> None:
    name = "a-" + "very-" * 40 + "long-name.h5"
    (work / name).write_bytes((work / "a.h5").read_bytes())
    for format in ("table", "tsv", "markdown"):
        assert name in work.here(f"relrep compare {name} b.h5 -m cka -q --format {format}").stdout


@pytest.mark.parametrize("ending, start", [("csv", "a,b,"), ("jsonl", '{"a": '), ("md", "| a |")])
def test_the_ending_of_an_output_says_its_format(work: Workdir, ending: str, start: str) -> None:
    work.here(f"relrep compare a.h5 b.h5 -m cka -o out.{ending}")
    assert (work / f"out.{ending}").read_text().startswith(start)


# --- what is said ---


def test_quiet(work: Workdir) -> None:
    assert work.run("relrep compare a.h5 b.h5 -m cosine").stderr
    assert not work.run("relrep compare a.h5 b.h5 -m cosine -q").stderr
    assert work.run("relrep compare a.h5 b.h5 -m cosin -q", 2).stderr
    assert not work.run("relrep compare a.h5 b.h5 -m cosin -qq", 2).stderr


@pytest.mark.parametrize(
    "command, guess",
    [
        ("compar a.h5 b.h5", "compare"),
        ("compare a.h5 b.h5 --metic cka", "--metric"),
        ("compare a.h5 b.h5 -m jacard", "jaccard"),
        ("anchor a.h5 --strategy perclass -o x.h5", "per-class"),
        ("embed a.npz --encoder convae -o x.h5", "conv-ae"),
    ],
)
def test_suggestions(work: Workdir, command: str, guess: str) -> None:
    line = only_line(work.here(f"relrep {command}", 2), guess)
    assert re.search(rf"(Did you mean|Possible options?:|did you mean)[^.]*{guess}", line), line


def test_help(work: Workdir) -> None:
    text = work.run("relrep compare --help").stdout
    assert "relrep compare" in text and "Examples:" in text and "--threads" in text and "knn-jaccard" in text


def test_top_help_lists_commands_and_exit_codes(work: Workdir) -> None:
    text = work.run("relrep --help").stdout
    assert text == work.run("relrep").stdout == work.run("relrep -h").stdout
    for word in ("compare", "stitch", "74 could not write", "141", "143"):
        assert word in text


def test_version(work: Workdir) -> None:
    words = work.run("relrep --version").stdout
    for library in ("relrep ", "Python ", "HDF5 ", "h5py ", "numpy ", "faiss-cpu ", "torch "):
        assert re.search(library + r"\d+\.\d+", words), words


# --- the environment ---


@pytest.mark.slow
def test_a_command_ends_its_process_as_python_does(empty: Workdir) -> None:
    """What is registered to run at the end runs, threads end before, all output arrives, and a profiler goes on."""
    program = """if True:
        import atexit, sys, threading
        from relrep_cli.__main__ import main
        atexit.register(print, "registered")
        threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
        sys.argv = ["relrep", *sys.argv[1:]]
        main()
    """
    for words, code, start in ((["--version"], 0, "relrep 0"), (["info", "none.h5"], 3, "thread")):
        done = subprocess.run(
            [sys.executable, "-c", program, *words], cwd=empty.path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code and done.stdout.startswith(start), done
        assert done.stdout.split()[-2:] == ["thread", "registered"]
    profiled = [sys.executable, "-m", "cProfile", "-m", "relrep_cli", "info", "none.h5"]
    done = subprocess.run(profiled, cwd=empty.path, capture_output=True, text=True, check=False)
    assert "function calls" in done.stdout and "none.h5" in done.stderr


@pytest.mark.slow
def test_options_from_the_environment(work: Workdir) -> None:
    command = "relrep compare a.h5 b.h5 -m knn-jaccard -q"
    assert work.here(command, RELREP_COMPARE_K="3").stdout == work.here(command + " --k 3").stdout
    assert work.here(command + " --k 5", RELREP_COMPARE_K="3").rows[0]["k"] == "5"
    assert json.loads(work.here(command, RELREP_FORMAT="json").stdout)[0]["k"] == 10
    assert json.loads(work.here(command, RELREP_COMPARE_FORMAT="json", RELREP_FORMAT="csv").stdout)[0]["k"] == 10
    work.error(command, 2, "--threads", RELREP_THREADS="many")


def test_an_option_from_the_environment_is_a_default(work: Workdir) -> None:
    """One that the chosen entries do not take is left out; in the command line it is an error."""
    command = "relrep compare a.h5 b.h5 -m knn-jaccard -q"
    assert work.here(command, RELREP_COMPARE_ESTIMATOR="biased").stdout == work.here(command).stdout
    work.error(f"{command} --estimator biased", 2, "--estimator", "belongs to cka")


def test_old_names_of_variables_are_said(work: Workdir) -> None:
    done = work.here("relrep compare a.h5 b.h5 -m knn-jaccard", RELREP_METRIC="cka", RELREP_NEIGHBOURS="euclidean")
    assert done.rows[0]["metric"] == "knn-jaccard" and "cosine" in done.rows[0]["convention"]
    assert done.stderr.count("RELREP_METRIC is no longer read; write RELREP_COMPARE_METRIC.") == 1
    assert done.stderr.count("RELREP_NEIGHBOURS is no longer read; write RELREP_COMPARE_NEIGHBORS.") == 1


def test_both_spellings_of_neighbors(work: Workdir) -> None:
    command = "relrep compare a.h5 b.h5 -m knn-jaccard -q"
    both = [work.here(f"{command} --{name} euclidean").stdout for name in ("neighbors", "neighbours")]
    assert both[0] == both[1] != work.here(command).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, env, expected",
    [
        ("-@ 3", {}, "3"),
        ("--threads=3", {"RELREP_THREADS": "2"}, "3"),
        ("", {"RELREP_THREADS": "2", "SLURM_CPUS_PER_TASK": "5"}, "2"),
        ("", {"SLURM_CPUS_PER_TASK": "5", "OMP_NUM_THREADS": "7"}, "5"),
        ("", {}, str(cpu_limit())),
    ],
)
def test_threads_reach_the_libraries(work: Workdir, words: str, env: dict[str, str], expected: str) -> None:
    """The numerical libraries read the number from their variables while they load."""
    (work / "sitecustomize.py").write_text(
        "import atexit, os, sys\n"
        "report = lambda: print(os.environ.get('OPENBLAS_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS'), file=sys.stderr)\n"
        "atexit.register(report)\n"
    )
    path = os.pathsep.join([str(work.path), work.env["PYTHONPATH"]])
    done = work.cold.run(f"relrep info a.h5 {words} > /dev/null", **env, PYTHONPATH=path)
    assert done.stderr.splitlines()[-1] == f"1 {expected}", done


@pytest.mark.parametrize(
    "words, current, expected",
    [
        ("relrep co", 1, "compare"),
        ("relrep compare --metric kn", 3, "knn-jaccard"),
        ("relrep compare --metric cka,kn", 3, "cka,knn-jaccard"),
        ("relrep compare --met", 2, "--metric"),
        ("relrep anchor --strategy p", 3, "per-class"),
        ("relrep embed --encoder conv-a", 3, "conv-ae"),
    ],
)
def test_completion(empty: Workdir, words: str, current: int, expected: str) -> None:
    variables = {"_RELREP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(current)}
    assert set(empty.run("relrep", **variables).stdout.split()) == set(expected.split())


@pytest.mark.slow
def test_completion_within_files(work: Workdir) -> None:
    """Members behind `::`, which bash splits off, and the splits of the file that is named."""
    with h5py.File(work / "layers.h5", "w") as file:
        for name in ("layer/0", "layer/10", "head"):
            file[name] = np.eye(3)

    def after(words: str, shell: str = "bash") -> set[str]:
        last = {
            "COMP_WORDS": words.replace(" ", "\n"),
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "_TYPER_COMPLETE_ARGS": words,
        }
        last["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
        return set(work.run("relrep", **last, _RELREP_COMPLETE=f"complete_{shell}").stdout.split())

    assert after("relrep info layers.h5 :: la") == {"layer/0", "layer/10"}
    assert after("relrep compare a.h5 layers.h5 ::") == {"head", "layer/0", "layer/10"}
    assert after("relrep info layers.h5::la", "fish") == {"layers.h5::layer/0", "layers.h5::layer/10"}
    assert after("relrep compare a.h5 --split t") == {"test", "train"}
    assert after("relrep info no.h5 :: la") == set()


@pytest.mark.parametrize(
    ("shell", "sign"), [("bash", "complete -o"), ("zsh", "#compdef relrep"), ("fish", "complete --command")]
)
def test_the_script_is_for_the_shell_that_is_asked_for(empty: Workdir, shell: str, sign: str) -> None:
    assert sign in empty.here(f"relrep --show-completion {shell}").stdout
    script = empty.here(f"relrep --install-completion {shell}", HOME=str(empty.path)).stdout
    assert f"Completion for {shell} is in {empty.path}" in script
    assert "Did you mean zsh?" in empty.error("relrep --show-completion zhs", 2)


# --- doing, not doing, and doing again ---


@pytest.mark.parametrize(
    "command",
    [
        "embed a.npz -o new.h5",
        "project a.h5 -a anchors.h5 -o new.h5",
        "compare a.h5 b.h5 -o new.tsv --per-row new.h5",
        "stitch a.h5 b.h5 -a anchors.h5",
    ],
)
def test_dry_run_does_nothing(work: Workdir, command: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in work.path.iterdir()}
    done = work.here(f"relrep {command} --dry-run")
    assert "would: " in done.stderr and not done.stdout
    assert {p: p.stat().st_mtime_ns for p in work.path.iterdir()} == before and not work.leftovers()


@pytest.mark.parametrize(
    "command, other",
    [
        ("embed a.npz --space a", "embed a.npz --space b"),
        ("anchor a.h5 -n 5", "anchor a.h5 -n 5 --seed 1"),
        ("project a.h5 -a anchors.h5", "project a.h5 -a anchors.h5 --center"),
    ],
)
def test_rerun_is_up_to_date(work: Workdir, command: str, other: str) -> None:
    work.here(f"relrep {command} -o new.h5")
    first = identity(work / "new.h5")
    assert work.here(f"relrep {command} -o new.h5").stderr.endswith("new.h5: up to date.\n")
    only_line(work.here(f"relrep {other} -o new.h5", 2), "new.h5: exists", "--force")
    assert identity(work / "new.h5") == first
    work.here(f"relrep {other} -o new.h5 --force")
    assert identity(work / "new.h5") != first


def test_labels_count_for_up_to_date(work: Workdir) -> None:
    """Vectors and ids are the same, labels are not, so the file is not what this run would make."""
    np.save(work / "x.npy", np.eye(4, dtype=np.float32))
    (work / "l1").write_text("u\nu\nv\nv\n")
    (work / "l2").write_text("u\nv\nu\nv\n")
    work.here("relrep embed x.npy --labels l1 -o x.h5 -q")
    only_line(work.here("relrep embed x.npy --labels l2 -o x.h5 -q", 2), "x.h5: exists")
    work.here("relrep embed x.npy --labels l1 -o x.h5 -q")


def test_seed(work: Workdir) -> None:
    def ids(words: str) -> str:
        return work.here(f"relrep anchor a.h5 -n 10 --ids-only {words}").stdout

    assert ids("") == ids("--seed 0") != ids("--seed 1")
    intervals = [work.here(f"relrep compare a.h5 b.h5 -m knn-jaccard -q --seed {seed}").rows[0] for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]
    assert intervals[0]["value"] == intervals[2]["value"]


@pytest.mark.parametrize("command", ["embed a.npz", "anchor a.h5 -n 7", "project a.h5 -a anchors.h5 --center"])
def test_equal_runs_write_equal_bytes(work: Workdir, command: str) -> None:
    work.here(f"relrep {command} -o one.h5", **DETERMINED)
    work.here(f"relrep {command} -o two.h5", **DETERMINED)
    assert same_bytes(work, "one.h5", "two.h5")


def test_source_date_epoch_is_a_number(work: Workdir) -> None:
    work.error("relrep anchor a.h5 -n 7 -o x.h5", 2, "SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH="yesterday")


@pytest.mark.slow
def test_threads_change_no_answer(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2100, 24)).astype(np.float32)
    for name, noise in (("a", 0), ("b", 0.5)):
        np.save(empty / f"{name}.npy", x + noise * rng.normal(size=x.shape).astype(np.float32))
    (empty / "ids.txt").write_text("".join(f"{i}\n" for i in range(0, 2000, 20)))
    answers = []
    for threads in (1, 2):
        empty.cold.run(f"relrep project a.npy -a ids.txt -@ {threads} -o rel{threads}.h5", **DETERMINED)
        answers.append(empty.cold.run(f"relrep compare a.npy b.npy -@ {threads} -q").stdout)
    assert answers[0] == answers[1]
    assert same_bytes(empty, "rel1.h5", "rel2.h5")


def test_a_saved_encoder_gives_the_same_vectors(empty: Workdir) -> None:
    """On its own images and on new ones, in the same space; its file is no place for another's output."""
    rng = np.random.default_rng(0)
    for name, n in (("train", 60), ("t10k", 20)):
        for part, array in (("images-idx3", rng.integers(0, 256, (n, 6, 6))), ("labels-idx1", rng.integers(0, 3, n))):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(k.to_bytes(4, "big") for k in array.shape)
            (empty / f"{name}-{part}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())
    empty.here("relrep embed . --encoder pca --dim 5 --save-encoder pca.safetensors -o a.h5 -q")
    empty.here("relrep embed . --encoder pca.safetensors -o b.h5 -q")
    empty.here("relrep embed t10k-images-idx3-ubyte --encoder pca.safetensors -o c.h5 -q")
    with h5py.File(empty / "a.h5") as a, h5py.File(empty / "b.h5") as b, h5py.File(empty / "c.h5") as c:
        assert a["X"].shape == (80, 5) and np.array_equal(a["X"], b["X"]) and np.array_equal(a["X"][60:], c["X"])
        assert a.attrs["space"] == b.attrs["space"] == c.attrs["space"] != b""
        assert a["obs/id"][60] == c["obs/id"][0] == b"test-00000"
        assert [a["obs/split/categories"][k] for k in a["obs/split/codes"][[0, 79]]] == [b"train", b"test"]
    assert empty.here("relrep embed . --encoder pca.safetensors -o b.h5").stderr == "relrep embed: b.h5: up to date.\n"
    empty.error("relrep embed . --encoder pca.safetensors -o pca.safetensors --force", 2, "pca.safetensors: is also an input")


def test_vectors_of_anchors_come_from_their_own_space(work: Workdir) -> None:
    """An anchor that the file lacks is found in another file of its space, never in one of another space."""
    for name in "ab":
        with np.load(work / f"{name}.npz") as arrays:
            np.savez(work / f"{name}-rest.npz", x=arrays["x"][100:], ids=arrays["ids"][100:])
        work.here(f"relrep embed {name}-rest.npz --space {name} -o {name}-rest.h5 -q")
    work.here("relrep project a-rest.h5 -a anchors.h5 -o x.h5")  # the anchor file is of space a
    with h5py.File(work / "x.h5") as file, h5py.File(work / "a.rel.h5") as whole:
        assert np.abs(file["X"][:] - whole["X"][100:]).max() < 2e-6  # other rows around them
    only_line(
        work.here("relrep project b-rest.h5 -a anchors.h5 -o y.h5", 3), "anchors are not among its", "another space (a, not b)"
    )
    work.here("relrep project b-rest.h5 -a anchors.h5 --anchor-vectors b.h5 -o y.h5")
    with h5py.File(work / "y.h5") as file, h5py.File(work / "b.rel.h5") as whole:
        assert np.abs(file["X"][:] - whole["X"][100:]).max() < 2e-6  # other rows around them


# --- what joins ---


def shuffled(work: Workdir, name: str) -> None:
    with np.load(work / f"{name}.npz") as actual:
        arrays = dict(actual)
    order = np.random.default_rng(5).permutation(N)
    x = arrays.pop("x")
    np.savez(work / "shuffled.npz", x=x[order], **{k: v[order] for k, v in arrays.items()})
    work.here(f"relrep embed shuffled.npz --space {name} -o shuffled.h5 -q")


def figures(rows: list[dict[str, str]]) -> list[dict[str, str | float]]:
    """Records without file names, numbers rounded to where the order of summation ends."""
    numeric = ("value", "low", "high", "chance", "accuracy", "f1", "end_to_end", "stitching_index")
    kept = [{k: v for k, v in r.items() if k not in ("a", "b", "encoder", "head")} for r in rows]
    return [{k: round(float(v), 12) if k in numeric and v != "n/a" else v for k, v in r.items()} for r in kept]


def test_rows_join_by_id_and_losses_are_said(work: Workdir) -> None:
    with np.load(work / "b.npz") as arrays:
        np.savez(work / "part.npz", x=arrays["x"][50:], ids=arrays["ids"][50:])
    done = work.here("relrep compare a.h5 part.npz -m cka")
    assert done.rows[0]["n"] == str(N - 50)
    assert f"{N - 50} common ids; 50 and 0 rows left out (only in the first: " in done.stderr
    assert done.stderr.rstrip().endswith(", …)."), "the first three ids are named"
    only_line(work.here("relrep compare a.h5 part.npz -m cka --require-all", 3), f"{N - 50} common ids of {N} and {N - 50}")


def test_no_ids_means_row_numbers(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        np.save(empty / f"{name}.npy", rng.normal(size=(30, 4)))
    done = empty.run("relrep compare a.npy b.npy -m cka")
    assert done.stderr.count("has no ids; row numbers stand in for them") == 2 and done.rows[0]["n"] == "30"


# --- anchors as text, single rows, verdicts ---


def test_anchor_ids_as_text(work: Workdir) -> None:
    work.run(f"relrep anchor a.h5 -n {ANCHORS} --strategy per-class --ids-only > anchors.txt")
    assert len((work / "anchors.txt").read_text().splitlines()) == ANCHORS
    work.run("relrep project b.h5 --anchors anchors.txt -o text.rel.h5")
    with h5py.File(work / "text.rel.h5") as text, h5py.File(work / "b.rel.h5") as file:
        assert np.array_equal(text["X"][:], file["X"][:])
        assert text.attrs["space"] == file.attrs["space"]
    by_text, by_file = (work.here(f"relrep compare a.h5 b.h5 -m cka -a anchors.{e} -q").stdout for e in ("txt", "h5"))
    assert by_text == by_file


@pytest.mark.parametrize("anchors", ["any-name", "<(cat any-name)"])
def test_anchor_ids_keep_their_order(work: Workdir, anchors: str) -> None:
    (work / "any-name").write_text("item-009\nitem-003\nitem-030\n")
    work.cold.run(f"relrep project a.h5 --anchors {anchors} -o x.h5")
    with h5py.File(work / "x.h5") as file:
        assert file["var/id"][:].tolist() == [b"cosine:item-009", b"cosine:item-003", b"cosine:item-030"]


def test_ids_are_kept_letter_by_letter(empty: Workdir) -> None:
    """Tokens are ids, too: spaces and unusual separators belong to them. A line feed cannot be said in a list."""
    ids = [" the", "the", "a b ", "\u2028", "\x85", "\x0c", "👩\u200d👧", "é"]
    np.save(empty / "x.npy", np.eye(len(ids)))
    (empty / "ids.txt").write_bytes("".join(f"{i}\r\n" for i in ids).encode())
    empty.run("relrep embed x.npy --ids ids.txt --space s -o x.h5")
    empty.run("relrep anchor x.h5 -n 8 --strategy first --ids-only > anchors.txt")
    assert (empty / "anchors.txt").read_bytes() == "".join(f"{i}\n" for i in ids).encode()
    empty.run("relrep project x.h5 -a anchors.txt -o rel.h5")
    np.savez(empty / "y.npz", x=np.eye(2), ids=["a\nb", "c"])
    empty.error("relrep anchor y.npz -n 2 --split all --ids-only", 3, "y.npz", r"a\nb", "line feed", "-o FILE")


def test_per_row(work: Workdir) -> None:
    done = work.here("relrep compare a.rel.h5 b.rel.h5 -m cosine,jaccard --per-row rows.tsv -q")
    with (work / "rows.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0]) == ["id", "label", "a", "b", "metric", "value"] and len(rows) == 2 * N
    for record in done.rows:
        own = [float(r["value"]) for r in rows if r["metric"] == record["metric"]]
        assert np.mean(own) == pytest.approx(float(record["value"]), rel=1e-12)
    work.here("relrep compare a.rel.h5 b.rel.h5 -m cosine,jaccard --per-row rows.h5 -q")
    with h5py.File(work / "rows.h5") as file:
        assert file["X"].shape == (N, 2)
        assert ["cosine" in n.decode() for n in file["var/id"]] == [True, False]
        assert file["obs/id"][0].decode() == rows[0]["id"] and file["X"][0, 0] == float(rows[0]["value"])
    assert store.read(str(work / "rows.h5")).obs["label"].tolist() == [r["label"].encode() for r in rows[:N]]
    with np.load(work / "a.npz") as arrays:
        assert {r["id"]: r["label"] for r in rows} == dict(zip(arrays["ids"], arrays["label"].astype(str), strict=True))
    only_line(work.here("relrep compare a.h5 b.h5 -m cka --per-row none.tsv", 2), "--per-row", "value for each row")
    some = work.here("relrep compare a.h5 b.h5 -m cka,knn-jaccard --worst 2")
    assert [r["metric"] for r in some.rows] == ["knn-jaccard"] * 2 and "cka: no value for each row" in some.stderr


@pytest.mark.parametrize("limit, code", [("0.9", 0), ("0.99999", 1)])
def test_fail_under(work: Workdir, limit: str, code: int) -> None:
    done = work.run(f"relrep compare a.rel.h5 b.rel.h5 -m cosine --fail-under {limit}", code)
    assert len(done.rows) == 1
    assert bool(done.stderr) == bool(code) and (not code or f"which misses {limit}" in done.stderr)


def test_fail_under_counts_missing_values(work: Workdir) -> None:
    work.here("relrep compare a.h5 c.h5 -m cosine,cka --fail-under -2 -q", 1)
    work.here("relrep compare a.h5 c.h5 -m cka --fail-under -2 -q", 0)


# --- names ---


NAMES = [
    b"with space.h5",
    "naïve-日本.h5".encode(),
    b"-dash.h5",
    b"new\nline.h5",
    b"esc\x1b[31m.h5",
    b"not-\xff-utf8.h5",
    b"{a}[b].h5",
]


@pytest.mark.slow
def test_file_names(work: Workdir) -> None:
    """Any name works, and none reaches the terminal raw."""
    folder = os.fsencode(work.path)
    for name in NAMES:
        os.link(work / "a.h5", os.path.join(folder, name))
    quoted = ["$'./" + "".join(map("\\x{:02x}".format, name)) + "'" for name in NAMES]
    done = work.run(f"relrep compare {' '.join(quoted)} b.h5 -m cosine -v")
    pairs = len(NAMES) * (len(NAMES) + 1) // 2
    assert "\x1b" not in done.stdout + done.stderr and len(done.rows) == pairs
    assert sum("different spaces" in line for line in done.stderr.splitlines()) == len(NAMES), done
    records = json.loads(work.run(f"relrep compare {' '.join(quoted)} b.h5 -m cka --json -o -").out)
    assert len(records) == pairs
    work.run(f"relrep compare {' '.join(quoted)} b.h5 -m cka -o out.json")
    assert json.loads((work / "out.json").read_bytes()) == records
    work.run(f"relrep project {quoted[-2]} -a anchors.h5 -o x.h5")
    assert "\x1b" not in work.error(f"relrep info {quoted[4]}.gone", 3, "no such file")


def test_notes_are_those_of_a_logger(
    empty: Workdir, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that imports relrep gets notes through `logging` and nothing on stderr; a run leaves the logger as it was."""
    caplog.set_level("INFO", "relrep")
    np.save(empty / "x.npy", np.eye(3))
    store.read(str(empty / "x.npy"))
    assert "has no ids" in caplog.text and not capsys.readouterr().err
    before = list(LOGGER.handlers), LOGGER.level, LOGGER.propagate
    assert empty.here("relrep info gone.h5 -q", 3).stderr.startswith("relrep info: gone.h5: no such file.")
    assert not empty.here("relrep info gone.h5 -qq", 3).stderr
    assert (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate) == before
