"""Damage good files at random; the reader must refuse or read, whatever it gets: `python fuzz.py COUNT [SEED [KIND …]]`.

A mutant is one of a few small files with 1 to 8 fields changed: bytes flipped, numbers replaced by awkward ones, pieces
copied, lost or cut off. It must be read, or be refused in one line, in time and without a crash or a library's warning.
KIND is hdf5, one of fuzz_kinds.py or fuzz_formats.py, or "all". Those with a structure of their own (JSON in
safetensors, the members of a zip, the cells of a table) are damaged there, too, and packed again.
"""

from __future__ import annotations

import random
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzz_sandbox import SOUND, Verdict, verdicts

import relrep_cli.store.survey  # noqa: F401  once here, not once in every forked child
from relrep_cli.base.errors import RelrepError
from relrep_cli.store.apart import import_alone
from relrep_cli.store.hdf5 import list_hdf5, read_hdf5

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
    if name == "hdf5":
        return mutant(seed)
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
    """Every kind, by name."""
    from fuzz_formats import more_kinds
    from fuzz_kinds import Kind, kinds
    from fuzz_made import made_kinds

    return {"hdf5": Kind("mutant.h5", originals, read), **kinds(), **more_kinds(), **made_kinds()}


def read(path: Path) -> None:
    with suppress(RelrepError):
        list_hdf5(path)
    x = read_hdf5(path, None).x
    assert x.ndim == 2 and isinstance(float(x[-1, -1]), float)


def judged(name: str, seeds: Sequence[int], guarded: bool = False) -> Iterator[Verdict]:
    """A verdict for each mutant of a kind, as `verdicts` in fuzz_sandbox.py gives it."""
    return verdicts(all_kinds()[name], partial(mutant_of, name), seeds, guarded)


def main(count: int, first: int = 0, *names: str) -> int:
    """Print what became of `count` mutants of each kind, those with faults, and the dearest refusals. Returns the exit code."""
    faults = 0
    for name in all_kinds() if names == ("all",) else names or ("hdf5",):
        if library := all_kinds()[name].slow_import:  # once here, not in every sandbox; its own threads begin with its use
            import_alone()
            import_module(library)
        verdicts = list(judged(name, range(first, first + count)))
        kinds = Counter(verdict.outcome[:40] for verdict in verdicts)
        refused = [verdict for verdict in verdicts if verdict.outcome == "refused"] or verdicts[:1]
        slow, large = max(refused, key=lambda v: v.cpu), max(refused, key=lambda v: v.memory)
        dear = f"refusals: {slow.cpu:.2f} CPU s (seed {slow.seed}), {large.memory:.0f} MiB (seed {large.seed})"
        print(f"{name}: {dict(kinds)}; {sum(v.cpu for v in verdicts):.0f} CPU s; {dear}", flush=True)
        for verdict in [verdict for verdict in verdicts if verdict.outcome not in SOUND][:50]:
            print(f"  seed {verdict.seed}: {verdict.outcome} after {verdict.wall:.1f} s", flush=True)
            faults += 1
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, *sys.argv[3:]))
