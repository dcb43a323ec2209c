"""Which processor a table was measured on, and how to measure as a processor with AVX2 only would."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "faiss-cpu", "numba", "scikit-learn", "torch", "typer")


def environment(kind: str) -> dict[str, str]:
    """What makes the libraries of a process choose the kernels of AVX2, for kind "avx2"; nothing for "own"."""
    if kind == "own":
        return {}
    from numpy._core._multiarray_umath import __cpu_dispatch__ as known  # type: ignore[attr-defined]

    return {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "NUMBA_CPU_NAME": "haswell",
        "FAISS_OPT_LEVEL": "avx2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in known if name.startswith(("X86_V4", "AVX512"))),
    }


def machine(kind: str) -> dict[str, object]:
    """What a reader must know to compare figures."""
    how = "its own kernels" if kind == "own" else "kernels of AVX2 (Haswell), chosen by environment variables"
    return {
        "processor": _processor(),
        "kernels": how,
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in named.items()}
    flags = fields.get("flags", "").split()
    widest = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    family = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name', platform.machine())} ({family}; {widest})"


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "absent"
