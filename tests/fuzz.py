"""Damage good files at random and see that the reader refuses or reads, whatever it gets: `python fuzz.py COUNT [SEED [KIND]]`.

A mutant is one of a few small files with 1 to 8 fields changed: bytes flipped, numbers replaced by awkward ones, pieces
copied, lost or cut off. It must end in a Found or in a DataError of one line, within LIMIT seconds, without a crash.
KIND is one of fuzz_kinds.py or fuzz_formats.py, "all" for each of them, else HDF5. Those with a structure of their own (JSON in
safetensors, the members of a zip, the cells of a table) are damaged there, too, and packed again. A warning of a
library is a fault.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import relrep_cli.store.survey  # noqa: F401  once here, not once in every forked child
from relrep_cli.base.errors import RelrepError
from relrep_cli.store.hdf5 import list_hdf5, read_hdf5

LIMIT = 20.0  # seconds of wall time, on a machine with other work; libhdf5 gets 0.8 s of CPU
BATCH = 50
UNPACKABLE = (ValueError, TypeError, AttributeError, LookupError, OSError, EOFError, struct.error)
UNPACKABLE += (zipfile.BadZipFile, zlib.error, tarfile.TarError)
AWKWARD = [0, 1, 2, 3, 7, 255, 4095, *(2**n - lost for n in (3, 4, 8, 16, 31, 32, 40, 63, 64) for lost in (0, 1, 8))]


@cache
def originals() -> list[bytes]:
    """The good files: both superblocks, every filter, text of fixed and variable length, relrep's own layout."""
    from corpus.base import collection, plain, vlen
    from corpus.honest import PACKED

    makers: list[Callable[[Path], None]] = [
        plain,
        vlen,
        partial(vlen, **PACKED),
        partial(plain, libver="latest"),
        partial(plain, **PACKED, libver="latest"),
        collection,
        partial(collection, libver=None),
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.h5") for i in range(len(makers))]
        for make, path in zip(makers, paths, strict=True):
            make(path)
        return [path.read_bytes() for path in paths]


def mutant(seed: int) -> bytes:
    """The damaged file of a seed; the same for ever."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(originals()))
    for _ in range(rng.randint(1, 8)):
        damage(data, rng)
    return bytes(data)


def damage(data: bytearray, rng: random.Random) -> None:
    """One mutation, in place."""
    at = rng.randrange(max(1, len(data) - 8))
    kind = rng.random()
    if kind < 0.3:
        data[at] ^= 1 << rng.randrange(8)
    elif kind < 0.45:
        data[at] = rng.randrange(256)
    elif kind < 0.9:
        form = rng.choice("BHIQ")
        number = rng.choice([*AWKWARD, len(data), rng.randrange(len(data) + 1), rng.randrange(len(data) + 1) & ~7])
        place = at & ~7 if rng.random() < 0.7 else at  # most fields are aligned
        struct.pack_into(f"<{form}", data, place, number % (1 << 8 * struct.calcsize(form)))
    elif kind < 0.97:
        source, length = rng.randrange(len(data)), rng.choice([4, 8, 16, 64])
        data[at : at + length] = data[source : source + length].ljust(len(data[at : at + length]), b"\0")
    else:
        del data[max(at, 16) :]


def mutant_of(name: str, seed: int) -> bytes:
    """The damaged file of a kind and a seed."""
    rng = random.Random(f"{name} {seed}")
    kind, good = goods(name)
    data = rng.choice(good)
    inner = kind.inner if rng.random() < 0.7 else None
    for _ in range(rng.randint(1, 3) if inner else rng.randint(1, 8)):
        if inner is not None:
            with suppress(*UNPACKABLE):  # the damage before has left no structure
                data = inner(data, rng, damage)
        elif data:
            changed = bytearray(data)
            damage(changed, rng)
            data = bytes(changed)
    return data


@cache
def goods(name: str) -> tuple[Any, list[bytes]]:
    every = all_kinds()
    return every[name], list(every[name].good())


@cache
def all_kinds() -> dict[str, Any]:
    """Every kind but plain HDF5, by name."""
    from fuzz_formats import more_kinds
    from fuzz_kinds import kinds

    return {**kinds(), **more_kinds()}


def batch_of(name: str, seeds: range) -> list[tuple[int, str, float]]:
    """(seed, verdict, seconds) of some mutants of a kind. Raises nothing: a fault is a verdict."""
    kind, verdicts = goods(name)[0], []
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", DeprecationWarning)
                path = Path(folder, kind.name)
                path.write_bytes(mutant_of(name, seed))
                start = time.monotonic()
                verdicts.append((seed, judge(path, kind.use, named=False), time.monotonic() - start))
    finally:
        signal.signal(signal.SIGALRM, before)
    return verdicts


def read(path: Path) -> None:
    x = read_hdf5(path, None).x
    assert x.ndim == 2 and isinstance(float(x[-1, -1]), float)


def stop(number: int, frame: Any) -> None:
    raise TimeoutError


def judge(path: Path, use: Callable[[Path], Any], named: bool = True) -> str:
    """Whether the file was read or refused, or what went wrong. named: whether a refusal names the file."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        use(path)
        return "read"
    except RelrepError as error:
        sound = str(error).isprintable() and (str(path) in str(error) or not named)
        return "refused" if sound else f"message: {error!r}"
    except TimeoutError:
        return "hang"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def batch(seeds: range) -> list[tuple[int, str, float]]:
    """(seed, verdict, seconds) of some mutants."""
    signal.signal(signal.SIGALRM, stop)
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant.h5")
        for seed in seeds:
            path.write_bytes(mutant(seed))
            start = time.monotonic()
            verdicts.append((seed, judge(path, list_hdf5 if seed % 8 == 0 else read), time.monotonic() - start))
    return verdicts


def run(
    count: int, first: int = 0, workers: int = 0, kind: str = ""
) -> tuple[Counter[str], list[tuple[int, str, float]], float]:
    """Verdicts of `count` mutants by kind, those that are neither read nor refused, and the longest time of one."""
    seeds = [range(at, min(at + BATCH, first + count)) for at in range(first, first + count, BATCH)]
    with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn")) as pool:  # a crash breaks the pool, loudly
        verdicts = [verdict for some in pool.map(partial(batch_of, kind) if kind else batch, seeds) for verdict in some]
    wrong = [verdict for verdict in verdicts if verdict[1] not in ("read", "refused")]
    return Counter(verdict[1][:40] for verdict in verdicts), wrong, max(verdict[2] for verdict in verdicts)


def main(count: int, first: int = 0, kind: str = "") -> int:
    if kind == "all":
        return max(main(count, first, name) for name in all_kinds())
    start = time.monotonic()
    kinds, wrong, longest = run(count, first, kind=kind)
    print(f"{kind or 'hdf5'}: {count} mutants in {time.monotonic() - start:.0f} s; longest {longest:.1f} s; {dict(kinds)}")
    for seed, verdict, seconds in wrong[:50]:
        print(f"seed {seed}: {verdict} after {seconds:.1f} s")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, *sys.argv[3:4]))
