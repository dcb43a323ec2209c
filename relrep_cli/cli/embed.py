"""`relrep embed`: the way into the file format, from raw items or from vectors that exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import encoders, sources, store
from relrep_cli.blocks import row_blocks
from relrep_cli.cli import options
from relrep_cli.cli.anchoring import read_lines
from relrep_cli.embedding import ABSOLUTE, Embedding, chain, duplicates, make_step, row_numbers, text
from relrep_cli.encoders import ENCODERS, Checkpoint, Trained
from relrep_cli.errors import DataError, UsageError, printable, unknown
from relrep_cli.output import detail, progress, say
from relrep_cli.records import Records, records_for
from relrep_cli.sources import SOURCES, Items

EXAMPLES = (
    "relrep embed fashion-mnist/ --encoder conv-ae --dim 48 --seed 0 -o a.h5",
    "relrep embed vectors.npy --ids ids.txt --labels labels.txt --space my-model -o a.h5",
)
NONE = "none"
LARGEST_STATE = 1 << 31  # bytes of a training's state


def _complete(incomplete: str) -> list[tuple[str, str]]:
    known = {NONE: "Import vectors that exist", **{n: e.summary for n, e in ENCODERS.items()}}
    return [(name, summary) for name, summary in known.items() if name.startswith(incomplete)]


@options.command(ENCODERS, SOURCES)
def embed(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Folder or file of items, or a file of vectors.", show_default=False)
    ],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            "-e",
            autocompletion=_complete,
            metavar="NAME",
            help=f"Train one of: {', '.join(ENCODERS)}; or reuse a saved one (FILE.safetensors); none imports vectors.",
        ),
    ] = NONE,
    output: options.Output = "",
    source_: Annotated[
        str,
        typer.Option(
            "--source", help=f"What SOURCE is, if its looks mislead: {', '.join(SOURCES)}.", metavar="NAME", show_default=False
        ),
    ] = "",
    ids: Annotated[
        str | None,
        typer.Option("--ids", help="Text file of ids, one a line, for vectors without.", metavar="FILE", show_default=False),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Text file of labels, one a line.", metavar="FILE", show_default=False)
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option("--splits", help="Text file of train, valid or test, one a line.", metavar="FILE", show_default=False),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", help="Name of the coordinate frame of imported vectors.", metavar="NAME", show_default=False),
    ] = None,
    save_encoder: Annotated[
        str | None,
        typer.Option("--save-encoder", help="Keep the trained encoder.", metavar="FILE.safetensors", show_default=False),
    ] = None,
    dtype: options.Dtype = None,
    device: options.Device = "auto",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> None:
    """Turn items into vectors with an encoder, or import vectors that exist.

    Encoders read IDX image files (the MNIST family, plain or .gz) and train on the training split; a training that was
    stopped goes on after its last whole epoch when it is started again. Vectors are imported from HDF5, AnnData, .npy, .npz,
    .csv, .tsv, .parquet and .safetensors files.
    """
    if not output:
        raise UsageError("-o FILE is missing; -o - writes to stdout.")
    if encoder == NONE:
        for registry in (ENCODERS, SOURCES):
            given.refuse(registry, "--encoder none, which imports vectors")
        if save_encoder:
            raise UsageError("--save-encoder needs an encoder that is trained; name one with --encoder.")
        return _import(source, output, {"ids": ids, "label": labels, "split": splits}, space, dtype, force, dry_run)
    if ids or labels or splits or space:
        raise UsageError(
            "--ids, --labels, --splits and --space belong to imported vectors; an encoder's items bring their own."
        )
    _encode(source, source_, encoder, output, save_encoder, dtype or "float32", device, force, dry_run, seed, given)


def _import(
    source: str, output: str, files: dict[str, str | None], space: str | None, dtype: str | None, force: bool, dry_run: bool
) -> None:
    """Write the vectors of any readable file in format version 1."""
    columns = {name: text(read_lines(path)) for name, path in files.items() if path}
    e = store.read(source, columns=columns, space=space)
    e = store.digested(e)
    kept = dtype or ("float16" if e.x.dtype.itemsize == 2 else "float32")
    step = make_step("embed", {"encoder": NONE, "space": e.space, "dtype": kept, "columns": sorted(columns)}, None, [e])
    if not force and store.identify(output) == step["id"]:
        return say(f"{output}: up to date.")
    store.refuse(output, force, [source, *(p for p in files.values() if p)], store.HDF5)
    if dry_run:
        return options.plan([f"import {source}: {e.n} x {e.d} as {kept} to {output}"])
    if e.x.dtype.itemsize == 8 and dtype is None:
        say(f"{source}: is float64, stored as float32; --dtype float64 keeps it.")
    blocks = (np.asarray(e.x[b]) for b in row_blocks(*e.x.shape, e.x))
    _write(output, blocks, e, (e.n, e.d), kept, chain([e], step), force)


def _encode(
    source: str,
    kind: str,
    name: str,
    output: str,
    save: str | None,
    dtype: str,
    device: str,
    force: bool,
    dry_run: bool,
    seed: int,
    given: options.Given,
) -> None:
    trained = encoders.load(name) if name.endswith(".safetensors") else None
    if trained is not None:
        given.refuse(ENCODERS, f"--encoder {name}, which is trained already")
        params: dict[str, Any] = {"encoder": encoders.space(trained), "dtype": dtype}
    elif name in ENCODERS:
        params = {"encoder": name, **given.choose(ENCODERS, [name])[name], "dtype": dtype}
    else:
        raise unknown("encoder", name, [*ENCODERS, NONE, "FILE.safetensors"])
    kind = sources.chosen(source, kind, given.names(SOURCES))
    items = sources.read(source, kind, given.choose(SOURCES, [kind])[kind])
    step = make_step("embed", params, seed, [_as_input(source, items)])
    if not force and store.identify(output) == step["id"] and (not save or Path(save).exists()):
        return say(f"{output}: up to date.")
    if output == save:
        raise UsageError(f"{output}: -o and --save-encoder name the same file; choose another name for one.")
    for target in filter(None, (output, save)):
        store.refuse(target, force, [source, name], store.HDF5 if target == output else ())
    if dry_run:
        return options.plan([f"embed {len(items.x)} items of {source} by {name} to {output}"])
    kept = records_for(output, None, force)
    trained = trained or _train(name, items, params, device, seed, _checkpoint(kept, f"{step['id']}.safetensors"))
    if save:
        store.write_bytes(save, encoders.to_bytes(trained), force)
    e = Embedding(np.empty((0, 0)), items.ids, obs=_with_errors(trained, items, device), space=encoders.space(trained))
    d = trained.params["dim"]
    with progress("encoding") as advance:
        _write(output, _vectors(trained, items, device, advance), e, (len(items.x), d), dtype, [step], force)
    kept.close()


def _checkpoint(kept: Records, name: str) -> Checkpoint:
    """The state of the training, in a file that is named after what is computed."""
    return Checkpoint(lambda: kept.get_bytes(name, LARGEST_STATE), lambda state: kept.put_bytes(name, state))


def _as_input(source: str, items: Items) -> Embedding:
    return Embedding(items.x, items.ids, obs=items.obs, digest=items.digest, uri=source)


def _train(name: str, items: Items, params: dict[str, Any], device: str, seed: int, checkpoint: Checkpoint) -> Trained:
    """Train on the training split, or on all items when there is none."""
    known = {k: params[k] for k in ENCODERS[name].keywords}
    rows = np.arange(len(items.x)) if items.split is None else np.flatnonzero(items.split == b"train")
    if not len(rows):
        raise DataError(
            "the source has no training items; encode test items with a saved encoder (--encoder FILE.safetensors)."
        )
    with progress(f"training {name}") as advance:
        trained: Trained = ENCODERS[name].function(
            items, rows, **known, seed=seed, device=device, progress=advance, checkpoint=checkpoint
        )
    for record in trained.log:
        detail(", ".join(f"{k} {v:.5g}" for k, v in record.items()))
    return trained


def _with_errors(trained: Trained, items: Items, device: str) -> dict[str, np.ndarray]:
    """The columns of the items, and what each loses in its reconstruction, where the encoder makes one."""
    blocks = encoders.errors(trained, items, device=device)
    return {
        **items.obs,
        **({} if blocks is None else {"reconstruction_error": np.concatenate(list(blocks)).astype(np.float64)}),
    }


def _vectors(trained: Trained, items: Items, device: str, advance: Any) -> Iterator[np.ndarray]:
    done = 0
    for block in encoders.encode(trained, items, device=device):
        done += len(block)
        advance(done, len(items.x))
        yield block


def _write(
    output: str, blocks: Iterator[np.ndarray], e: Embedding, shape: tuple[int, int], dtype: str, steps: list[Any], force: bool
) -> None:
    twice = duplicates(e.ids)
    if twice:
        raise DataError(f"{len(twice)} ids stand more than once, such as {printable(twice[0])}.")
    store.write(
        output,
        blocks,
        shape=shape,
        dtype=dtype,
        ids=e.ids,
        obs=e.obs,
        var={"id": row_numbers(shape[1])},
        kind=ABSOLUTE,
        space=e.space,
        steps=steps,
        force=force,
    )
    say(f"{output}: {shape[0]} x {shape[1]}, space {printable(e.space)}.")
