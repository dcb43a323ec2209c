"""The work of `relrep embed` with an encoder: read items, train or open, encode, write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import encoders, sources, store
from relrep_cli.base.errors import DataError, UsageError, printable, unknown
from relrep_cli.base.output import detail, progress, say
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.cli import options
from relrep_cli.cli.recipe_options import read_lines
from relrep_cli.embedding import ABSOLUTE, Embedding, Step, duplicates, make_step, row_numbers, text
from relrep_cli.encoders import ENCODERS, Checkpoint, Trained, pretrained
from relrep_cli.encoders.pretrained import MODELS
from relrep_cli.sources import SOURCES, Items
from relrep_cli.sources import positives as pairs
from relrep_cli.sources.base import part_of

NONE = "none"
SAVED = ".safetensors"
LABEL = "label"
POSITIVES = 3  # nearest neighbours, unless --k says more
LARGEST_STATE = 1 << 31  # bytes of a training's state


@dataclass(frozen=True)
class Job:
    """What the options of a run with an encoder were given."""

    source: str
    kind: str
    columns: dict[str, str]
    encoder: str
    output: str
    save: str
    positives: str
    k: int | None
    dtype: str
    device: str
    force: bool
    dry_run: bool
    seed: int
    given: options.Given


def encode(job: Job) -> None:
    """Do it, unless the output is up to date."""
    trained, params = _asked(job)
    kind = sources.chosen(job.source, job.kind, job.given.names(SOURCES), _takes(job, trained))
    items = sources.read(job.source, kind, job.given.choose(SOURCES, [kind])[kind])
    items = _with_columns(items, job)
    items, partners = _paired(job, items, params)
    model = None
    if pretrained.scheme_of(job.encoder):
        model, space = pretrained.open_model(job.encoder, items, job.device, params)
        params = {**params, "encoder": space}
    step = make_step("embed", {**params, "dtype": job.dtype}, job.seed, [_as_input(job.source, items), *partners])
    if not job.force and store.identify(job.output) == step["id"] and _holds_encoder(job):
        return say(f"{job.output}: up to date.")
    _check_targets(job)
    if job.dry_run:
        return options.plan([f"embed {len(items.x)} items of {job.source} by {job.encoder} to {job.output}"])
    if model is not None:
        return _write(job, items, pretrained.blocks(model, items, params["batch"]), dict(items.obs), space, step)
    kept = records_for(job.output, None, job.force)
    trained = trained or _train(job, items, params, _checkpoint(kept, f"{step['id']}{SAVED}"))
    if job.save:
        store.write_bytes(job.save, encoders.to_bytes(trained), job.force)
    obs = {**items.obs, **_errors(trained, items, job.device)}
    vectors = encoders.encode(trained, items, device=job.device)
    _write(job, items, vectors, obs, encoders.space(trained), step)
    kept.close()


def _asked(job: Job) -> tuple[Trained | None, dict[str, Any]]:
    """The encoder, if it is a saved one, and the parameters that the step records. Raises UsageError."""
    name, given = job.encoder, job.given
    scheme = pretrained.scheme_of(name)
    if scheme or name.endswith(SAVED):
        given.refuse(ENCODERS, f"--encoder {name}, which is trained already")
        if job.positives:
            raise UsageError(
                f"--positives does not go with --encoder {name}, which is trained already", "Leave out --positives."
            )
    if job.save and not job.save.endswith(SAVED):
        raise UsageError(f"--save-encoder {job.save}: the name must end in {SAVED}", "Choose such a name.")
    if scheme and job.save:
        raise UsageError(
            f"--save-encoder keeps an encoder that this run trains, and {name} is on disk already", "Leave out --save-encoder."
        )
    if scheme:
        return None, given.choose(MODELS, [scheme])[scheme]
    given.refuse(MODELS, f"--encoder {name}, which is no pretrained model")
    if name.endswith(SAVED):
        trained = encoders.load(name)
        return trained, {"encoder": encoders.space(trained)}
    if name not in ENCODERS:
        raise unknown("encoder", name, [*ENCODERS, NONE, f"FILE{SAVED}", *(f"{scheme}:NAME" for scheme in MODELS)])
    return None, {"encoder": name, **given.choose(ENCODERS, [name])[name]}


def columns_of(files: dict[str, str]) -> dict[str, np.ndarray]:
    """The columns of text files, by name. Of splits, words that mean train, valid or test become these: val, dev."""
    lines = {name: read_lines(path) for name, path in files.items()}
    known = {word: (word.isalpha() and part_of(word)) or word for word in set(lines.get("split", []))}
    return {name: text([known[word] for word in words] if name == "split" else words) for name, words in lines.items()}


def _with_columns(items: Items, job: Job) -> Items:
    """The items with the ids, labels and splits of text files instead of their own. Raises DataError where these do not fit."""
    found = columns_of(job.columns)
    for name, values in found.items():
        if len(values) != len(items.x):
            counts = f"{len(values)} lines for the {len(items.x)} items of {job.source}"
            raise DataError(counts, "Give one for each item.", file=job.columns[name])
    ids = found.pop("ids", items.ids)
    if twice := duplicates(ids):
        raise DataError(
            f"{len(twice)} ids occur more than once, such as {printable(twice[0])}",
            "Give each item an id of its own.",
            file=job.columns["ids"],
        )
    return replace(items, ids=ids, obs={**items.obs, **found})


def _takes(job: Job, trained: Trained | None) -> frozenset[str]:
    """The kinds of items that the encoder takes: a table may hold texts or vectors."""
    scheme = pretrained.scheme_of(job.encoder)
    kinds: frozenset[str] = MODELS[scheme].takes if scheme else ENCODERS[trained.name if trained else job.encoder].takes
    return kinds


def _paired(job: Job, items: Items, params: dict[str, Any]) -> tuple[Items, list[Embedding]]:
    """The items with the positives that --positives names, and the files these come from."""
    if not job.positives:
        return items, []
    if "augment" not in params:
        takers = ", ".join(entry.name for entry in ENCODERS.values() if "augment" in entry.keywords)
        raise UsageError(f"--positives does not go with --encoder {job.encoder}", f"It works with {takers}.")
    rows = _training_rows(items)
    if job.positives == LABEL:
        params["positives"] = LABEL
        if items.label is None:
            raise DataError("the items have no labels, which --positives label needs", "Give items with labels.")
        return replace(items, pairs=pairs.by_label(items.label, rows)), []
    params["positives_k"] = k = job.k or POSITIVES
    e = store.digested(store.read(job.positives))
    return replace(items, pairs=pairs.by_neighbors(items.ids, rows, items.rows_of("valid"), e, k)), [e]


def _check_targets(job: Job) -> None:
    if job.output == job.save:
        raise UsageError("-o and --save-encoder name the same file", "Choose another name for one.", file=job.output)
    inputs = [name for name in (job.source, *job.columns.values(), job.encoder, job.positives) if name]
    store.refuse(job.output, job.force, inputs, store.HDF5)
    if job.save:
        store.refuse(job.save, job.force, inputs)


def _checkpoint(kept: Records, name: str) -> Checkpoint:
    """The state of the training, in a file that is named after what is computed; -v tells what every epoch brings."""

    def load() -> bytes | None:
        state = kept.get_bytes(name, LARGEST_STATE)
        if state is not None:
            say("goes on after the last whole epoch of the run that was stopped.")
        return state

    return Checkpoint(
        load,
        lambda state: kept.put_bytes(name, state),
        lambda record: detail(", ".join(f"{term} {value:.5g}" for term, value in record.items())),
    )


def _holds_encoder(job: Job) -> bool:
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


def _train(job: Job, items: Items, params: dict[str, Any], checkpoint: Checkpoint) -> Trained:
    """Train on the training rows."""
    entry = ENCODERS[job.encoder]
    known = {name: params[name] for name in entry.keywords}
    with progress(f"training {job.encoder}") as advance:
        return entry.function(
            items,
            _training_rows(items) if entry.learns else np.arange(len(items.x)),
            **known,
            seed=job.seed,
            device=job.device,
            progress=advance,
            checkpoint=checkpoint,
        )


def _errors(trained: Trained, items: Items, device: str) -> dict[str, np.ndarray]:
    """What each item loses in its reconstruction, as a column, where the encoder makes one."""
    blocks = encoders.errors(trained, items, device=device)
    if blocks is None:
        return {}
    with progress("reconstructing") as advance:
        return {"reconstruction_error": np.concatenate(list(_told(blocks, len(items.x), advance))).astype(np.float64)}


def _told(blocks: Iterator[np.ndarray], n: int, advance: Any) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        done += len(block)
        advance(done, n, "")
        yield block


def _write(job: Job, items: Items, vectors: Iterator[np.ndarray], obs: dict[str, np.ndarray], space: str, step: Step) -> None:
    """Write the vectors, block by block. Their width is that of the first block."""
    first = next(vectors)
    d = first.shape[1]
    with progress("encoding") as advance:
        store.write(
            job.output,
            _told(chain([first], vectors), len(items.x), advance),
            shape=(len(items.x), d),
            dtype=job.dtype,
            ids=items.ids,
            obs=obs,
            var={"id": row_numbers(d)},
            kind=ABSOLUTE,
            space=space,
            steps=[step],
            force=job.force,
        )
    say(f"{job.output}: {len(items.x)} x {d}, space {printable(space)}.")
