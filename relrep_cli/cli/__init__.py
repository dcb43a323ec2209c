"""The command line: a table of commands that are imported when they are run, and the one place where errors become exits."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import sys
import threading
from contextlib import redirect_stdout, suppress
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from relrep_cli import __version__
from relrep_cli.base import errors, signals, task_cache
from relrep_cli.base.machine_limits import cpu_limit
from relrep_cli.base.output import complain, emit, notes_on_stderr, warnings_as_details
from relrep_cli.base.registry import load_plugins
from relrep_cli.base.streams import silence_stdout, stand_in
from relrep_cli.cli.completions import help_asked, joined_words, script_asked, without_help, without_prefix
from relrep_cli.cli.help_pages import Pages, in_plain_words
from relrep_cli.cli.screens import SCREENS

COMMANDS = {
    "embed": "Turn items into vectors with an encoder, or import vectors that exist.",
    "anchor": "Choose reference items.",
    "project": "Describe items by their similarities to the anchors.",
    "compare": "Measure how alike two or more spaces are.",
    "stitch": "Run a head trained on one space on another, without retraining.",
    "translate": "Turn vectors of one space into vectors of another.",
    "evaluate": "Find out what one space is good for.",
    "neighbors": "Print or draw the nearest or farthest items of a few.",
    "plot": "Draw one space, or several beside each other.",
    "merge": "Make one result of the parts of a job array.",
    "info": "Say what a file holds, where it came from and whether it is sound.",
    "cache": "List, check or prune a folder of finished results.",
}
EPILOG = """\b
Exit codes: 0 done; 1 the answer is no; 2 usage; 3 bad data; 70 a bug of relrep;
74 could not write (a retry can help); 129, 130, 141, 143 ended by HUP, INT, a closed pipe, TERM.
Every option can be set by an environment variable that names its command: RELREP_COMPARE_METRIC=cka is
--metric cka of compare. Options that mean the same in all commands also have a short name: RELREP_THREADS, RELREP_QUIET,
RELREP_VERBOSE, RELREP_DEBUG, RELREP_SEED, RELREP_FORMAT, RELREP_JSON, RELREP_FORCE, RELREP_DRY_RUN,
RELREP_DEVICE, RELREP_DTYPE."""
THREAD_VARIABLES = ("RELREP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
BLAS_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # a product's bits depend on its threads
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EBADF}  # EBADF: stdout was closed at the start

UsageProblem: Any = typer.BadParameter.__mro__[1]  # typer carries its own click since 0.26, so neither can be imported by name


class Commands(TyperGroup):
    """The group that imports a command's module when the command is asked for, not before."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if os.environ.get("_RELREP_COMPLETE"):
            from relrep_cli.cli import completion_words

            return completion_words.command(cmd_name) or load(cmd_name)
        return load(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS:
            if later := next((word for word in args[1:] if word in COMMANDS), ""):
                raise errors.UsageError(
                    f"{errors.printable(args[0])} is no command", f"Write the command first: relrep {later}."
                )
            raise errors.unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        known = {name: help for name, help in COMMANDS.items() if name.startswith(incomplete)}
        item: Any = import_module(TyperGroup.__mro__[1].__module__.rpartition(".")[0] + ".shell_completion").CompletionItem
        return [item(name, help=help) for name, help in known.items()]


app = typer.Typer(
    name="relrep",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
    epilog=EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        emit(versions() + "\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the versions of relrep and its libraries.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Make saved embeddings comparable and interchangeable."""
    if context.invoked_subcommand is None:
        emit(context.get_help() + "\n")


def load(name: str) -> Any:
    """The command `name` as typer builds it, from the function of that name in its module."""
    load_plugins()  # before the command's module, which turns what is registered into options
    module = import_module(f"relrep_cli.cli.{name}")
    single = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["--help"], "max_content_width": 100, "token_normalize_func": _american}
    examples = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES)
    function = getattr(module, name)
    single.command(name, cls=Pages, epilog=examples, context_settings=settings)(function)
    command: Any = typer.main.get_command(single)
    command.name, command.common, command.title = name, SCREENS[name], module.TITLE
    command.registries, command.panels = function.registries, function.panels
    gc.freeze()
    gc.enable()
    return command


def _american(word: str) -> str:
    """The spelling of option names; the British one, as in --neighbours, and capitals are understood, too."""
    return (word.lower() if len(word) > 1 else word).replace("neighbour", "neighbor")


def _variable(arguments: list[str], option: str) -> str:
    """What the environment sets an option of all commands to, "" for nothing."""
    own = [f"RELREP_{name}_{option}".upper() for name in arguments[:1] if name in COMMANDS]
    return next((os.environ[name] for name in (*own, f"RELREP_{option}".upper()) if os.environ.get(name)), "")


def versions() -> str:
    """One line with the versions that results depend on; torch is looked up, not imported."""
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"relrep {__version__}", f"Python {sys.version.split()[0]}"]
    for package in ("h5py", "numpy", "scipy", "numba", "faiss-cpu", "torch"):
        with suppress(PackageNotFoundError):
            lines.append(f"{package} {version(package)}")
        if package == "h5py":
            with suppress(ImportError):
                lines.append(f"HDF5 {import_module('relrep_cli.store.libhdf5').h5py.version.hdf5_version}")
    native = import_module("relrep_cli.numerics.native")
    lines.append("kernels in C" if native.available() else "no kernels in C")
    return ", ".join(lines)


def limit_threads(arguments: list[str]) -> None:
    """Bind the numerical libraries to --threads, else SLURM_CPUS_PER_TASK, else all CPUs that this process may use.

    BLAS keeps to one thread: relrep spreads fixed pieces of work over threads itself, so that results do not depend on their
    number. The libraries read these variables while they load, so this comes before any import of theirs.
    """
    wanted = _variable(arguments, "threads") or os.environ.get("SLURM_CPUS_PER_TASK") or ""
    for place, word in enumerate(arguments):
        if word in ("-@", "--threads") and place + 1 < len(arguments):
            wanted = arguments[place + 1]
        elif word.startswith("--threads="):
            wanted = word.partition("=")[2]
    if not (wanted.isdigit() and int(wanted) > 0):
        wanted = str(cpu_limit())
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, wanted) | dict.fromkeys(BLAS_VARIABLES, "1"))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin while they wait take a busy machine from others


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error has become one line on stderr."""
    name = " ".join(["relrep", *(a for a in arguments[:1] if a in COMMANDS)])
    with notes_on_stderr(name), warnings_as_details():
        return _exit_code(arguments)


def _exit_code(arguments: list[str]) -> int:
    debug = "--debug" in arguments or _variable(arguments, "debug") not in ("", "0")
    try:
        signals.check()
        if (script := script_asked(arguments)) is not None:
            emit(script)
            return errors.DONE
        words = help_asked(arguments[1:], COMMANDS, load) if arguments[:1] == ["help"] else arguments
        outcome = app(words, prog_name="relrep", standalone_mode=False)
        emit("")
        signals.check()
        return outcome if isinstance(outcome, int) else errors.DONE
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as end:  # typer ends so after completion, and turns a closed pipe into 1
        return _closed_pipe() if isinstance(end.__context__, BrokenPipeError) else int(end.code or 0)
    except signals.Interrupted as ended:
        for folder in task_cache.unfinished():
            complain(f"stopped. The same command goes on from what is kept in {folder}.")
        return ended.code
    except errors.RelrepError as error:
        return _failed(str(error), error.code, debug)
    except ModuleNotFoundError as error:
        return _failed(*_of_missing_module(error), debug)
    except UsageProblem as problem:
        name = getattr(getattr(problem, "ctx", None), "command_path", "relrep")
        sentence = in_plain_words(problem.format_message()).rstrip(".")
        return _failed(f"{sentence}{'' if sentence.endswith('?') else '.'} See {name} --help.", errors.USAGE, debug)
    except (KeyboardInterrupt, EOFError):
        return errors.INTERRUPTED
    except MemoryError:
        return _failed("not enough memory for this job.", errors.DATA, debug)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in errors.NO_DESCRIPTORS:
            what = "too few file descriptors: this shell does not let a process open more files"
            return _failed(f"{what}. Raise the limit with ulimit -n, then try again.", errors.WRITE, debug)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            silence_stdout()
            return _failed(f"{error.filename or 'standard output'}: could not write: {error.strerror}.", errors.WRITE, debug)
        text = f"internal error: {type(error).__name__}: {error}".replace("\n", " ")
        return _failed(f"{text}. Run it again with --debug and report what it prints.", errors.BUG, debug)


def _of_missing_module(error: ModuleNotFoundError) -> tuple[str, int]:
    """The line and the exit code for a library that is not installed."""
    known = errors.not_installed(error)
    return (str(known), known.code) if known else (f"internal error: {error}. Install relrep again.", errors.BUG)


def _closed_pipe() -> int:
    silence_stdout()
    return errors.CLOSED_PIPE


def _failed(message: str, code: int, debug: bool) -> int:
    if signals.ended():  # a signal that went to the whole group ended the child that read a file, too
        return signals.ended()
    if debug:
        import traceback

        with suppress(OSError, ValueError):
            sys.stderr.writelines(f"{errors.printable(line, 4096)}\n" for line in traceback.format_exc().splitlines())
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    complain(message)
    return code


def main() -> None:
    """Run the command line of this process, and end it."""
    arguments = sys.argv[1:]
    stand_in()
    limit_threads(arguments)
    without_help(os.environ)
    if prefix := joined_words(os.environ):
        lines = io.StringIO()
        with redirect_stdout(lines):
            run(arguments)
        emit(without_prefix(lines.getvalue(), prefix))
        sys.exit(errors.DONE)
    _end(run(arguments))


def _is_watched() -> bool:
    """Whether a profiler or a debugger goes on after the command."""
    monitoring = getattr(sys, "monitoring", None)  # of Python 3.12 and newer
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring else []
    return bool(sys.getprofile() or sys.gettrace() or any(tools))


def _end(code: int) -> NoReturn:
    """End this process as Python does, but do not take its modules apart: that is 0.02 s of CPU time."""
    if code == errors.WRITE:
        os._exit(code)  # libhdf5 may end in SIGSEGV at exit after a failed write
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)
    if _is_watched():
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    os._exit(code)
