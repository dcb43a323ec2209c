"""From any number of dims to the two of a picture. The only door to umap."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated, Any, Concatenate, TypeVar

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics.threads import single_threaded

FITTED = 20_000  # training rows that an inductive method is fitted on
FEWEST = 5  # items that make a picture
OF_NUMPY = ("pca", "none")  # methods without scikit-learn, whose import takes over a second

Perplexity = Annotated[float, Param("Perplexity of t-SNE: about how many neighbours it considers.", minimum=1)]
Graph = Annotated[int, Param("Neighbours in the graph of umap and laplacian.", minimum=2)]
MinDist = Annotated[float, Param("Smallest distance between points in a UMAP.", minimum=0, maximum=1)]


@dataclass(frozen=True, eq=False)
class Reduced:
    """places: (n, 2). convention: how they came about, in words. axes: a name for each, where it has a meaning of its own."""

    places: np.ndarray
    convention: str
    axes: tuple[str, str] = ("", "")


Reduction = Callable[Concatenate[np.ndarray, np.ndarray, ...], Reduced]  # training rows (m, d), rows (n, d), keywords
AnyReduction = TypeVar("AnyReduction", bound=Reduction)


@dataclass(frozen=True, kw_only=True, eq=False)
class Method(Entry[Reduction]):
    """A method with its traits.

    title: its name in a picture. inductive: whether it is fitted on training rows; None where nothing is fitted. scaled:
    whether both axes have one unit, so that distances can be seen. needs: a package that must be installed, or none.
    """

    title: str
    inductive: bool | None
    scaled: bool
    needs: str
    source: str

    def __call__(self, function: AnyReduction) -> AnyReduction:
        """Register the function."""
        METHODS.add(self.of(function))
        return function


METHODS = Registry("method", Method)
method = Method
USUAL = "pca"


def method_for(asked: str, dims: int) -> str:
    """The method that was asked for, or the usual one, which leaves two dims as they are."""
    return asked or ("none" if dims == 2 else USUAL)


def ready(name: str) -> None:
    """Raise UsageError when the method needs a package that is not installed."""
    needs = METHODS[name].needs
    if needs and find_spec(needs) is None:
        raise UsageError(f"--method {name} needs {needs}-learn, which is not installed", f"Run pip install {needs}-learn.")


def reduce(
    name: str, train: np.ndarray, x: np.ndarray, params: dict[str, Any], seed: int, whose: str = "training rows"
) -> Reduced:
    """The rows of x (n, d) in two dims by a method, fitted on train (m, d) where it can be; whose: what those rows are called.

    Coordinates are scaled first, so that no square leaves the range of float64. Raises DataError for fewer than five rows, or
    rows that are all the same.
    """
    wide = [np.asarray(side, np.float64) for side in (train, x)]
    if len(x) < FEWEST or not np.ptp(wide[1], axis=0).any():
        if len(x) < FEWEST:
            raise DataError(f"{len(x)} items are too few to draw", f"Give at least {FEWEST}.")
        raise DataError("all items are the same, so there is nothing to draw", "Give items that differ.")
    if not np.ptp(wide[0], axis=0).any():  # nothing can be fitted on a point
        wide[0], whose = wide[1], "items shown"
    peak = max(float(np.abs(side).max()) for side in wide)
    with _single(loads=name not in OF_NUMPY):
        made = METHODS[name].function(wide[0] / peak, wide[1] / peak, **params, seed=seed)
    inductive = METHODS[name].inductive
    fitted = "" if inductive is None else f"fitted on {f'{len(wide[0])} {whose}' if inductive else 'the items shown'}"
    convention = ", ".join(filter(None, (made.convention, fitted)))
    return replace(made, places=np.asarray(made.places, np.float64), convention=convention)


@contextmanager
def _single(loads: bool = True) -> Iterator[None]:
    """One thread, so that sums come in one order on all machines; quiet about the data. loads: whether scikit-learn is used."""
    if loads:
        import sklearn.manifold  # noqa: F401 (only libraries that are loaded can be limited)

    with single_threaded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@method(title="PCA", inductive=True, scaled=True, needs="", source="Pearson 1901")
def pca(train: np.ndarray, x: np.ndarray, *, seed: int = 0) -> Reduced:
    """The two principal components of the training rows; at most 20,000 of them."""
    width, mean = min(2, *train.shape), train.mean(0)
    centred = train - mean
    variances, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :width]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(width)])  # a direction has no sign of its own
    places = np.zeros((len(x), 2))
    places[:, :width] = (x - mean) @ axes
    shares = variances[::-1][:width] / variances.sum()
    names = [f"PC {number} ({100 * share:.1f} %)" for number, share in enumerate(shares, 1)]
    return Reduced(places, "", (names[0], names[1] if width == 2 else ""))


@method(title="Two dims", inductive=None, scaled=True, needs="", source="the coordinates themselves")
def none(train: np.ndarray, x: np.ndarray, *, seed: int = 0) -> Reduced:
    """The coordinates as they are, of a space of two dims such as a UMAP."""
    if x.shape[1] != 2:
        raise DataError(f"has {x.shape[1]} dims, and --method none draws two", "Choose another --method, such as pca.")
    return Reduced(x, "as they are", ("dim 1", "dim 2"))


@method(title="t-SNE", inductive=False, scaled=True, needs="", source="van der Maaten and Hinton 2008, by scikit-learn")
def tsne(train: np.ndarray, x: np.ndarray, *, perplexity: Perplexity = 30.0, seed: int = 0) -> Reduced:
    """Stochastic neighbour embedding (t-SNE) of the items shown, from their principal components on."""
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(x) - 1) / 3)
    start = "pca" if x.shape[1] > 1 else "random"
    model = TSNE(perplexity=perplexity, init=start, learning_rate="auto", random_state=seed, n_jobs=1)
    return Reduced(model.fit_transform(x), f"perplexity {perplexity:g}, Euclidean")


@method(title="UMAP", inductive=False, scaled=True, needs="umap", source="McInnes et al. 2018, by umap-learn")
def umap(train: np.ndarray, x: np.ndarray, *, neighbors: Graph = 15, min_dist: MinDist = 0.1, seed: int = 0) -> Reduced:
    """UMAP of the items shown."""
    from umap import UMAP

    count = min(neighbors, len(x) - 1)
    start = "spectral" if len(x) > 10 and x.shape[1] > 2 else "random"
    model = UMAP(n_neighbors=count, min_dist=min_dist, init=start, random_state=seed, n_jobs=1)
    return Reduced(model.fit_transform(x), f"{count} neighbours, min_dist {min_dist:g}, Euclidean")


@method(title="Laplacian eigenmaps", inductive=False, scaled=False, needs="", source="Belkin and Niyogi 2003, by scikit-learn")
def laplacian(train: np.ndarray, x: np.ndarray, *, neighbors: Graph = 15, seed: int = 0) -> Reduced:
    """Laplacian eigenmaps: the smoothest functions on the neighbour graph of the items shown."""
    from sklearn.manifold import SpectralEmbedding

    count = min(neighbors, len(x) - 1)
    model = SpectralEmbedding(2, affinity="nearest_neighbors", n_neighbors=count, random_state=seed, n_jobs=1)
    return Reduced(model.fit_transform(x), f"graph of {count} neighbours, Euclidean")
