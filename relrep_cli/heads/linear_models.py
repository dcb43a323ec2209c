"""What the linear heads compute: sums of ridge regression, models of scikit-learn, and both on a device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.devices import memory_of, sent
from relrep_cli.numerics.moment_sums import device_for
from relrep_cli.numerics.threads import in_order, single_threaded
from relrep_cli.numerics.whitening import deviations, moments

Arrays = Mapping[str, np.ndarray]
NEVER = -1e30  # the score of a class without training rows
STEPS = 500  # of logistic regression, at most
WORTH = 1e12  # multiply-adds from which `auto` looks for a device: to load torch takes seconds


def affine(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
    return (rows - arrays["mean"]) @ arrays["weights"] + arrays["bias"]


def aims(y: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes) indicators of classes, or (n, 1) numbers."""
    if not classes:
        return np.asarray(y, np.float64)[:, None]
    out = np.zeros((len(y), classes))
    out[np.arange(len(y)), y] = 1
    return out


def device_of(device: str, n: int, d: int, products: int) -> Any:
    """The device for products of (n, d) rows with so many vectors beside each other; None for the CPU."""
    if device == "auto" and n * d * float(d + products) < WORTH:
        return None
    return device_for(device, n, d)


def sums_of_blocks(
    rows: Callable[[slice], tuple[np.ndarray, np.ndarray]], n: int, d: int, on: Any
) -> Iterator[tuple[np.ndarray, ...]]:
    """For each block of n rows, the sums of z, of the aims, of z z' and of z aim'. rows: z (b, d) and the aims (b, outputs) of
    a block. on: the device, None for the CPU."""

    def sums(z: Any, aim: Any) -> tuple[Any, ...]:
        return z.sum(0), aim.sum(0), z.T @ z, z.T @ aim

    if on is None:
        yield from in_order(lambda block: sums(*rows(block)), row_blocks(n, d))
        return
    with memory_of(str(on), f"a block of rows takes {8 * d * min(n, 4096) >> 20} MiB"):
        for z, aim in sent(map(rows, row_blocks(n, d)), on):
            yield tuple(part.cpu().numpy() for part in sums(z, aim))


def fitted(model: Any, x: np.ndarray, y: np.ndarray, classes: int) -> Arrays:
    """A linear model as of scikit-learn, fitted on standard-scaled columns, by one thread so that all machines agree."""

    mean, variances, unit = moments(x[block] for block in row_blocks(*x.shape, x))
    scale = deviations(variances, unit)
    seen = np.unique(y) if classes else np.zeros(1, int)
    weights, bias = np.zeros((x.shape[1], max(classes, 1))), np.full(max(classes, 1), NEVER if classes else 0.0)
    if classes and len(seen) == 1:  # nothing to tell apart
        bias[seen] = 0.0
        return {"mean": mean, "weights": weights, "bias": bias}
    with single_threaded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says when the last digits were not reached
        model.fit((np.asarray(x, np.float64) - mean) / scale, y)
    coefficients = np.atleast_2d(model.coef_).T / scale[:, None]
    level = np.atleast_1d(model.intercept_)
    if classes and len(seen) == 2:  # one column, for the second class
        coefficients, level = np.concatenate([-coefficients, coefficients], 1), np.concatenate([-level, level])
    weights[:, seen], bias[seen] = coefficients, level
    return {"mean": mean, "weights": weights, "bias": bias}


class LogisticThere:
    """LogisticRegression of scikit-learn on a device: the same loss and the same steps (L-BFGS of SciPy) in float64."""

    coef_: np.ndarray
    intercept_: np.ndarray

    def __init__(self, penalty: float, on: Any) -> None:
        self.penalty, self.on = penalty, on

    def fit(self, z: np.ndarray, y: np.ndarray) -> None:
        """z: (n, d) float64. y: (n,) of at least two classes; of two, the weights are those of the second."""
        from scipy.optimize import minimize

        classes, codes = np.unique(y, return_inverse=True)
        outputs, d = len(classes) if len(classes) > 2 else 1, z.shape[1]
        with memory_of(str(self.on), f"the rows take {z.nbytes >> 20} MiB"):
            ((there,), (aim,)) = sent([[z], [codes.astype(np.int64)]], self.on)

            def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
                check()
                weights = flat.reshape(outputs, d + 1)
                ((w, bias),) = sent([[weights[:, :d], weights[:, d]]], self.on)
                total, slopes = _logistic_loss(there @ w.T + bias, aim)
                gradient = np.empty_like(weights)
                gradient[:, :d] = (slopes.T @ there).cpu().numpy() / len(z) + self.penalty * weights[:, :d]
                gradient[:, d] = slopes.sum(0).cpu().numpy() / len(z)
                return float(total) / len(z) + self.penalty / 2 * float(np.square(weights[:, :d]).sum()), gradient.ravel()

            options = {"maxiter": STEPS, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
            fit = minimize(loss, np.zeros(outputs * (d + 1)), method="L-BFGS-B", jac=True, options=options)
        weights = fit.x.reshape(outputs, d + 1)
        self.coef_, self.intercept_ = weights[:, :d], weights[:, d]


def _logistic_loss(raw: Any, aim: Any) -> tuple[Any, Any]:
    """The loss summed over rows, and its slope for each score (n, outputs), both torch; one score is that of the second of two
    classes. aim: (n,) numbers of classes."""
    if raw.shape[1] == 1:
        own, hit = raw[:, 0], aim.to(raw.dtype)
        return (own.clamp(min=0) + (-own.abs()).exp().log1p() - hit * own).sum(), (own.sigmoid() - hit)[:, None]
    chances = raw.softmax(1)
    hits = aim[:, None]
    total = (raw.logsumexp(1) - raw.gather(1, hits)[:, 0]).sum()
    return total, chances.scatter_add_(1, hits, -raw.new_ones(hits.shape))
