"""`relrep embed`: the way into the file format, from raw items or from vectors that exist."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import sources, store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import say
from relrep_cli.cli import options
from relrep_cli.cli.embed_run import LABEL, NONE, POSITIVES, Job, columns_of, encode
from relrep_cli.embedding import ABSOLUTE, chain, make_step, row_numbers
from relrep_cli.encoders import ENCODERS
from relrep_cli.encoders.pretrained import MODELS
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.sources import SOURCES

RAW = {"images": "images", "graph": "a graph"}
EXAMPLES = (
    "relrep embed fashion-mnist/ --encoder conv-ae --dim 48 --seed 0 -o a.h5",
    "relrep embed cifar10/ --size 32 --encoder vicreg --epochs 20 --save-encoder v.safetensors -o v.h5",
    "relrep embed questions.txt --encoder st:all-MiniLM-L6-v2/ -o minilm.h5",
    "relrep embed vectors.npy --ids ids.txt --labels labels.txt --space my-model -o a.h5",
)
ENCODER = (
    f"Train one of: {', '.join(ENCODERS)}; reuse a saved one (FILE.safetensors); "
    f"or open a pretrained one: {', '.join(f'{name}:NAME' for name in MODELS)}; none imports vectors."
)


def _complete(incomplete: str) -> list[tuple[str, str]]:
    known = {NONE: "Import vectors that exist", **{n: e.summary for n, e in ENCODERS.items()}}
    known |= {f"{n}:": e.summary for n, e in MODELS.items()}
    return [(name, summary) for name, summary in known.items() if name.startswith(incomplete)]


def _complete_source(incomplete: str) -> list[tuple[str, str]]:
    return [(name, entry.summary) for name, entry in SOURCES.items() if name.startswith(incomplete)]


def _listed(option: str, what: str) -> Any:
    words = f"Text file of {what}, one a line, in place of the source's own."
    return typer.Option(option, help=words, metavar="FILE", show_default=False)


@options.legacy_command(ENCODERS, SOURCES, MODELS)
def embed(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder or file of items or of vectors; - is stdin (HDF5, or lines of text).",
            show_default=False,
        ),
    ],
    encoder: Annotated[str, typer.Option("--encoder", "-e", autocompletion=_complete, metavar="NAME", help=ENCODER)] = NONE,
    output: options.Output = "",
    source_kind: Annotated[
        str,
        typer.Option(
            "--source",
            autocompletion=_complete_source,
            help=f"What SOURCE is, if its looks mislead: {', '.join(SOURCES)}.",
            metavar="NAME",
            show_default=False,
        ),
    ] = "",
    positives: Annotated[
        str,
        typer.Option(
            "--positives",
            help=f"Items that are to lie together: neighbours in an embedding FILE, or {LABEL}.",
            metavar=f"FILE|{LABEL}",
            show_default=False,
        ),
    ] = "",
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            help=f"Nearest neighbours in that file that are positives; {POSITIVES} unless told.",
            min=1,
            show_default=False,
        ),
    ] = None,
    ids: Annotated[str, _listed("--ids", "ids")] = "",
    labels: Annotated[str, _listed("--labels", "labels")] = "",
    splits: Annotated[str, _listed("--splits", "train, valid or test")] = "",
    space: Annotated[
        str | None,
        typer.Option("--space", help="Name of the coordinate frame of imported vectors.", metavar="NAME", show_default=False),
    ] = None,
    save_encoder: Annotated[
        str,
        typer.Option("--save-encoder", help="Keep the trained encoder.", metavar="FILE.safetensors", show_default=False),
    ] = "",
    dtype: options.Dtype = None,
    device: options.Device = "auto",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> None:
    """Turn items into vectors with an encoder, or import vectors that exist.

    Items are images (IDX, CIFAR, folders of pictures, arrays), texts (lines or tables), citation graphs, or vectors. Encoders
    train on the training split; a training that was stopped goes on after its last whole epoch when it is started again.
    Pretrained models are taken from disk. Vectors are imported from HDF5, AnnData, .npy, .npz, .csv, .tsv, .parquet,
    .safetensors and other files.
    """
    if not output:
        raise UsageError("-o FILE is missing", "Name the output file; -o - writes to stdout.")
    if k is not None and positives in ("", LABEL):
        raise UsageError("--k counts neighbours in the file of --positives FILE", "Give one, or leave --k out.")
    columns = {name: path for name, path in (("ids", ids), ("label", labels), ("split", splits)) if path}
    if encoder == NONE:
        for registry in (ENCODERS, SOURCES, MODELS):
            given.refuse(registry, "--encoder none, which imports vectors")
        for option, value in (("--source", source_kind), ("--positives", positives)):
            if value:
                raise UsageError(
                    f"{option} does not go with --encoder none, which imports vectors", "Leave it out, or name an encoder."
                )
        if save_encoder:
            raise UsageError("--save-encoder needs an encoder that is trained", "Name one with --encoder.")
        return _import(source, output, columns, space, dtype, force, dry_run)
    if space:
        raise UsageError("--space names imported vectors, and an encoder names its own space", "Leave out --space.")
    kept = dtype or "float32"
    told = (encoder, output, save_encoder, positives, k, kept, device, force, dry_run, seed, given)
    encode(Job(source, source_kind, columns, *told))


def _import(
    source: str, output: str, files: dict[str, str], space: str | None, dtype: str | None, force: bool, dry_run: bool
) -> None:
    """Write the vectors of any readable file in format version 1."""
    columns = columns_of(files)
    try:
        e = store.read(source, columns=columns, space=space)
    except DataError:
        raw = next((RAW[kind] for name in sources.fitting(source) if (kind := SOURCES[name].kind) in RAW), "")
        if not raw:
            raise
        raise UsageError(f"holds {raw}, not vectors", "Name an --encoder that makes some.", file=source) from None
    e = store.digested(e)
    kept = dtype or ("float16" if e.x.dtype.itemsize == 2 else "float32")
    step = make_step("embed", {"encoder": NONE, "space": e.space, "dtype": kept, "columns": sorted(columns)}, None, [e])
    if not force and store.identify(output) == step["id"]:
        return say(f"{output}: up to date.")
    store.refuse(output, force, [source, *files.values()], store.HDF5)
    if dry_run:
        return options.plan([f"import {source}: {e.n} x {e.d} as {kept} to {output}"])
    if e.x.dtype.itemsize == 8 and dtype is None:
        say(f"{source}: is float64, stored as float32; --dtype float64 keeps it.")
    store.write(
        output,
        (np.asarray(e.x[b]) for b in row_blocks(*e.x.shape, e.x)),
        shape=(e.n, e.d),
        dtype=kept,
        ids=e.ids,
        obs=e.obs,
        var={"id": row_numbers(e.d)},
        kind=ABSOLUTE,
        space=e.space,
        steps=chain([e], step),
        force=force,
    )
    say(f"{output}: {e.n} x {e.d}, space {printable(e.space)}.")
