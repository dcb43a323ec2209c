"""What every encoder shares: the registry, what training gives, which rows it may see, and the device it runs on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics import devices

if TYPE_CHECKING:
    import torch

    from relrep_cli.sources.items import Items

Progress = Callable[[int, int, str], None]  # done, total, message; called after every batch


@dataclass(frozen=True)
class Checkpoint:
    """What a training leaves after every epoch.

    `load` gives the last state back, None when there is none; `save` keeps a new one; `tell` is called with the epoch's record.
    """

    load: Callable[[], bytes | None] = lambda: None
    save: Callable[[bytes], None] = lambda state: None
    tell: Callable[[dict[str, float]], None] = lambda record: None


FORGETFUL = Checkpoint()
Dim = Annotated[int, Param("Width of the vectors.", minimum=1, maximum=65536)]
Dropout = Annotated[float, Param("Dropout rate in training.", minimum=0, maximum=0.95)]
Vectors = Callable[[NDArray[Any]], NDArray[np.float32]]  # a block of items -> (b, dim)
Kind = Literal["images", "vectors", "texts", "graph"]  # of items
IMAGES: frozenset[Kind] = frozenset({"images"})
FLAT: frozenset[Kind] = frozenset({"images", "vectors"})
GRAPH: frozenset[Kind] = frozenset({"graph"})
NOUNS = {"graph": "nodes of a graph"}


@dataclass(frozen=True)
class Trained:
    """An encoder after training: all that encoding needs. `shape` is that of one item, for an image (h, w)."""

    name: str
    params: dict[str, Any]  # every keyword with the value used, and the seed
    shape: tuple[int, ...]
    weights: Mapping[str, NDArray[np.floating[Any]]]
    log: list[dict[str, float]] = field(default_factory=list)  # one record per epoch; not kept in the file


Training = Callable[Concatenate["Items", NDArray[Any], ...], Trained]  # items, row numbers that train, keywords
AnyTraining = TypeVar("AnyTraining", bound=Training)


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder(Entry[Training]):
    """An encoder with its traits.

    takes: the kinds of items. learns: whether it sees training items; one that does not can do without any. apply: (trained,
    device) -> how the weights are used; for a graph, Items -> (n, dim). errors: the same for what each item loses, a block
    of items -> (b,); None where nothing is reconstructed. decode: the same from vectors (b, dim) back to items; None where
    there is no way back. shapes: (shape of an item, params) -> shape of each weight, so that a foreign file is judged before
    it is used.
    """

    takes: frozenset[Kind]
    learns: bool
    apply: Callable[[Trained, str], Callable[[Any], NDArray[np.float32]]]
    errors: Callable[[Trained, str], Callable[[Any], NDArray[Any]]] | None
    decode: Callable[[Trained, str], Callable[[Any], NDArray[Any]]] | None
    shapes: Callable[[tuple[int, ...], dict[str, Any]], dict[str, tuple[int, ...]]]
    source: str

    def __call__(self, function: AnyTraining) -> AnyTraining:
        """Register the function."""
        ENCODERS.add(self.of(function))
        return function


ENCODERS = Registry("encoder", Encoder)
encoder = Encoder


def space(trained: Trained) -> str:
    """The name of the coordinate frame: two encoders share it only if name, item shape and every weight are equal."""
    digest = hashlib.sha256(f"{trained.name} {trained.shape}".encode())
    for name, weight in sorted(trained.weights.items()):
        digest.update(f"\n{name} {weight.dtype.str} {weight.shape}\n".encode())
        digest.update(np.ascontiguousarray(weight).data)
    return f"{trained.name}:{digest.hexdigest()[:16]}"


def check_kind(name: str, takes: Set[str], kind: str) -> None:
    """Raise DataError when the encoder does not take items of this kind."""
    if kind not in takes:
        nouns = [NOUNS.get(k, k) for k in (kind, *sorted(takes))]
        raise DataError(f"the items are {nouns[0]}; encoder {name} takes {' or '.join(nouns[1:])}", "Choose another encoder.")


def training_rows(items: NDArray[Any], train: NDArray[Any], at_least: int) -> NDArray[np.intp]:
    """Indices of the rows to train on, from a mask or from indices. Raises DataError for fewer than `at_least`."""
    rows: NDArray[np.intp] = np.arange(len(items))[train]
    if len(rows) < at_least:
        raise DataError(f"{len(rows)} training rows; the encoder needs at least {at_least}", "Give more items.")
    return rows


def torch_device(name: str) -> torch.device:
    """The device of that name; see devices.chosen."""
    device: torch.device = devices.torch_device(name)
    return device


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Within it torch draws the same numbers for a seed and adds in the same order, whatever the number of threads.

    On the CPU, that is, and at the price of using one thread: gradients summed by two differ in their last bits, so the
    encoder, and the space it names, would be another. On CUDA, what adds in any order is replaced where torch can. The caller's
    random state, threads and this choice are given back.
    """
    import torch

    # torch.use_deterministic_algorithms would do the same, and import torch's compiler for it.
    threads, ordered = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    if torch.cuda.is_available():
        torch.set_deterministic_debug_mode("warn")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(ordered)


def random_state(on: torch.device) -> dict[str, torch.Tensor]:
    """The state of torch's generator, by name: of the CPU, and of the device where it is another."""
    import torch

    own = {} if on.type == "cpu" else {f"random.{on.type}": getattr(torch, on.type).get_rng_state()}
    return {"random": torch.get_rng_state(), **own}


def restore_random(state: dict[str, torch.Tensor], on: torch.device) -> None:
    """Go back to such a state, as far as it knows the device."""
    import torch

    torch.set_rng_state(state["random"])
    if f"random.{on.type}" in state:
        getattr(torch, on.type).set_rng_state(state[f"random.{on.type}"])


@contextmanager
def seeded(seed: int, on: torch.device) -> Iterator[None]:
    """Within it torch draws what it draws after this seed; then it goes on as if nothing had been drawn."""
    import torch

    state = random_state(on)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore_random(state, on)
