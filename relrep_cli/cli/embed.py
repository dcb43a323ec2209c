"""`relrep embed`: the way into the file format, from raw items or from vectors that exist."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import typer

from relrep_cli import encoders, sources, store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli.embed_encoder import NONE, encoder_of
from relrep_cli.cli.engine_options import RowOptions, refuse_standard_input
from relrep_cli.cli.options import Device, DryRun, Force, Given, Output, Seed, command
from relrep_cli.cli.reading_options import TrustingFileOptions
from relrep_cli.embedding import Embedding
from relrep_cli.encoders import ENCODERS, Trained
from relrep_cli.encoders.decoding import decode_images
from relrep_cli.encoders.item_encoding import LABEL, Encoding, embed_items
from relrep_cli.encoders.item_rows import SAVED
from relrep_cli.encoders.pretrained import MODELS, scheme_of
from relrep_cli.plots.curves import training
from relrep_cli.plots.drawing import ready
from relrep_cli.sources import SOURCES, Items
from relrep_cli.sources.column_files import columns_of, with_columns
from relrep_cli.store.imports import import_vectors

POSITIVES = 3  # nearest neighbours, unless --k says otherwise

RAW = {"images": "images", "graph": "a graph"}
TITLE = "What to embed"
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


@dataclass(frozen=True, kw_only=True)
class Options:
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder or file of items or of vectors; - is stdin (HDF5, or lines of text).",
            show_default=False,
        ),
    ]
    encoder: Annotated[str, typer.Option("--encoder", "-e", autocompletion=_complete, metavar="NAME", help=ENCODER)] = NONE
    output: Output = ""
    source_kind: Annotated[
        str,
        typer.Option(
            "--source",
            autocompletion=_complete_source,
            help=f"Kind of SOURCE, if relrep does not recognise it: {', '.join(SOURCES)}.",
            metavar="NAME",
            show_default=False,
        ),
    ] = ""
    positives: Annotated[
        str,
        typer.Option(
            "--positives",
            help=f"Items that training pulls together: neighbours in an embedding FILE, or {LABEL}.",
            metavar=f"FILE|{LABEL}",
            show_default=False,
        ),
    ] = ""
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            help=f"How many nearest neighbours in the file of --positives count as positives. [default: {POSITIVES}]",
            min=1,
            show_default=False,
        ),
    ] = None
    ids: Annotated[str, _listed("--ids", "ids")] = ""
    labels: Annotated[str, _listed("--labels", "labels")] = ""
    splits: Annotated[str, _listed("--splits", "train, valid or test")] = ""
    space: Annotated[
        str | None,
        typer.Option("--space", help="Name of the space of imported vectors.", metavar="NAME", show_default=False),
    ] = None
    save_encoder: Annotated[
        str,
        typer.Option("--save-encoder", help="Keep the trained encoder.", metavar="FILE.safetensors", show_default=False),
    ] = ""
    decode: Annotated[
        bool,
        typer.Option(
            "--decode", help="Turn vectors of the space of a saved autoencoder (--encoder FILE.safetensors) into images (.npz)."
        ),
    ] = False
    plot_training: Annotated[
        str,
        typer.Option(
            "--plot-training",
            help="Draw the terms of the loss in every epoch to FILE (.png, .svg or .pdf).",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    dtype: Annotated[
        Literal["float16", "float32", "float64"] | None,
        typer.Option(
            "--dtype",
            help="Precision of the stored numbers [default: float32; float16 where float16 is imported].",
            show_default=False,
        ),
    ] = None
    device: Device = "auto"
    force: Force = False
    dry_run: DryRun = False
    seed: Seed = 0
    reading: TrustingFileOptions
    running: RowOptions
    given: Given


@command(Options, ENCODERS, SOURCES, MODELS)
def embed(options: Options) -> None:
    """Turn items into vectors with an encoder, or import vectors that exist.

    Items are images (IDX, CIFAR, folders of pictures, arrays), texts (lines or tables), citation graphs, or vectors. Encoders
    train on the training split; a training that was stopped continues after its last whole epoch when it is started again.
    Pretrained models are taken from disk. Vectors are imported from HDF5, AnnData, .npy, .npz, .csv, .tsv, .parquet,
    .safetensors and other files.
    """
    if not options.output:
        raise UsageError("-o FILE is missing", "Name the output file; -o - writes to stdout.")
    if options.k is not None and options.positives in ("", LABEL):
        raise UsageError("--k counts neighbours in the file of --positives FILE", "Give one, or leave --k out.")
    if options.decode:
        return _decode(options)
    if options.encoder == NONE:
        _check_import(options)
        return _import(options)
    if options.space:
        raise UsageError("--space is for imported vectors; an encoder names its own space", "Leave out --space.")
    if options.running.engine.elsewhere:
        refuse_standard_input([options.source])
    trained, params = encoder_of(options.encoder, options.given, options.positives, options.save_encoder)
    if options.plot_training:
        _check_plot(options, params)
    items = items_of(options, trained)
    embed_items(items, _encoding(options, trained, params))


def _decode(options: Options) -> None:
    if not options.encoder.endswith(SAVED):
        raise UsageError("--decode needs a saved autoencoder", f"Name it: --encoder FILE{SAVED}; --save-encoder writes one.")
    for registry in (ENCODERS, SOURCES, MODELS):
        options.given.refuse(registry, "--decode, which takes a trained encoder as it is")
    others = {
        "--positives": options.positives,
        "--save-encoder": options.save_encoder,
        "--plot-training": options.plot_training,
    }
    if idle := next((option for option, value in others.items() if value), ""):
        raise UsageError(f"{idle} does not go with --decode, which trains nothing", "Leave it out.")
    e = store.read(options.source, _reading(options))
    decode_images(e, encoders.load(options.encoder), options.output, options.device, options.force, (options.source,))


def _files(options: Options) -> dict[str, str]:
    """The text files of columns, by column."""
    files = {"ids": options.ids, "label": options.labels, "split": options.splits}
    return {name: path for name, path in files.items() if path}


def _check_import(options: Options) -> None:
    """Raise UsageError for options that need an encoder."""
    for registry in (ENCODERS, SOURCES, MODELS):
        idle = [name for name in options.given.names(registry) if name != "label_column"]
        if idle:
            options.given.refuse(registry, "--encoder none, which imports vectors")
    for option, value in (("--source", options.source_kind), ("--positives", options.positives)):
        if value:
            finding = f"{option} does not go with --encoder none, which imports vectors"
            raise UsageError(finding, "Leave it out, or name an encoder.")
    if options.save_encoder:
        raise UsageError("--save-encoder needs an encoder that is trained", "Name one with --encoder.")
    for option, value in (("--cluster", options.running.cluster), ("--shard", options.running.shard)):
        if value:
            raise UsageError(f"{option} divides the work of an encoder, and none is named", "Name one with --encoder.")
    if options.plot_training:
        raise UsageError("--plot-training needs an encoder that is trained", "Name one with --encoder.")


def _import(options: Options) -> None:
    files = _files(options)
    columns = columns_of(files)
    import_vectors(
        _vectors(options, columns),
        options.output,
        replaced=[*columns],
        inputs=[*files.values()],
        dtype=options.dtype,
        force=options.force,
        dry_run=options.dry_run,
    )


def _vectors(options: Options, columns: dict[str, Any]) -> Embedding:
    """The vectors of SOURCE. Raises UsageError where it holds raw items instead, which only an encoder can read."""
    try:
        return store.read(options.source, _reading(options), columns=columns, space=options.space)
    except DataError:
        raw = next((RAW[kind] for name in sources.fitting(options.source) if (kind := SOURCES[name].kind) in RAW), "")
        if not raw:
            raise
        remedy = "Name an --encoder that makes some."
        raise UsageError(f"holds {raw}, not vectors", remedy, file=options.source) from None


def _reading(options: Options) -> store.Reading:
    """What the user says of the file: --label-column is an option of the sources of texts, too."""
    return replace(options.reading.reading, label_column=options.given.values.get((SOURCES.noun, "label_column")))


def items_of(options: Options, trained: Trained | None) -> Items:
    """The items of SOURCE, of a kind that the encoder takes, with the columns of text files."""
    scheme = scheme_of(options.encoder)
    takes = MODELS[scheme].takes if scheme else ENCODERS[trained.name if trained else options.encoder].takes
    kind = sources.chosen(options.source, options.source_kind, options.given.names(SOURCES), takes)
    items = sources.read(options.source, kind, options.given.choose(SOURCES, [kind])[kind], options.reading.reading)
    return with_columns(items, _files(options), options.source)


def _check_plot(options: Options, params: dict[str, Any]) -> None:
    """Raise UsageError unless the training makes passes that --plot-training can draw."""
    ready(options.plot_training, "--plot-training")
    if "epochs" not in params:
        what = f"--plot-training draws the passes of a training, and --encoder {options.encoder} makes none"
        raise UsageError(what, "Leave it out.")
    if options.plot_training in (options.output, options.save_encoder):
        raise UsageError("two outputs have the same name", "Give them different names.", file=options.plot_training)


def _encoding(options: Options, trained: Trained | None, params: dict[str, Any]) -> Encoding:
    return Encoding(
        source=options.source,
        encoder=options.encoder,
        params=params,
        trained=trained,
        output=options.output,
        save=options.save_encoder,
        plot=options.plot_training,
        draw=partial(training, title=f"{options.encoder}: {options.source}", target=options.plot_training),
        positives=options.positives,
        k=options.k or POSITIVES,
        inputs=(*_files(options).values(),),
        trust_digest=options.reading.trust_digest,
        dtype=options.dtype or "float32",
        device=options.device,
        force=options.force,
        dry_run=options.dry_run,
        seed=options.seed,
        shard=options.running.part,
        engine=options.running.engine,
        setup="relrep_cli.cli.embed_session:rows_of_process",
        options=options,
    )
