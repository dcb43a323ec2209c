"""What the experiment scripts share: files made once, cells kept in JSON, and pages whose tables come from the cells.

    python benchmarks/experiments/cora.py --data DATA --work WORK     measures what is missing, then renews the page
    python benchmarks/experiments/cora.py --page                      renews the page from the JSON alone
    python benchmarks/experiments/cora.py --age                       says which code changed since each cell was measured
    python benchmarks/experiments/cora.py --quick                     a smoke test on tiny data, of which nothing is kept

DATA holds the folders cora, trec, … that docs/experiments/README.md lists; WORK keeps encoders and their vectors. A cell is
one command and what it printed. Its key is a digest of the command and of the commands that made its files, so a run that
was killed goes on with the cells that are missing, and a cell whose setting changed is measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))  # the relrep of this checkout, for figures that no command prints
RESULTS = Path(__file__).resolve().parent / "results"
PAGES = CHECKOUT / "docs" / "experiments"
FOOTER = "Measured at commit {commits}; {cost} of CPU time."
MARKED = re.compile(r"(<!-- table: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(CHECKOUT),
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
}

Record = dict[str, Any]
Tables = Mapping[str, Callable[["Lab"], str]]


class MissingCell(Exception):
    """A table needs a cell that nobody has measured."""


@dataclass
class Lab:
    """One experiment: its data, the folder of its files, and its cells.

    measuring: whether missing cells are measured; a page is made without. quick: tiny settings.
    """

    name: str
    data: Path = Path("data")
    work: Path = Path("work")
    measuring: bool = False
    quick: bool = False
    cells: dict[str, Record] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)

    def size(self, whole: int, quick: int) -> int:
        """A number of seeds, epochs or anchors, as it is measured or in a smoke test."""
        return quick if self.quick else whole

    def head(self, name: str) -> str:
        """The option of this head; in a smoke test, an MLP makes two passes."""
        return f"--head {name}" + (" --head-epochs 2" if self.quick and name == "mlp" else "")

    def file(self, name: str, command: str) -> str:
        """Make the file `name` in WORK by the relrep command, which writes it with -o, unless it is there already."""
        key = self._key(command)
        self.made[name] = key
        stamp = self.work / f"{name}.key"
        if self.measuring and not (stamp.exists() and stamp.read_text() == key and (self.work / name).exists()):
            self._run(f"{command} -o {name} --force")
            stamp.write_text(key)
        return name

    def text(self, name: str, lines: Sequence[str]) -> str:
        """Write a small text file into WORK, such as known pairs or splits."""
        self.made[name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        if self.measuring:
            (self.work / name).write_text("\n".join(lines) + "\n")
        return name

    def cell(self, command: str, columns: Sequence[str]) -> list[Record]:
        """The records that the relrep command prints, with these columns alone."""
        heads = command.startswith("stitch") and "-t retrieval" not in command
        cache = " --cache cache" if heads else ""  # what is finished of a cell that was stopped
        return self.computed(command, columns, lambda: json.loads(self._run(f"{command} --format json -@ 1{cache}")))

    def computed(self, command: str, columns: Sequence[str], measure: Callable[[], Sequence[Record]]) -> list[Record]:
        """As cell, for records that a function gives. command: says what they are, and names the files that they are of."""
        key = self._key(f"{command} > {','.join(columns)}")
        self.used.append(key)
        if key not in self.cells:
            if not self.measuring:
                raise MissingCell(f"{self.name}: {command}")
            start, made_at = sum(os.times()[:4]), commit()
            rows = [[_short(record.get(column)) for column in columns] for record in measure()]
            cost = round(sum(os.times()[:4]) - start)
            self.keep(key, {"command": command, "commit": made_at, "cpu": cost, "columns": list(columns), "rows": rows})
        result = self.cells[key]
        return [dict(zip(result["columns"], row, strict=True)) for row in result["rows"]]

    def keep(self, key: str, cell: Record) -> None:
        """Add a cell and write all cells, by a file that replaces the old one."""
        self.cells[key] = cell
        if not self.quick:
            RESULTS.mkdir(exist_ok=True)
            lines = ",\n".join(f'"{k}": {json.dumps(c, separators=(",", ":"))}' for k, c in sorted(self.cells.items()))
            part = RESULTS / f"{self.name}.part"
            part.write_text(f"{{\n{lines}\n}}\n")
            part.replace(RESULTS / f"{self.name}.json")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """A Markdown table of the cells that were read since the last table, which names their commits and their cost."""
        cells, self.used = [self.cells[key] for key in dict.fromkeys(self.used)], []
        lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
        commits = ", ".join(f"`{name}`" for name in sorted({cell["commit"] for cell in cells}))
        seconds = sum(cell["cpu"] for cell in cells)
        cost = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds} s"
        return "\n".join([*lines, "", FOOTER.format(commits=commits, cost=cost)])

    def _key(self, command: str) -> str:
        parts = [self.made.get(word, word) for word in shlex.split(command)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _run(self, command: str) -> str:
        print(f"relrep {command}", file=sys.stderr, flush=True)
        words = [word.replace("DATA/", f"{self.data}/") for word in shlex.split(command)]
        done = subprocess.run(
            [sys.executable, "-m", "relrep_cli", *words, "-q"],
            cwd=self.work, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"relrep {command}: exit {done.returncode}")
        return done.stdout


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def commit() -> str:
    """The commit of this checkout, with a + where the package was changed since."""
    name = _git("rev-parse", "--short=7", "HEAD")
    return name + ("+" if _git("status", "--porcelain", "--", "relrep_cli") else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(CHECKOUT), *words], capture_output=True, text=True, check=True).stdout.strip()


def saved(name: str) -> dict[str, Record]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def page_of(name: str) -> Path:
    return PAGES / f"{name.replace('_', '-')}.md"


def page(lab: Lab, tables: Tables) -> str:
    """The page with the tables between its markers; a table whose cells are not all measured stays as it is."""

    def renewed(match: re.Match[str]) -> str:
        try:
            return f"{match[1]}{tables[match[2]](lab)}\n{match[3]}"
        except MissingCell:
            lab.used = []
            return match[0]

    return MARKED.sub(renewed, page_of(lab.name).read_text("utf-8"))


def age(name: str, rooms: Sequence[str]) -> list[str]:
    """A line for each commit that the page names: how many later commits touched the rooms that the experiment depends on."""
    folders = [f"relrep_cli/{room}" for room in rooms]
    result = [line for line in page_of(name).read_text("utf-8").splitlines() if line.startswith("Measured at commit")]
    commits = sorted({one for line in result for one in re.findall(r"`([0-9a-f]{7})\+?`", line)})
    return [f"{name}: {one}: {_git('rev-list', '--count', f'{one}..HEAD', '--', *folders)} later changes" for one in commits]


def main(name: str, tables: Tables, rooms: Sequence[str]) -> None:
    """Run an experiment script, see the top of this file."""
    parser = argparse.ArgumentParser(prog=f"{name}.py")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--only", default="", help="tables to measure, with commas")
    for flag in ("--page", "--age", "--quick"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    if given.age:
        print("\n".join(age(name, rooms)))
    elif given.quick:
        with tempfile.TemporaryDirectory() as folder:
            print("\n\n".join(quick(name, tables, Path(folder)).values()))
    else:
        given.work.mkdir(parents=True, exist_ok=True)
        lab = Lab(name, given.data.resolve(), given.work.resolve(), measuring=True, cells=saved(name))
        for one in [] if given.page else given.only.split(",") if given.only else tables:
            tables[one](lab)
        page_of(name).write_text(page(Lab(name, cells=saved(name)), tables), "utf-8")


def quick(name: str, tables: Tables, folder: Path) -> dict[str, str]:
    """The tables of tiny data: the script's smoke test."""
    from tiny import write_tiny_data

    write_tiny_data(folder)
    lab = Lab(name, folder, folder, measuring=True, quick=True)
    return {one: table(lab) for one, table in tables.items()}
