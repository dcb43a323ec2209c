"""scikit-learn estimators: fit on one space, transform any rows of it. Importing this module imports scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from relrep_cli.anchors.shared_items import candidates
from relrep_cli.anchors.strategies import STRATEGIES, choose
from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.library.call_parts import Names, recipe_of
from relrep_cli.library.wording import speaks_python
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.relative.projection import basis, relative
from relrep_cli.stitching.translators import TRANSLATORS, fit

NUMBERS = (np.float64, np.float32)


class RelativeProjector(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Describe rows by their similarities to anchors (Moschella et al. 2022).

    n_anchors: how many; all rows where there are fewer. strategy: how they are chosen among the rows of `fit`.
    anchors: row numbers in the X of `fit`, instead of choosing; so several encoders get the same anchors.
    similarity, aggregate, center, scale, whiten, normalize, standardize_columns, negate: see `project`.
    options: of the similarity functions and the strategy. seed: for choosing.

    After `fit`: anchors_ (m,) row numbers, basis_ the fitted settings, n_features_in_.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> RelativeProjector(n_anchors=10).fit_transform(x).shape
    (50, 10)
    """

    def __init__(
        self,
        n_anchors: int = 300,
        *,
        strategy: str = "random",
        anchors: Any = None,
        similarity: Names = "cosine",
        aggregate: str = "",
        center: bool = False,
        scale: bool = False,
        whiten: bool = False,
        normalize: bool = False,
        standardize_columns: bool = False,
        negate: bool = False,
        options: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.n_anchors = n_anchors
        self.strategy = strategy
        self.anchors = anchors
        self.similarity = similarity
        self.aggregate = aggregate
        self.center = center
        self.scale = scale
        self.whiten = whiten
        self.normalize = normalize
        self.standardize_columns = standardize_columns
        self.negate = negate
        self.options = options
        self.seed = seed

    @speaks_python
    def fit(self, X: Any, y: Any = None) -> RelativeProjector:
        """Choose anchors among the rows of X (n, d) and compute the statistics that the settings need."""
        X = validate_data(self, X, dtype=NUMBERS, ensure_min_samples=2)
        e, options = Embedding(X, row_numbers(len(X)), uri="X", row_ids=True), dict(self.options or {})
        self.anchors_ = np.asarray(self.anchors) if self.anchors is not None else self._chosen(e, options)
        if self.anchors_.dtype.kind not in "iu" or not np.isin(self.anchors_, np.arange(len(X))).all():
            raise UsageError("anchors are not all row numbers of X", f"Give whole numbers from 0 to {len(X) - 1}.")
        names = ("aggregate", "center", "scale", "whiten", "normalize", "standardize_columns", "negate")
        how = {name: getattr(self, name) for name in names}
        self.basis_ = basis(e, recipe_of(e.ids[self.anchors_], similarity=self.similarity, **how, **options))
        return self

    def _chosen(self, e: Embedding, options: dict[str, Any]) -> np.ndarray:
        """Row numbers of anchors; takes the options of the strategy out of `options`."""
        entry = STRATEGIES[self.strategy]
        if entry.gives != "items" or entry.reads:
            raise UsageError(f"strategy {self.strategy} needs more than vectors", "Choose random, farthest, kmeans or herding.")
        own = {name: options.pop(name) for name in list(options) if name in entry.keywords}
        c = candidates([e], "all", False, None)
        params = STRATEGIES.choose([self.strategy], own)[self.strategy]
        m = min(self.n_anchors, len(c))
        return np.asarray(c.rows[0][choose(c, self.strategy, m, np.random.default_rng(self.seed), params)])

    @speaks_python
    def transform(self, X: Any) -> np.ndarray:
        """Similarities (n, m) of rows X (n, d) to the anchors."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=NUMBERS, reset=False)
        return np.array(relative(Embedding(X, row_numbers(len(X)), uri="X"), self.basis_).x)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names (m,) of the columns: `similarity:anchor`."""
        check_is_fitted(self)
        return np.array([name.decode() for name in self.basis_.recipe.var()["id"].tolist()], object)


class Translator(TransformerMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Map one space into another, fitted on parallel rows (Maiorca et al. 2023).

    method: the name of a translator, such as "orthogonal" or "ridge"; `relrep stitch --help` lists them.
    options: its parameters.

    After `fit`: map_, n_features_in_.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    >>> bool(np.allclose(Translator().fit(x, x @ turn).transform(x), x @ turn))
    True
    """

    def __init__(self, method: str = "orthogonal", *, options: dict[str, Any] | None = None) -> None:
        self.method = method
        self.options = options

    @speaks_python
    def fit(self, X: Any, y: Any) -> Translator:
        """Fit on rows X (n, dx) and y (n, dy), where row i is the same item."""
        X, y = validate_data(self, X, y, dtype=NUMBERS, multi_output=True, y_numeric=True, ensure_min_samples=2)
        self._is_column = y.ndim == 1
        params = TRANSLATORS.choose([self.method], dict(self.options or {}))[self.method]
        self.map_ = fit(self.method, np.asarray(X, np.float64), np.asarray(y, np.float64).reshape(len(y), -1), params)
        return self

    @speaks_python
    def transform(self, X: Any) -> np.ndarray:
        """Rows X (n, dx) in the other space: (n, dy)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=NUMBERS, reset=False)
        out = np.empty((len(X), self.map_.matrix.shape[1]))
        for block in row_blocks(*X.shape, X):
            out[block] = self.map_(X[block])
        return out[:, 0] if self._is_column else out

    def predict(self, X: Any) -> np.ndarray:
        """The same as `transform`, by scikit-learn's name for it in a regressor."""
        return self.transform(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # a rotation fits no noise
        return tags
