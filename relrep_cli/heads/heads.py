"""Heads: decoders on top of a space, which predict the class or the number of an item from its vector, or its image.

A registered function takes training rows x (n, d), their classes y (n,) as numbers from 0 on, and how many there are; 0
classes means that y holds numbers (n,) or images (n, h, w) to predict. It gives what it learnt as named arrays; the trait
`scores` reads them: (arrays, rows (b, d)) -> (b, classes), the highest wins, or (b, 1) predicted numbers, or (b, pixels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any, Concatenate, Literal, TypeVar

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.heads import decoder as decoders
from relrep_cli.heads import linear_models
from relrep_cli.heads import mlp as networks
from relrep_cli.numerics.blocks import release, row_blocks
from relrep_cli.numerics.whitening import unit_of

Arrays = Mapping[str, np.ndarray]

Hidden = Annotated[int, Param("Hidden units of the mlp head.", minimum=1)]
Epochs = Annotated[int, Param("Passes of the mlp and decoder heads; 0: at least 5, and at least 300 steps.", minimum=0)]
Ridge = Annotated[float, Param("Penalty of the linear head, per row and on standard-scaled columns.", minimum=0)]
Penalty = Annotated[
    float, Param("Penalty of the logistic and svm heads, per row and on standard-scaled columns.", minimum=1e-12)
]
Neighbours = Annotated[int, Param("Neighbours that vote in the knn head.", minimum=1)]


Training = Callable[Concatenate[np.ndarray, np.ndarray, int, ...], Arrays]  # x (n, d), y (n,), classes, keywords -> arrays
AnyTraining = TypeVar("AnyTraining", bound=Training)


@dataclass(frozen=True, kw_only=True, eq=False)
class Head(Entry[Training]):
    """A head with its traits.

    deterministic: whether all seeds give the same. joint: whether it can be trained with an aggregator in front. scores:
    applies the arrays to rows (b, d), see above.
    """

    deterministic: bool
    joint: bool
    predicts: Set[Literal["classes", "numbers", "images"]]
    scores: Callable[[Arrays, np.ndarray], np.ndarray]
    source: str

    def __call__(self, function: AnyTraining) -> AnyTraining:
        """Register the function."""
        HEADS.add(self.of(function))
        return function


HEADS = Registry("head", Head)
head = Head


@dataclass(frozen=True, eq=False)
class Trained:
    """A head as it was trained. classes: how many, 0 for numbers. front: the torch module that comes first, if any."""

    name: str
    classes: int
    arrays: Arrays
    front: Any = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n,) class numbers, or predicted numbers, of x (n, d); (n, pixels) of images."""
        predictions = [np.zeros(0, np.int64 if self.classes else np.float64)] if not len(x) else []
        for block in row_blocks(*x.shape, x):
            rows = x[block] if self.front is None else networks.through(self.front, x[block])
            with np.errstate(all="ignore"):  # said below
                scores = HEADS[self.name].scores(self.arrays, rows)
            if not np.isfinite(scores).all():
                raise DataError(
                    f"the {self.name} head gives numbers that are not finite: its weights, or the vectors, are too large",
                    "Train it anew, or divide the vectors by a constant.",
                )
            predictions.append(scores.argmax(1) if self.classes else scores[:, 0] if scores.shape[1] == 1 else scores)
        return np.concatenate(predictions)


def train(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    params: Mapping[str, Any],
    seed: int = 0,
    device: str = "cpu",
    front: Callable[[], Any] | None = None,
) -> Trained:
    """The named head, trained on x (n, d) and y (n,). front: builds a torch module that is trained in front of it."""
    built: list[Any] = []

    def build() -> Any:
        built.append(front())  # type: ignore[misc]
        return built[-1]

    more = {} if front is None else {"front": build}
    arrays = HEADS[name].function(x, y, classes, seed=seed, device=device, **params, **more)
    return Trained(name, classes, arrays, built[0] if built else None)


@head(
    deterministic=True,
    joint=False,
    predicts={"classes", "numbers"},
    scores=linear_models.affine,
    source="ridge regression on class indicators, closed form (Hastie et al. 2009, sec. 4.2)",
)
def linear(x: np.ndarray, y: np.ndarray, classes: int, *, seed: int, device: str, ridge: Ridge = 0.01) -> Arrays:
    """Ridge regression on class indicators, or on the numbers.

    Columns are standard-scaled on x itself, moments are summed in float64, so that one pass over x is all it takes.
    """
    n, d = x.shape
    outputs = classes or 1
    total, aims = np.zeros(d), np.zeros(outputs)
    gram, cross = np.zeros((d, d)), np.zeros((d, outputs))
    unit = unit_of(x[block] for block in row_blocks(n, d, x))
    shift = (np.asarray(x[: min(n, 1024)], np.float64) / unit).mean(0)
    level = np.zeros(1) if classes else np.asarray(y[:1], np.float64)  # numbers far from 0 keep their digits

    def rows(block: slice) -> tuple[np.ndarray, np.ndarray]:
        z, aim = (x[block] if unit == 1 else x[block] / unit) - shift, linear_models.aims(y[block], classes) - level
        release(x, block)
        return z, aim

    for part_sums in linear_models.sums_of_blocks(rows, n, d, linear_models.device_of(device, n, d, outputs)):
        for whole, part in zip((total, aims, gram, cross), part_sums, strict=True):
            whole += part
    mean, bias = total / n, aims / n
    gram = gram / n - np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(gram), 0))
    scale[scale <= 1e-12 * max(float(scale.max()), 1e-300)] = np.inf  # a constant column says nothing
    penalised = gram / np.outer(scale, scale) + max(ridge, 1e-12) * np.eye(d)
    weights = np.linalg.solve(penalised, (cross / n - np.outer(mean, bias)) / scale[:, None]) / scale[:, None]
    return {"mean": (shift + mean) * unit, "weights": weights / unit, "bias": bias + level}


@head(
    deterministic=True,
    joint=False,
    predicts={"classes"},
    scores=linear_models.affine,
    source="multinomial logistic regression (Hastie et al. 2009, sec. 4.4), by scikit-learn",
)
def logistic(x: np.ndarray, y: np.ndarray, classes: int, *, seed: int, device: str, penalty: Penalty = 1e-3) -> Arrays:
    """Multinomial logistic regression with a squared penalty. Holds its rows in memory in float64."""
    on = linear_models.device_of(device, len(x), x.shape[1], linear_models.STEPS * classes)
    if on is not None:
        return linear_models.fitted(linear_models.LogisticThere(penalty, on), x, y, classes)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (penalty * len(x)), max_iter=linear_models.STEPS)
    return linear_models.fitted(model, x, y, classes)


@head(
    deterministic=True,
    joint=False,
    predicts={"classes", "numbers"},
    scores=linear_models.affine,
    source="linear support vector machine, squared hinge, one class against the rest (Fan et al. 2008), by scikit-learn",
)
def svm(x: np.ndarray, y: np.ndarray, classes: int, *, seed: int, device: str, penalty: Penalty = 1e-3) -> Arrays:
    """Linear support vector machine; for numbers, linear support vector regression. Holds its rows in memory in float64."""
    from sklearn.svm import LinearSVC, LinearSVR

    strength = 1 / (penalty * len(x))
    if classes:
        return linear_models.fitted(LinearSVC(C=strength, dual=True, tol=0.01, max_iter=1000, random_state=0), x, y, classes)
    level, spread = float(np.mean(y)), float(np.std(y)) or 1.0
    tube = LinearSVR(C=strength, epsilon=0.01, loss="squared_epsilon_insensitive", dual=True, random_state=0)
    weights = linear_models.fitted(tube, x, (y - level) / spread, 0)
    return {**weights, "weights": weights["weights"] * spread, "bias": weights["bias"] * spread + level}


@head(
    deterministic=False,
    joint=True,
    predicts={"classes", "numbers"},
    scores=networks.scores,
    source="Moschella et al. 2022, sec. 5: layer norm, linear, activation, linear",
)
def mlp(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    *,
    seed: int,
    device: str,
    hidden: Hidden = 128,
    head_epochs: Epochs = 0,
    front: Callable[[], Any] | None = None,
) -> Arrays:
    """A small network: LayerNorm, Linear, Tanh, Linear, trained by AdamW on cross-entropy or squared error.

    front: builds a torch module that comes first and is trained along, such as an aggregator. Equal seeds give equal heads
    on one device. A pass over few rows is one step, so few rows need many passes.
    """
    return networks.trained(x, y, classes, seed, device, hidden, head_epochs, front)


def _votes(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
    """(b, classes) votes of the nearest rows, or (b, 1) the mean of their numbers."""
    from relrep_cli.neighbors import nearest, widen

    k = int(arrays["k"][0])
    near = nearest(widen(rows), arrays["x"], k, by="euclidean").rows
    known = arrays["y"][near]
    if not arrays["classes"][0]:
        return known.mean(1, keepdims=True)
    votes = np.zeros((len(rows), int(arrays["classes"][0])))
    for place in range(k):  # the nearer ones count a little more, so that they decide where votes are equal
        votes[np.arange(len(rows)), known[:, place].astype(int)] += 1 + 1e-3 / (1 + place)
    return votes


@head(
    deterministic=True,
    joint=False,
    predicts={"classes", "numbers"},
    scores=_votes,
    source="k nearest neighbours (Cover and Hart 1967), exact, Euclidean",
)
def knn(x: np.ndarray, y: np.ndarray, classes: int, *, seed: int, device: str, neighbors: Neighbours = 10) -> Arrays:
    """The class that most of the nearest training rows have, or the mean of their numbers. It keeps all its rows."""
    from relrep_cli.neighbors import widen

    return {
        "x": np.ascontiguousarray(widen(x)),
        "y": np.asarray(y, np.float64),
        "k": np.array([min(neighbors, len(x))], np.float64),
        "classes": np.array([classes], np.float64),
    }


@head(
    deterministic=False,
    joint=False,
    predicts={"images"},
    scores=decoders.scores,
    source="the decoding half of conv-ae; reconstruction across spaces as in Moschella et al. 2022, sec. 5",
)
def decoder(x: np.ndarray, y: np.ndarray, classes: int, *, seed: int, device: str, head_epochs: Epochs = 5) -> Arrays:
    """A convolutional network from vectors back to images, for --target images."""
    return decoders.trained(x, y, seed, device, head_epochs)


def weighted_f1(predicted: np.ndarray, target: np.ndarray, classes: int) -> float:
    """F1 score of each class, weighted by how often it is true.

    >>> round(weighted_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), 4)
    0.6667
    """
    hits, true, guessed = (np.bincount(c, minlength=classes) for c in (target[predicted == target], target, predicted))
    f1 = 2 * hits / np.maximum(true + guessed, 1)
    return float((f1 * true).sum() / true.sum())
