"""From items to an embedding file: train an encoder or take a trained one, encode, write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import encoders, store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import progress, say
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.embedding import ABSOLUTE, Embedding, Step, make_step, row_numbers
from relrep_cli.encoders import ENCODERS, Checkpoint, Trained, pretrained
from relrep_cli.encoders.encoding_costs import cost_of
from relrep_cli.encoders.item_rows import SAVED, ItemRows, kept_encoder
from relrep_cli.encoders.training_states import checkpoint
from relrep_cli.engine.estimates import takes
from relrep_cli.engine.log import one_task
from relrep_cli.engine.running import HERE, Engine
from relrep_cli.engine.shards import Shard
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.sources import Items
from relrep_cli.sources import positives as pairs
from relrep_cli.store.row_parts import SHARD, rows_of_shard, stated
from relrep_cli.store.shared_rows import SharedRows, rows_of_task

LABEL = "label"
LARGEST_NUMBER = 1e18  # sums of squares of such numbers fit into float32


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What to make of items, and where to write it.

    source: URI of the items. encoder: a registered name, a saved file, or SCHEME:NAME of a pretrained model. params: of the
    encoder or the model, as the history of the output records them. trained: the encoder of a saved file. positives: "",
    "label" or the URI of an embedding, whose k nearest neighbours are to lie together. save: file for the trained encoder,
    "" for none. plot: file for a picture of the training, "" for none, which `draw` makes of its log. inputs: further files
    that must not be overwritten. trust_digest: believe the digest that `positives` states. shard: write only this part. engine:
    where items are encoded. setup, options: how another process makes the vectors, see SharedRows; it gets them as ItemRows.
    """

    source: str
    encoder: str
    params: dict[str, Any]
    trained: Trained | None = None
    output: str
    save: str = ""
    plot: str = ""
    draw: Callable[[list[dict[str, float]]], bytes] = lambda log: b""
    positives: str = ""
    k: int = 3
    inputs: tuple[str, ...] = ()
    trust_digest: bool = False
    dtype: str = "float32"
    device: str = "auto"
    force: bool = False
    dry_run: bool = False
    seed: int = 0
    shard: Shard | None = None
    engine: Engine = HERE
    setup: str = ""
    options: Any = None

    @property
    def elsewhere(self) -> bool:
        """Whether other processes encode, or this one encodes only a part."""
        return self.engine.elsewhere or self.shard is not None


def embed_items(items: Items, job: Encoding) -> None:
    """Write the vectors of the items, unless the output is up to date.

    Raises UsageError, DataError or WriteError.
    """
    _refuse_beyond_float32(items, job.source)
    _refuse_undivided(items, job)
    if job.shard is not None:
        job = replace(job, output=job.shard.file(job.output))
    items, partners, params = _with_positives(items, job)
    model = None
    if pretrained.scheme_of(job.encoder):
        model, space = pretrained.open_model(job.encoder, items, job.device, params)
        params = {**params, "encoder": space}
    step = make_step("embed", {**params, "dtype": job.dtype}, job.seed, [_as_input(job.source, items), *partners])
    if (
        not job.force
        and store.identify(job.output) == step["id"]
        and _holds_encoder(job)
        and (not job.plot or Path(job.plot).exists())
    ):
        return say(f"{job.output}: up to date.")
    _check_targets(job)
    if job.dry_run:
        batch = params["batch"] if model else encoders.rows_at_once(tuple(items.x.shape[1:]))
        own = items if job.shard is None else _own_part(items, job, batch)[0]
        say(f"would: embed {len(own.x)} items of {job.source} by {job.encoder} to {job.output}")
        cost = None if model else cost_of(items, job.encoder, params, job.trained, len(own.x))
        return say(f"would: {takes(cost, max(1, job.engine.processes))}")
    records = records_for(job.output, None)
    if model is not None:
        own, uns = _own_part(items, job, params["batch"])
        vectors = pretrained.blocks(model, own, params["batch"])
        _write(job, own, Vectors(vectors, dict(own.obs), space, uns, params["batch"], ""), step, records)
        return records.close()
    trained = job.trained or _train(job, items, params, checkpoint(records, f"{step['id']}{SAVED}"))
    if job.save:
        store.write_bytes(job.save, encoders.to_bytes(trained), job.force)
    if job.plot:
        store.write_bytes(job.plot, job.draw(trained.log), job.force)
    batch = encoders.rows_at_once(trained.shape)
    own, uns = _own_part(items, job, batch)
    obs = {**own.obs, **_errors(trained, own, job.device)}
    kept = kept_encoder(trained, records, str(step["id"])) if job.engine.elsewhere else ""
    vectors = encoders.encode(trained, own, device=job.device)
    _write(job, own, Vectors(vectors, obs, encoders.space(trained), uns, batch, kept), step, records)
    records.close()


@dataclass(frozen=True, eq=False)
class Vectors:
    """What is to be written of items. uns: what the file says of its part. batch: rows of a block. encoder: see ItemRows."""

    blocks: Iterator[np.ndarray]
    obs: dict[str, np.ndarray]
    space: str
    uns: dict[str, np.ndarray]
    batch: int
    encoder: str


def _refuse_undivided(items: Items, job: Encoding) -> None:
    """Raise UsageError where --shard or --cluster has nothing to divide."""
    option = "--shard" if job.shard is not None else "--cluster"
    if job.elsewhere and items.kind == "graph":
        raise UsageError(f"a graph is encoded as a whole, and does not go with {option}", f"Remove {option}.")
    if job.shard is not None and not job.trained and not pretrained.scheme_of(job.encoder):
        raise UsageError(
            "--shard would train the encoder in every part", "Train it once with --save-encoder, then name the saved file."
        )
    if job.elsewhere and job.output == "-":
        raise UsageError(f"{option} does not go with -o -", "Name a file.")


def _own_part(items: Items, job: Encoding, batch: int) -> tuple[Items, dict[str, np.ndarray]]:
    """The items of this part, and what the file says of it. Parts begin where batches begin, so no bit changes."""
    if job.shard is None:
        return items, {}
    rows = rows_of_shard(len(items.x), batch, job.shard, job.source)
    return items.part(rows), stated(job.shard, rows.start, len(items.x))


def embedded(items: Items, job: Encoding) -> Embedding:
    """The vectors of the items in memory, for callers that write no file. job.output is not read."""
    _refuse_beyond_float32(items, job.source)
    if pretrained.scheme_of(job.encoder):
        model, space = pretrained.open_model(job.encoder, items, job.device, job.params)
        vectors, obs = pretrained.blocks(model, items, job.params["batch"]), dict(items.obs)
    else:
        nothing = Checkpoint(lambda: None, lambda state: None, lambda record: None)
        trained = job.trained or _train(job, items, job.params, nothing)
        vectors, space = encoders.encode(trained, items, device=job.device), encoders.space(trained)
        obs = {**items.obs, **_errors(trained, items, job.device)}
    step = make_step("embed", {**job.params, "dtype": job.dtype}, job.seed, [_as_input(job.source, items)])
    x = np.concatenate(list(vectors)).astype(job.dtype)
    return Embedding(x, items.ids, obs=obs, space=space, steps=[step], uri=job.source)


def _refuse_beyond_float32(items: Items, source: str) -> None:
    """Raise DataError for vectors of which float32, in which encoders compute, keeps nothing, or not their squares."""
    if items.kind != "vectors" or items.x.dtype.itemsize < 4:
        return
    peak = max(float(np.abs(items.x[block]).max()) for block in row_blocks(len(items.x), items.x.shape[1], items.x))
    if peak > LARGEST_NUMBER or 0 < peak < float(np.finfo(np.float32).tiny):
        what = f"its largest number is {peak:.0e}, and encoders compute in float32, squares included"
        raise DataError(what, "Multiply the vectors by a constant.", file=source)


def _with_positives(items: Items, job: Encoding) -> tuple[Items, list[Embedding], dict[str, Any]]:
    """The items with their positives, the files these come from, and the parameters that record them."""
    if not job.positives:
        return items, [], job.params
    if "augment" not in job.params:
        takers = ", ".join(entry.name for entry in ENCODERS.values() if "augment" in entry.keywords)
        raise UsageError(f"--positives does not go with --encoder {job.encoder}", f"It works with {takers}.")
    rows = _training_rows(items)
    if job.positives == LABEL:
        if items.label is None:
            raise DataError("the items have no labels, which --positives label needs", "Give items with labels.")
        return replace(items, pairs=pairs.by_label(items.label, rows)), [], {**job.params, "positives": LABEL}
    e = store.digested(store.read(job.positives, store.Reading(trust_digest=job.trust_digest)))
    positives = pairs.by_neighbors(items.ids, rows, items.rows_of("valid"), e, job.k)
    return replace(items, pairs=positives), [e], {**job.params, "positives_k": job.k}


def _check_targets(job: Encoding) -> None:
    store.refuse_same({"-o": job.output, "--save-encoder": job.save, "--plot-training": job.plot})
    inputs = [name for name in (job.source, *job.inputs, job.encoder, job.positives) if name]
    store.refuse(job.output, job.force, inputs, store.HDF5)
    for name in filter(None, (job.save, job.plot)):
        store.refuse(name, job.force, inputs)


def _holds_encoder(job: Encoding) -> bool:
    """Whether the file of --save-encoder, if one is named, holds the encoder that made the output."""
    if not job.save or not Path(job.save).exists():
        return not job.save
    with suppress(DataError):
        return encoders.space(encoders.load(job.save)) == store.read(job.output, judge=False).space
    return False


def _as_input(source: str, items: Items) -> Embedding:
    """The items as an input of the step, whose id tells other ids apart, too: the digest is of the items alone."""
    obs = {**items.obs, "id": items.ids}
    return Embedding(np.empty((len(items.x), 0)), items.ids, obs=obs, digest=items.digest, uri=source)


def _training_rows(items: Items) -> np.ndarray:
    """The rows of the training split, or all when there is none."""
    rows = np.arange(len(items.x)) if items.split is None else items.rows_of("train")
    if not len(rows):
        raise DataError(
            "the source has no training items",
            "Say which they are with --splits FILE, or encode with a saved encoder (--encoder FILE.safetensors).",
        )
    return rows


def _train(job: Encoding, items: Items, params: dict[str, Any], checkpoint: Checkpoint) -> Trained:
    """Train on the training rows."""
    entry = ENCODERS[job.encoder]
    own = {name: params[name] for name in entry.keywords}
    with progress(f"training {job.encoder}") as advance:
        return entry.function(
            items,
            _training_rows(items) if entry.learns else np.arange(len(items.x)),
            **own,
            seed=job.seed,
            device=job.device,
            progress=advance,
            checkpoint=checkpoint,
        )


def _errors(trained: Trained, items: Items, device: str) -> dict[str, np.ndarray]:
    """The column reconstruction_error (n,), where the encoder reconstructs items."""
    blocks = encoders.errors(trained, items, device=device)
    if blocks is None:
        return {}
    with progress("reconstructing") as advance:
        return {"reconstruction_error": np.concatenate(list(_counted(blocks, len(items.x), advance))).astype(np.float64)}


def _counted(blocks: Iterator[np.ndarray], n: int, advance: Callable[[int, int, str], None]) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        done += len(block)
        advance(done, n, "")
        yield block


def _write(job: Encoding, items: Items, vectors: Vectors, step: Step, records: Records) -> None:
    """Write the vectors, block by block. Their width is that of the first block."""
    with ExitStack() as stack:
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # store.write names the row
        stack.enter_context(one_task(job.engine.own_log, "encoding", job.output))
        first = next(vectors.blocks)
        d = first.shape[1]
        blocks: Iterator[np.ndarray] | SharedRows
        if job.engine.elsewhere:
            start = int(vectors.uns[SHARD][2]) if vectors.uns else 0
            shared = ItemRows(job.options, start, vectors.encoder, job.params)
            rows = rows_of_task(vectors.batch, d)
            blocks = SharedRows("encoding", job.setup, shared, rows, job.engine, records, str(step["id"]))
        else:
            advance = stack.enter_context(progress("encoding"))
            blocks = _counted(chain([first], vectors.blocks), len(items.x), advance)
        store.write(
            job.output,
            blocks,
            shape=(len(items.x), d),
            dtype=job.dtype,
            ids=items.ids,
            obs=vectors.obs,
            var={"id": row_numbers(d)},
            kind=ABSOLUTE,
            space=vectors.space,
            steps=[step],
            uns=vectors.uns,
            force=job.force,
        )
    say(f"{job.output}: {len(items.x)} x {d}, space {printable(vectors.space)}.")
