"""The files that stitch writes besides its table: vectors, heads, aggregators, predictions and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import PLAIN_STYLE, Record, Style, say
from relrep_cli.embedding import ABSOLUTE, RELATIVE, Embedding, Step, chain, make_step
from relrep_cli.heads.decoder import pixels
from relrep_cli.heads.heads import HEADS, Trained
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.plots.looks import PLAIN_LOOK, Look
from relrep_cli.relative.projection import basis, relative_blocks
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.splits import drawn_test_rows
from relrep_cli.stitching import translators
from relrep_cli.stitching.grid import check, score
from relrep_cli.stitching.grid_run import Run
from relrep_cli.stitching.methods import Method
from relrep_cli.stitching.saved_heads import aggregator_of, saved_head
from relrep_cli.stitching.spaces import TEST_SIZE, Spaces
from relrep_cli.stitching.universe import PENALTY

SHOWN = 12  # images of a picture
PREDICTIONS = ["id", "prediction", "truth", "encoder", "head", "method", "decoder"]


@dataclass(frozen=True, eq=False)
class OutputFiles:
    """The files to write, "" for those that are not asked for, and what was collected for them while stitching.

    images: whether heads are decoders of images. drawn: size and seed of the split of files that have none. first: the first
    file's heads by (method, head), of the first seed. predicted: (method, head, encoder, head's space, predictions) of every
    cell.
    """

    vectors: str = ""
    head: str = ""
    aggregator: str = ""
    predictions: str = ""
    plot: str = ""
    force: bool = False
    images: bool = False
    drawn: tuple[float, int] = (TEST_SIZE, 0)
    style: Style = PLAIN_STYLE
    look: Look = PLAIN_LOOK
    first: dict[tuple[str, str], Trained] = field(default_factory=dict)
    predicted: list[tuple[str, str, int, int, np.ndarray]] = field(default_factory=list)

    @property
    def retrains(self) -> bool:
        """Whether the heads themselves are needed, so that cached scores will not do."""
        pictures = self.images and self.plot
        return bool(self.vectors or self.head or self.aggregator or self.predictions or pictures)

    @property
    def names_inputs(self) -> bool:
        """Whether a file names its inputs by their digest."""
        return bool(self.vectors or self.head)

    def check(self, files: Sequence[str], inputs: Sequence[str], methods: Sequence[Method], heads: Sequence[str]) -> None:
        """Raise UsageError, before any work, when one of the files cannot be written. inputs: other files that are read."""
        named = {"-o": self.vectors, "--save-head": self.head, "--save-aggregator": self.aggregator}
        named |= {"--predictions": self.predictions, "--plot": self.plot}
        if self.predictions:
            store.agree(self.predictions, self.style)
        for option, target in named.items():
            if target:
                store.refuse(target, True, [*files, *inputs], store.HDF5 if option == "-o" else ())
        store.refuse_same(named)
        if self.vectors and len(files) != 2:
            raise UsageError(
                f"-o writes the second of two files in the space of the first; there are {len(files)}", "Name two files."
            )
        if self.vectors or self.head:
            option = "-o" if self.vectors else "--save-head"
            if len(methods) != 1 or len(heads) != 1:
                raise UsageError(f"{option} is for one method and one head", "Name them with --method and --head.")
            if self.vectors and not methods[0].anchored:
                finding = f"-o has nothing to write: --method {methods[0].label} leaves vectors as they are"
                raise UsageError(finding, "Choose another --method.")
        if self.aggregator and sum(m.trains for m in methods) != 1:
            raise UsageError(
                "--save-aggregator needs exactly one aggregator that is trained",
                "Write --method product --aggregate self-attention, for example.",
            )
        if self.images and (self.head or self.predictions):
            raise UsageError("--save-head and --predictions are for classes and numbers, not for images", "Leave them out.")
        if self.plot:
            from relrep_cli.plots.drawing import ready

            ready(self.plot)
            if all(m.label == "none" for m in methods) and not self.images:
                raise UsageError("--plot has nothing to draw: --method none stitches nothing", "Choose another --method.")

    def check_without_target(self, files: Sequence[str], column: str, m: Method) -> None:
        """Raise DataError when more than vectors is asked for, and no file has the column that heads learn."""
        asked: Record = {"--save-head": self.head, "--save-aggregator": self.aggregator, "--predictions": self.predictions}
        asked |= {"--plot": self.plot, f"--aggregate {m.recipe and m.recipe.aggregate}": m.trains}
        if option := next((name for name, value in asked.items() if value), None):
            raise DataError(
                f"no column {printable(column)!r}, and {option} needs one to learn",
                "Name a column with --target.",
                file=files[0],
            )

    def kept_of(self, name: str, label: str, e: int, h: int, trained: list[Trained], predicted: list[np.ndarray]) -> Any:
        """What will be written of one cell, for `collect`, perhaps in another process; None for nothing."""
        head = trained[0] if e == h == 0 and (self.head or self.vectors or self.aggregator) else None
        values = predicted[0][: SHOWN if self.images else None] if self.predictions or self.images else None
        return None if head is None and values is None else (name, label, e, h, head, values)

    def collect(self, name: str, label: str, e: int, h: int, head: Trained | None, values: np.ndarray | None) -> None:
        """Take what is kept of one cell."""
        if head is not None:
            self.first[label, name] = head
        if values is not None:
            self.predicted.append((label, name, e, h, values))

    def write(self, spaces: Spaces, run: Run, records: Sequence[Record]) -> None:
        """Write every file that is asked for. Raises DataError where the head for it was lost with its process."""
        if (self.head or self.aggregator) and not self.first:
            finding = f"the head of {spaces.es[0].uri} was lost with its process, so it cannot be saved"
            raise DataError(finding, "Run it again, with fewer processes at a time.")
        if self.aggregator:
            self._write_aggregator(spaces, run)
        if self.head:
            self._write_head(spaces, run, records)
        if self.vectors:
            self._write_vectors(spaces, run)
        if self.predictions:
            lines = list(_predictions(spaces, self.predicted))
            content = store.encoded(self.predictions, lines, PREDICTIONS, self.style)
            store.write_bytes(self.predictions, content, self.force, f"{len(lines)} predictions.")
        if self.plot:
            from relrep_cli.plots.matrices import indexes
            from relrep_cli.plots.stitching_maps import attentions

            if self.images:
                picture, note = self._pictures(spaces), f"{SHOWN} test images of {spaces.es[1].uri}, end to end and stitched."
            elif run.adaptation is not None:
                picture, note = attentions(records, self.plot), "attention of each subspace, before and after."
            else:
                count = len({(r["method"], r["decoder"]) for r in records})
                picture, note = indexes(records, self.plot, self.look), f"stitching index of {count} methods and heads."
            store.write_bytes(self.plot, picture, self.force, note)

    def _pictures(self, spaces: Spaces) -> bytes:
        """Originals of the first test items of the second file, then end to end and stitched by each method."""
        from relrep_cli.plots.strips import pictures

        assert spaces.target is not None
        truth = check(spaces.es[1], spaces.target)[1][1][:SHOWN]
        cells = {(label, h): values for label, _, e, h, values in self.predicted if e == 1 and label != "none"}
        lines = [("original", pixels(truth))]
        for label in dict.fromkeys(label for label, _ in cells):
            pair = ((f"{label}, end to end", cells.get((label, 1))), (f"{label}, stitched", cells.get((label, 0))))
            lines += [(name, values) for name, values in pair if values is not None]
        return pictures(lines, truth.shape[1:], self.plot)

    def _write_aggregator(self, spaces: Spaces, run: Run) -> None:
        m = next(m for m in run.methods if m.trains)
        name = next(n for n in run.heads if HEADS[n].joint)
        trained = aggregator_of(m.recipe, self.first[m.label, name])
        assert trained is not None and m.recipe is not None
        note = f"{m.recipe.aggregate} of {', '.join(m.recipe.similarities)}, trained on {spaces.es[0].uri}."
        store.write_bytes(self.aggregator, trained.to_bytes(), self.force, note)

    def _write_head(self, spaces: Spaces, run: Run, records: Sequence[Record]) -> None:
        m, name, e = run.methods[0], next(iter(run.heads)), spaces.es[0]
        trained = self.first[m.label, name]
        own = next(score(r) for r in records if r["encoder"] == r["head"] == e.uri)
        assert spaces.target is not None
        common = spaces.universe(m.universe, m.params) if m.universe else None
        vectors = common.anchors if common else spaces.anchors(0) if m.translator else None
        saved = saved_head(m, trained, e, spaces.target, own, vectors, spaces.recipe)
        if common:
            translation = {PENALTY: float(common.penalty)}
            saved = replace(
                saved, translator=m.universe, translation=translation, dims=common.anchors.shape[1], space=common.space
            )
        saved = replace(saved, drawn=self._drawn(e, spaces.recipe))
        store.write_bytes(self.head, saved.to_bytes(), self.force, f"{name} head of {e.uri} by {m.label}.")

    def _drawn(self, e: Embedding, recipe: Recipe | None) -> Record:
        """How the split of e is drawn again; nothing where it is the file's own, or follows that of another file."""
        size, seed = self.drawn
        anchors = np.zeros(0, "S1") if recipe is None else recipe.items(e)
        if not np.array_equal(drawn_test_rows(e, anchors, size, seed), e.obs["split"] == b"test"):
            return {}
        return {"size": size, "seed": seed, "anchors": "" if recipe is None else anchors_digest(recipe.anchor_ids)}

    def _write_vectors(self, spaces: Spaces, run: Run) -> None:
        m, (target, e) = run.methods[0], spaces.es
        trained = self.first.get((m.label, next(iter(run.heads))))
        recipe = m.recipe and replace(m.recipe, trained=m.recipe.trained or aggregator_of(m.recipe, trained))
        assert spaces.recipe is not None
        params = {"method": m.label, "anchors": anchors_digest(spaces.recipe.anchor_ids), **m.params}
        params |= recipe.params() | {"to": recipe.space()} if recipe else {}
        anchor_sources = map(store.digested, spaces.recipe.anchor_sources)
        step = make_step("stitch", params, run.seeds[0], [target, e, *anchor_sources])
        if not self.force and store.identify(self.vectors) == step["id"]:
            return say(f"{self.vectors}: up to date.")
        store.refuse(self.vectors, self.force)
        if recipe is not None:
            write_relative(self.vectors, e, recipe, chain([target, e], step), self.force)
        elif m.universe:
            common = spaces.universe(m.universe, m.params)
            write_absolute(self.vectors, e, common.space, common.maps[1], chain([target, e], step), self.force)
        else:
            carry = translators.fit(m.translator, spaces.anchors(1), spaces.anchors(0), dict(m.params))
            write_absolute(self.vectors, e, target.space, carry, chain([target, e], step), self.force)
        say(f"{self.vectors}: {e.n} items of {e.uri} by {m.label}, for heads of {target.uri}.")


def write_relative(output: str, e: Embedding, recipe: Recipe, steps: list[Step], force: bool) -> None:
    """The file of e in the relative coordinates of the recipe, as project writes it."""
    to = basis(e, recipe)
    store.write(
        output,
        relative_blocks(e.x, to),
        shape=(e.n, recipe.width()),
        dtype="float32",
        ids=e.ids,
        obs=e.obs,
        var=recipe.var(),
        kind=RELATIVE,
        space=recipe.space(),
        source_space=e.space,
        steps=steps,
        force=force,
    )


def write_absolute(output: str, e: Embedding, space: str, carry: translators.Affine, steps: list[Step], force: bool) -> None:
    """The file of e in the coordinates of another space."""
    d = len(carry.target)
    blocks = (carry.rows(e.x[block]).astype(np.float32) for block in row_blocks(e.n, max(e.d, d), e.x))
    store.write(
        output,
        blocks,
        shape=(e.n, d),
        dtype="float32",
        ids=e.ids,
        obs=e.obs,
        var={"id": np.arange(d).astype("S")},
        kind=ABSOLUTE,
        space=space,
        steps=steps,
        force=force,
    )


def _predictions(spaces: Spaces, predicted: Sequence[tuple[str, str, int, int, np.ndarray]]) -> Iterator[Record]:
    """One line for each test item of each cell."""
    assert spaces.target is not None
    for label, name, e, h, values in predicted:
        about = {"encoder": spaces.es[e].uri, "head": spaces.es[h].uri, "method": label, "decoder": name}
        rows, truth = check(spaces.es[e], spaces.target)[1]
        for i, value, true in zip(spaces.es[e].ids[rows].tolist(), values.tolist(), truth.tolist(), strict=True):
            named = {"prediction": spaces.target.named(value), "truth": spaces.target.named(true)}
            yield {"id": i.decode(errors="backslashreplace"), **named, **about}
