"""What a command imports, and who in the source may import, load or run what: heavy and dangerous things have one door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import CHECKOUT, Workdir

from relrep_cli.numerics import native

LIBHDF5 = "relrep_cli.store.libhdf5"
PACKAGE = CHECKOUT / "relrep_cli"
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "numpy",
    "h5py",
    "torch",
    "faiss",
    "numba",
    "rich",
    "pyarrow",
    "anndata",
    "pandas",
    "matplotlib",
    "plotly",
    "umap",
    "sklearn",
    "dask",
}
DOORS = {  # who may import what; a folder stands for its files
    "h5py": ("store/libhdf5.py",),
    "faiss": ("neighbors", "store/faiss_files.py"),
    "numba": ("numerics/compiling.py", "numerics/compiled_distances.py", "neighbors/scans.py"),
    "rich": ("base/output.py", "base/text_tables.py"),
    "pyarrow": ("store",),
    "matplotlib": ("plots",),
    "plotly": ("plots",),
    "umap": ("plots/reductions.py",),
    "dask": ("engine/dask_cluster.py", "engine/dask_worker.py", "engine/queue_cluster.py"),
    "distributed": ("engine/dask_cluster.py", "engine/dask_worker.py", "engine/queue_cluster.py"),
    "anndata": (),
    "pandas": ("library/result_tables.py",),
    "typer": ("cli",),
    "torch": ("encoders", "heads", "relative", "numerics/devices.py", "numerics/pair_products.py", "neighbors/torch_tiles.py"),
    "zarr": ("store/zarr_folders.py",),
    "lance": ("store/lance_folders.py",),
    "sqlite3": ("store/sqlite_tables.py",),
    "click": (),  # typer carries its own
    "requests": (),
    "urllib": (),
}
FORBIDDEN = {"eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "marshal.loads", "os.system", "os.popen"}


def imported(work: Workdir, command: str) -> set[str]:
    """The top-level modules that a run of the command imports, in the process itself."""
    stderr = work.run(f"python -X importtime -m relrep_cli {command}").stderr
    return {
        line.rpartition("|")[2].strip().partition(".")[0] for line in stderr.splitlines() if line.startswith("import time:")
    }


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Each source file, parsed once."""
    return tuple((path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES)


@cache
def nodes_of(tree: ast.AST) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The top-level modules that a piece of source imports, with the line."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


@cache
def at_load(tree: ast.Module) -> tuple[ast.stmt, ...]:
    """The statements that run while a module loads: all but those in functions, and those for type checkers only."""
    todo: list[ast.stmt] = list(tree.body)
    actual = []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            continue
        actual.append(node)
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return tuple(actual)


# --- what runs import ---


@pytest.mark.parametrize("command", ["--help", "", "gone"])
def test_help_imports_nothing_heavy(empty: Workdir, command: str) -> None:
    done = empty.run(f"python -X importtime -m relrep_cli {command}", (0, 2))
    actual = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "typer" in actual and not actual & HEAVY


@pytest.mark.parametrize(
    ("typed", "words"), [("co", "compare"), ("compare a.h5 -m cka,rs", "cka,rsm-norm cka,rsa"), ("merge --safe", "--safe-csv")]
)
def test_completion_imports_nothing_heavy(typed: str, words: str, empty: Workdir) -> None:
    typed = f"relrep {typed}"
    variables = {"_RELREP_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = empty.run("python -X importtime -m relrep_cli", **variables)
    assert done.stdout.split() == words.split()
    assert not {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line} & HEAVY


SEARCH = {"numpy"} if native.available() else {"numpy", "faiss"}  # kernels in C need neither faiss nor numba
L1 = {"numpy"} if native.available() else {"numpy", "numba"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, needed",
    [
        ("compare a.h5 b.h5 -a anchors.h5 -q", SEARCH),
        ("compare a.npz b.h5 -m cka -q", {"numpy"}),
        ("project a.h5 -a anchors.h5 -o x.h5 -q", {"numpy", "h5py"}),
        ("anchor a.h5 -n 5 --strategy per-class -o x.h5 -q", {"numpy", "h5py"}),
        ("embed a.npz -o x.h5 -q", {"numpy", "h5py"}),
        ("stitch a.h5 b.h5 -a anchors.h5 --head linear -q", {"numpy"}),
        ("stitch a.h5 b.h5 -a anchors.h5 -m relative -s l1 --head linear -q", L1),
        ("translate a.h5 --into b.h5 -o x.h5 -q", SEARCH | {"h5py"}),
        ("evaluate a.h5 --task knn -q", SEARCH),
        ("neighbors a.h5 --sample 2", SEARCH),
        ("info a.h5 --verify", {"numpy"}),
        ("--version", {"h5py"}),
    ],
)
def test_commands_import_what_they_need(work: Workdir, command: str, needed: set[str]) -> None:
    """torch costs 2 s and 200 MB; none of these has a use for it. Nor do they draw tables into a pipe."""
    actual = imported(work, command)
    assert needed <= actual
    assert not actual & (HEAVY - needed - {"numpy", "h5py"})


@pytest.mark.slow
def test_permutations_do_without_the_statistics_of_scipy(work: Workdir) -> None:
    """scipy.stats takes over a second of CPU."""
    command = "python -X importtime -m relrep_cli compare a.npz b.h5 -m cka -q --permutations 20"
    assert "scipy.stats" not in work.run(command).stderr


# --- who may import what ---


@pytest.mark.parametrize("module", DOORS)
def test_doors(module: str) -> None:
    doors = DOORS[module]
    actual = [f"{name}:{line}" for name, tree in trees() for heavy, line in imports(tree) if heavy == module]
    assert not [place for place in actual if not place.startswith(doors or ("none",))]


def test_strategies_of_anchors_register_in_one_order() -> None:
    registering = {f"relrep_cli.anchors.{name}" for name in ("elementary", "geometric", "paired")}
    loads = [(name, node) for name, tree in trees() for node in at_load(tree) if isinstance(node, ast.ImportFrom)]
    users = {name for name, node in loads if node.module in registering}
    assert users == {"anchors/strategies.py"}


def test_who_talks_to_libhdf5() -> None:
    """Its door is passed by the writer, within functions, and by what runs in the guarded child."""
    users = {
        name for name, tree in trees() for node in nodes_of(tree) if isinstance(node, ast.ImportFrom) and node.module == LIBHDF5
    }
    always = {f"store/{name}.py" for name in ("dataframes", "guards", "hdf5_attributes", "hdf5_siblings", "survey")}
    assert users == always | {"store/archive.py", "store/h5ad_copies.py", "store/matlab_texts.py", "store/proteins.py"}
    loads = {
        name for name, tree in trees() for node in at_load(tree) if isinstance(node, ast.ImportFrom) and node.module == LIBHDF5
    }
    assert loads == always


@pytest.mark.parametrize(
    "module", ["torch", "pyarrow", "rich", "faiss", "safetensors", "anndata", "matplotlib", "plotly", "umap", "sklearn"]
)
def test_heavy_modules_are_imported_in_functions_only(module: str) -> None:
    nodes = ((name, node) for name, tree in trees() for node in at_load(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    actual = [f"{name}:{line}" for name, node in nodes for heavy, line in imports(node) if heavy == module]
    classes_of_sklearn = "library/estimators.py"  # which `import relrep_cli` loads when it is asked for one of them
    assert not [place for place in actual if not (module == "sklearn" and place.startswith(classes_of_sklearn))]


def test_only_output_prints() -> None:
    calls = [(name, node) for name, tree in trees() for node in nodes_of(tree) if isinstance(node, ast.Call)]
    prints = [
        f"{name}:{node.lineno}"
        for name, node in calls
        if ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert not [place for place in prints if not place.startswith(("base/output.py", "cli/reference.py"))]


# --- the floors of the house ---

FLOORS = (  # from the ground up: a room imports lower floors and its own, never a higher one
    {"base"},
    {"numerics"},
    {"embedding", "engine"},
    {"neighbors", "splits"},
    {"store", "metrics"},
    {"sources", "anchors", "comparison"},
    {"encoders", "relative", "plots"},
    {"heads", "reports"},
    {"evaluations", "stitching"},
    {"library"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def arrows() -> Iterator[tuple[str, str, str]]:
    """Each import between two rooms: the importing room, the imported room, and the place of the import."""
    for name, tree in trees():
        room = name.removesuffix(".py").partition("/")[0]
        for node in nodes_of(tree) if room != "__init__" else ():  # which imports the library on first use
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "relrep_cli":
                modules = [node.module] if node.module != "relrep_cli" else [f"relrep_cli.{a.name}" for a in node.names]
                for module in modules:
                    target = str(module).split(".")[1]
                    if target not in (room, "__version__"):
                        yield room, target, f"{name}:{node.lineno}"


def test_no_room_imports_a_higher_floor_or_a_neighbour_on_its_own() -> None:
    actual = list(arrows())
    assert not [place for room, target, place in actual if FLOOR[target] >= FLOOR[room]]
    assert len({(room, target) for room, target, _ in actual}) > 60, "the test sees the imports"


def test_no_name_is_in_two_rooms() -> None:
    names = [name.rpartition("/")[2] for name, _ in trees() if not name.endswith("__init__.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


def test_files_and_functions_are_short() -> None:
    """At most 300 lines in a file and 60 in a function."""
    long_files = [str(path.relative_to(PACKAGE)) for path in SOURCES if path.read_text("utf-8").count("\n") > 300]
    functions = [(name, node) for name, tree in trees() for node in nodes_of(tree) if isinstance(node, ast.FunctionDef)]
    long_functions = [f"{name}:{f.name}" for name, f in functions if (f.end_lineno or 0) - f.lineno >= 60]
    assert not long_files + long_functions


def test_every_file_lives_in_a_room() -> None:
    rooms = {name.removesuffix(".py").partition("/")[0] for name, _ in trees()} - {"__init__"}
    assert rooms == set(FLOOR)


# --- what nobody may do ---


def test_nothing_runs_what_a_file_says() -> None:
    """No pickle, no eval, no shell, no NumPy objects: a file is never a program."""
    actual = []
    for name, tree in trees():
        actual += [
            f"{name}:{line} imports {m}"
            for m, line in imports(tree)
            if m in ("pickle", "marshal", "shelve", "dill", "joblib", "yaml")
        ]
        for node in nodes_of(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            forbidden = called in FORBIDDEN or called.endswith((".read_pickle", "torch.load", "np.load", "numpy.load"))
            if forbidden:
                actual.append(f"{name}:{node.lineno} calls {called}")
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    actual.append(f"{name}:{node.lineno} says {keyword.arg}={ast.unparse(keyword.value)}")
                if keyword.arg == "weights_only" and ast.unparse(keyword.value) != "True":
                    actual.append(f"{name}:{node.lineno} says weights_only={ast.unparse(keyword.value)}")
    assert not actual


def test_the_checks_can_fail() -> None:
    """What the checks look for is found where it is."""
    tree = ast.parse("import h5py\ndef f():\n    import torch.nn\nif TYPE_CHECKING:\n    import faiss\n")
    assert list(imports(tree)) == [("h5py", 1), ("torch", 3), ("faiss", 5)]
    assert [ast.unparse(node) for node in at_load(tree)] == ["import h5py"]
    assert len(SOURCES) > 30


def test_no_name_of_this_place(made: Path) -> None:
    """Sources name no host, user or folder of a developer."""
    pattern = re.compile(r"/(home|Users|root|work|mnt|scratch)/\w")
    actual = [
        f"{p.name}:{n}" for p in SOURCES for n, line in enumerate(p.read_text("utf-8").splitlines(), 1) if pattern.search(line)
    ]
    assert not [place for place in actual if not place.startswith("embedding.py")]  # an example of what is cut off
