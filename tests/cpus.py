"""Run the tests of numbers as processors of other kinds would: `python tests/cpus.py [KIND...]`, or `make test-cpus`.

Each kind chooses the kernels of OpenBLAS, NumPy, torch, numba and faiss by their environment variables, and a number of
threads. A kind whose instructions this processor lacks is skipped, which is said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
QUICK = ["blocks", "kernels", "machines", "neighbors", "precision", "midranks", "similarities", "threads", "translators"]
MORE = ["heads", "inference", "metrics", "permutations", "sharing"]  # with QUICK, for the most common kind
KINDS: dict[str, dict[str, str]] = {
    "skylake-x": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "RELREP_THREADS": "2",
        "needs": "avx512f",
    },
    "haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "NUMBA_CPU_NAME": "haswell",
        "FAISS_OPT_LEVEL": "avx2",
        "RELREP_THREADS": "1",
        "needs": "avx2",
        "tests": "more",
        "numpy without": "X86_V4 AVX512",
    },
    "sandybridge": {
        "OPENBLAS_CORETYPE": "Sandybridge",
        "ATEN_CPU_CAPABILITY": "default",
        "NUMBA_CPU_NAME": "sandybridge",
        "FAISS_OPT_LEVEL": "generic",
        "RELREP_THREADS": "2",
        "needs": "avx",
        "numpy without": "X86_V AVX2 AVX512 FMA",
    },
    "prescott": {
        "OPENBLAS_CORETYPE": "Prescott",
        "ATEN_CPU_CAPABILITY": "default",
        "NUMBA_CPU_NAME": "generic",
        "FAISS_OPT_LEVEL": "generic",
        "RELREP_THREADS": "1",
        "needs": "sse3 pni",
        "numpy without": "X86_V AVX FMA SSE4",
    },
}


def missing(needs: str) -> str:
    """Why this processor cannot run a kind, or nothing. needs: names of one instruction set, one of which is enough."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return "not an x86-64 processor under Linux"
    return "" if set(needs.split()) & set(flags) else f"this processor has no {needs.split()[0]}"


def own_kernel() -> str:
    """The kernels that NumPy's OpenBLAS chooses on this processor."""
    import numpy  # noqa: F401  (which loads it)
    from threadpoolctl import threadpool_info

    return next((str(library["architecture"]) for library in threadpool_info() if "architecture" in library), "")


def numpy_features(unwanted: str) -> str:
    """The optional instruction sets of this NumPy whose names begin with one of the unwanted ones."""
    from numpy._core._multiarray_umath import __cpu_dispatch__ as known  # type: ignore[attr-defined]

    return " ".join(name for name in known if name.startswith(tuple(unwanted.split()))) if unwanted else ""


def environment(kind: str) -> dict[str, str]:
    wanted = {name: value for name, value in KINDS[kind].items() if name not in ("needs", "tests")}
    without = numpy_features(wanted.pop("numpy without", ""))
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": wanted["RELREP_THREADS"]}
    return {**os.environ, **threads, **wanted, **({"NPY_DISABLE_CPU_FEATURES": without} if without else {})}


def run(kind: str, more: list[str]) -> int:
    """The exit code of pytest under one kind of processor."""
    why = missing(KINDS[kind]["needs"])
    if KINDS[kind]["OPENBLAS_CORETYPE"] == own_kernel():
        why = "it is the kind of this processor, which `make test` has tried"
    if why:
        print(f"cpus: {kind}: skipped: {why}", flush=True)
        return 0
    started = time.monotonic()
    names = [*QUICK, *(MORE if "tests" in KINDS[kind] else [])]
    tests = [str(next((CHECKOUT / "tests").glob(f"*/test_{name}.py"))) for name in names]
    command = [sys.executable, "-m", "pytest", "-n", "auto", "--dist", "worksteal", *tests, *more]
    code = subprocess.run(command, env=environment(kind), check=False).returncode
    print(f"cpus: {kind}: {'passed' if code == 0 else f'failed ({code})'} in {time.monotonic() - started:.0f} s", flush=True)
    return code


def main(arguments: list[str]) -> int:
    kinds = [a for a in arguments if not a.startswith("-")] or list(KINDS)
    return max(run(kind, [a for a in arguments if a.startswith("-")]) for kind in kinds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
