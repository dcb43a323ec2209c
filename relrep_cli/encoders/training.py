"""The one training loop, and the registration that turns a network with a loss into an encoder."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass, fields
from relrep_cli.base.registry import Param
from relrep_cli.encoders.base import (
    FORGETFUL,
    Checkpoint,
    Kind,
    Progress,
    Trained,
    check_kind,
    encoder,
    reproducible,
    seeded,
    torch_device,
    training_rows,
)
from relrep_cli.encoders.checkpoints import Training, Weights
from relrep_cli.encoders.networks_in_use import applied, decoded, network_shapes, network_weights
from relrep_cli.encoders.optimizers import optimizer
from relrep_cli.encoders.tasks import Batch, Data, Facts, Task
from relrep_cli.sources.items import Items

if TYPE_CHECKING:
    import torch

HELD_OUT = 20  # one training row in so many is kept apart, to tell when to stop, unless the split has rows `valid`
Epochs = Annotated[int, Param("Largest number of passes over the training rows.", minimum=1)]
BatchSize = Annotated[int, Param("Training rows per step; batches are made nearly equal in size.", minimum=2)]
LearningRate = Annotated[float, Param("Initial learning rate of Adam; it falls to 0.", minimum=0, maximum=1)]
WeightDecay = Annotated[float, Param("Weight of the squared weights in the loss.", minimum=0, maximum=1)]
Patience = Annotated[int, Param("Stop after this many epochs without a smaller loss on held-out rows.", minimum=1)]
LOOP = {
    "epochs": Epochs,
    "batch_size": BatchSize,
    "learning_rate": LearningRate,
    "weight_decay": WeightDecay,
    "patience": Patience,
}


Build = Callable[..., Task]  # (facts, *, …) -> Task


@dataclass(frozen=True)
class Run:
    """Where a training runs, what gets its records, and where it keeps its state; see base.py."""

    device: str = "cpu"
    progress: Progress = lambda done, total, message: None
    checkpoint: Checkpoint = FORGETFUL


RUN = [field.name for field in fields(Run)]


def network_encoder(
    *, takes: frozenset[Kind], source: str, least: int = 1, reconstructs: bool = False, supervised: bool = False, **loop: Any
) -> Callable[[Build], Build]:
    """Register `build(facts, *, …)` as an encoder that the loop below trains.

    least: held-out rows that the loss needs. supervised: whether it needs labels. loop: defaults of the loop's own options;
    without `patience` the weights after the last epoch are kept, for losses that do not say which epoch is the best.
    """

    def decorate(build: Build) -> Build:
        hints = typing.get_type_hints(build, include_extras=True)
        keywords = [p for p in inspect.signature(build).parameters.values() if p.kind == p.KEYWORD_ONLY]
        own = [p.replace(annotation=hints[p.name]) for p in keywords]
        options = [*own, *(_option(option, kind, loop[option]) for option, kind in LOOP.items() if option in loop)]
        name = build.__name__.replace("_", "-")

        def train(items: Items, train: NDArray[Any], *, seed: int = 0, **given: Any) -> Trained:
            check_kind(name, takes, items.kind)
            run = Run(**{field: given.pop(field) for field in RUN if field in given})
            params = {p.name: given.pop(p.name, p.default) for p in options} | {"seed": seed}
            if given:
                raise TypeError(f"{name} takes no {', '.join(given)}")
            return _trained(name, build, items, train, params, least, supervised, run)

        def built(shape: tuple[int, ...], params: dict[str, Any]) -> Task:
            return build(Facts(shape), **{p.name: params[p.name] for p in own})

        _describe(train, build, options)
        encoder(
            takes=takes,
            learns=True,
            source=source,
            apply=lambda trained, device: applied(trained, built, device, "encode"),
            decode=(lambda trained, device: decoded(trained, built, device)) if reconstructs else None,
            errors=(lambda trained, device: applied(trained, built, device, "error")) if reconstructs else None,
            shapes=lambda shape, params: network_shapes(built, shape, params),
        )(train)
        return build

    return decorate


def _option(name: str, kind: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _describe(train: Any, build: Build, options: list[inspect.Parameter]) -> None:
    """Give the training function the name and words of `build`, and a signature that says its options."""
    signature = list(inspect.signature(train).parameters.values())
    run = [_option(field.name, field.type, field.default) for field in fields(Run)]
    train.__signature__ = inspect.Signature([*signature[:2], *options, signature[2], *run])
    train.__annotations__ = {p.name: p.annotation for p in options}
    train.__name__, train.__doc__, train.__module__ = build.__name__, build.__doc__, build.__module__


def _trained(
    name: str,
    build: Build,
    items: Items,
    train: NDArray[Any],
    params: dict[str, Any],
    least: int,
    supervised: bool,
    run: Run,
) -> Trained:
    """Build the network and train it."""
    on = torch_device(run.device)
    rows = training_rows(items.x, train, at_least=3 * least)
    label, classes = _codes(items, rows, name) if supervised or items.label is not None else (None, 0)
    if label is not None and supervised:
        rows = _labelled(rows, label, name, at_least=3 * least)
    shape = tuple(items.x.shape[1:])
    own = {key: value for key, value in params.items() if key not in LOOP and key != "seed"}
    with reproducible(params["seed"]):  # first weights, dropout and augmentations come from torch's global generator
        task = build(Facts(shape, classes, items.pairs, trains=True), **own)
        task.network.to(on)
        rng = np.random.default_rng(params["seed"])
        held, rows = _held_out(items, rng.permutation(rows), label if supervised else None, least)
        weights, log = _fit(task, Data(items, label, on), (held, rows), params, rng, run)
    return Trained(name, params, shape, weights, log)


def _codes(items: Items, rows: NDArray[np.intp], name: str) -> tuple[NDArray[np.int64], int]:
    """(n,) numbers of the labels that training rows have, -1 for others and for none, and how many there are."""
    label = items.label
    if label is None:
        raise DataError(f"the items have no labels, and encoder {name} learns from labels", "Give items with labels.")
    known = np.unique(label[rows][label[rows] != b""])
    places = np.clip(np.searchsorted(known, label), 0, max(len(known) - 1, 0))
    return (np.where(known[places] == label, places, -1) if len(known) else np.full(len(label), -1)), len(known)


def _labelled(rows: NDArray[np.intp], label: NDArray[np.int64], name: str, at_least: int) -> NDArray[np.intp]:
    """Those of the rows that have labels. Raises DataError for fewer than `at_least`."""
    known = rows[label[rows] >= 0]
    if len(known) < at_least:
        finding = f"{len(known)} of the {len(rows)} training rows have labels"
        raise DataError(f"{finding}; encoder {name} needs at least {at_least}", "Give more labels.")
    return known


def _held_out(
    items: Items, rows: NDArray[np.intp], label: NDArray[np.int64] | None, least: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(held out, trained on): the rows of the split `valid` where there are any, else one in HELD_OUT of `rows`.

    Of the former, those alone that have what is learnt from: labels, positives.
    """
    valid = items.rows_of("valid")
    valid = valid[~np.isin(valid, rows)]
    if label is not None:
        valid = valid[label[valid] >= 0]
    if items.pairs is not None:
        valid = valid[items.pairs.count[valid] > 0]
    if len(valid) >= least:
        return valid, rows
    held, rows = np.split(rows, [max(least, len(rows) // HELD_OUT)])
    return held, rows


def _fit(
    task: Task,
    data: Data,
    parts: tuple[NDArray[np.intp], NDArray[np.intp]],
    params: dict[str, Any],
    rng: np.random.Generator,
    run: Run,
) -> tuple[Weights, list[dict[str, float]]]:
    """Train on the second part until the first stops improving; the weights of the best epoch, and the log."""
    import torch

    held, rows = parts

    adam = optimizer("Adam", task.network.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"])
    count, epochs = max(1, len(rows) // params["batch_size"]), params["epochs"]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs * count)
    training = Training(task.network, adam, schedule, rng)
    training.restore(run.checkpoint.load())
    for record in training.log:
        run.checkpoint.tell(record)
    patience = params.get("patience")
    while len(training.log) < epochs and not (patience and _stale(training.log, patience)):
        epoch, losses, shares = len(training.log), dict[str, list[torch.Tensor]](), list[float]()
        # Batches of near equal size: a last one of a single row has no variance to normalise by.
        for i, batch in enumerate(np.array_split(rng.permutation(rows), count)):
            for name, term in _step(task, adam, data.batch(batch, rng)).items():
                losses.setdefault(name, []).append(term)
            shares.append(len(batch) / len(rows))
            schedule.step()
            run.progress(epoch * count + i + 1, epochs * count, f"epoch {epoch + 1} of {epochs}")
        error = _error(task, data, held, params)
        least = min((past["held_out_loss"] for past in training.log), default=math.inf)
        if error < least or (not patience and math.isfinite(error)):
            training.weights = network_weights(task.network)
        terms = {f"train_{name}": _weighted(parts, shares) for name, parts in losses.items()}
        training.log.append({"epoch": epoch + 1, **terms, "held_out_loss": error})
        if not training.weights:
            raise UsageError(f"the training diverged at --learning-rate {params['learning_rate']}", "Give a smaller one.")
        run.checkpoint.save(training.to_bytes())
        run.checkpoint.tell(training.log[-1])
    return training.weights, training.log


def _weighted(values: list[torch.Tensor], weights: Sequence[float]) -> float:
    """The weighted sum of numbers on a device, which are fetched together: to wait for each one would hold the device up."""
    import torch

    return sum((w * v for v, w in zip(torch.stack(values).tolist(), weights, strict=True)), 0.0)


def _stale(log: list[dict[str, float]], patience: int) -> bool:
    """Whether the last `patience` epochs brought no smaller loss."""
    errors = [past["held_out_loss"] for past in log]
    return bool(errors) and len(errors) - 1 - errors.index(min(errors)) >= patience


def _step(task: Task, adam: torch.optim.Optimizer, batch: Batch) -> dict[str, torch.Tensor]:
    """One step of the optimizer on a batch; the terms of its loss, on the device."""
    import torch

    task.network.train()
    adam.zero_grad()
    terms = task.loss(batch)
    torch.autograd.backward(terms["loss"])
    adam.step()
    return {name: term.detach() for name, term in terms.items()}


def _error(task: Task, data: Data, rows: NDArray[np.intp], params: dict[str, Any]) -> float:
    """Mean loss over the held-out rows, nothing dropped, with the same pairs and augmentations after every epoch."""
    import torch

    task.network.eval()
    rng = np.random.default_rng(params["seed"])
    batches = np.array_split(rows, max(1, len(rows) // params["batch_size"]))
    with torch.inference_mode(), seeded(params["seed"], data.on):
        losses = [task.loss(data.batch(batch, rng))["loss"] for batch in batches]
        return _weighted(losses, [len(batch) for batch in batches]) / len(rows)
