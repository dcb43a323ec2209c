"""Encoders that others have trained, each behind a package that is installed only if it is wanted.

A model is named `SCHEME:NAME`, where NAME is a folder or file, or a model in the package's own cache. Nothing is fetched
unless `download` says so, no code that comes with a model is run, and weights are read as safetensors, never as pickles.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Concatenate, TypeVar

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError, RelrepError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.encoders.base import Kind, check_kind, torch_device
from relrep_cli.encoders.model_inputs import averaged, file_digest, floats, place_of, pooled, rgb, state_digest
from relrep_cli.numerics.blocks import release
from relrep_cli.numerics.devices import chosen
from relrep_cli.sources.items import Items

Batch = Annotated[int, Param("Items that the model encodes at once.", minimum=1)]
Download = Annotated[bool, Param("Let the package download a model that is not on disk.")]
Layer = Annotated[
    int, Param("Layer whose tokens are pooled: 0 is the input, 1 the first layer, -1 the last.", minimum=-1000, maximum=1000)
]
POOLINGS = ("mean", "first", "last", "max", "model")
Pooling = Annotated[str, Param("How tokens become a vector; model is the model's own last step.", choices=POOLINGS)]
Length = Annotated[int, Param("Tokens of a text that are read, at most; 0 is as many as the model takes.", minimum=0)]
PixelMean = Annotated[float, Param("Mean that is subtracted from pixels in 0..1.")]
PixelStd = Annotated[float, Param("Standard deviation by which pixels are then divided.", minimum=1e-6)]
TEXTS: frozenset[Kind] = frozenset({"texts"})
PICTURES: frozenset[Kind] = frozenset({"images"})
VECTORS: frozenset[Kind] = frozenset({"vectors"})


@dataclass(frozen=True)
class Model:
    """A model that is ready. vectors: a block of items as their source gives them -> (b, d). digest: of its weights."""

    vectors: Callable[[Any], NDArray[np.floating[Any]]]
    digest: str


Opening = Callable[Concatenate[str, str, str, ...], Model]  # name, kind of items, device, keywords -> model
AnyOpening = TypeVar("AnyOpening", bound=Opening)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scheme(Entry[Opening]):
    """A scheme with its traits. takes: the kinds of items. extra: the packages it needs, as pip names them."""

    takes: frozenset[Kind]
    extra: str
    source: str

    def __call__(self, function: AnyOpening) -> AnyOpening:
        """Register the function."""
        MODELS.add(self.of(function))
        return function


MODELS = Registry("model", Scheme)
model = Scheme


def scheme_of(name: str) -> str | None:
    """The scheme of `SCHEME:NAME`, None for other names."""
    scheme = name.partition(":")[0]
    return scheme if ":" in name and scheme in MODELS else None


def open_model(name: str, items: Items, device: str, params: dict[str, Any]) -> tuple[Model, str]:
    """The model that `name` names, and its space: scheme, last part of the name, digest of weights and of what changes vectors.

    Raises UsageError when a package is missing, DataError when the model is not on disk or does not take such items.
    """
    scheme, _, rest = name.partition(":")
    entry = MODELS[scheme]
    check_kind(name, entry.takes, items.kind)
    if not rest:
        raise UsageError(f"--encoder {name} names no model", f"Write {scheme}:NAME or {scheme}:FOLDER.")
    with _explained(name, entry.extra, Path(rest).exists(), params.get("download", False)):
        model = entry.function(rest, items.kind, device, **params)
    changes = {key: value for key, value in params.items() if key not in ("batch", "download")}
    digest = hashlib.sha256(f"{model.digest} {sorted(changes.items())}".encode()).hexdigest()[:16]
    return model, f"{scheme}:{Path(rest).name}:{digest}"


@contextmanager
def _explained(name: str, extra: str, there: bool, download: bool) -> Iterator[None]:
    """What a package says in its many ways, as one line; without `download` the packages are told to stay offline."""
    variables = {} if download else {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update({**variables, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    try:
        yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name:
            raise UsageError(f"--encoder {name} needs the package {error.name}", f"Install it: pip install {extra}.") from None
        why = printable(_first_cause(error), 160)
        raise UsageError(
            f"--encoder {name}: a package of {extra} is installed, but does not load ({why})", "Mend it."
        ) from None
    except RelrepError:
        raise
    except Exception as error:  # every package has its own errors
        why = printable(str(error).strip().split("\n")[0], 160).rstrip(".")
        if not there and not download:
            raise DataError("no such model on disk", "Name a folder, or allow --download.", file=printable(name, 200)) from None
        raise DataError(
            f"cannot be opened ({type(error).__name__}: {why})", "Check what it is.", file=printable(name, 200)
        ) from None
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def _first_cause(error: BaseException) -> str:
    """The first line of what went wrong first: packages report their own failed import as a consequence of it."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return (str(error).strip().split("\n") or [""])[0].rstrip(".") or type(error).__name__


def blocks(model: Model, items: Items, batch: int) -> Iterator[NDArray[np.float32]]:
    """Vectors of the items, `batch` at a time; a last block of arrays is padded, so that a model may fix the size."""
    for start in range(0, len(items.x), batch):
        block = items.x[start : start + batch]
        if items.kind != "texts" and len(block) < batch:
            block = np.pad(block, [(0, batch - len(block))] + [(0, 0)] * (items.x.ndim - 1))
        vectors = _tried(model, block)[: len(items.x) - start]
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            what = f"shape {vectors.shape}" if vectors.ndim != 2 else "numbers that are not finite"
            raise DataError(f"the model gives {what} instead of a vector for each item", "Choose another layer or pooling.")
        yield vectors
        if items.kind != "texts":
            release(items.x, slice(start, start + batch))


def _tried(model: Model, block: Any) -> NDArray[np.float32]:
    try:
        return np.asarray(model.vectors(block), np.float32)
    except RelrepError:
        raise
    except Exception as error:  # every package has its own errors
        why = printable(str(error).strip().split("\n")[0], 160).rstrip(".")
        raise DataError(
            f"the model fails on the items ({type(error).__name__}: {why})", "Choose another layer, pooling or size."
        ) from None


@model(takes=TEXTS, extra="sentence-transformers", source="Reimers and Gurevych 2019")
def st(name: str, kind: str, device: str, *, batch: Batch = 64, length: Length = 0, download: Download = False) -> Model:
    """Sentence encoder of the package sentence-transformers, with its own pooling."""
    from sentence_transformers import SentenceTransformer

    transformer = SentenceTransformer(
        place_of(name), device=str(torch_device(device)), local_files_only=not download, trust_remote_code=False
    )
    if length:
        transformer.max_seq_length = length
    return Model(lambda texts: transformer.encode(texts, batch_size=batch, show_progress_bar=False), state_digest(transformer))


@model(takes=TEXTS | PICTURES, extra="transformers", source="Wolf et al. 2020")
def hf(
    name: str,
    kind: str,
    device: str,
    *,
    batch: Batch = 64,
    layer: Layer = -1,
    pooling: Pooling = "mean",
    length: Length = 0,
    download: Download = False,
) -> Model:
    """Model of the package transformers: BERT, RoBERTa, ALBERT, XLM-R, ELECTRA, ViT, CLIP and others."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    asked: dict[str, Any] = {"local_files_only": not download, "trust_remote_code": False}
    on = torch_device(device)
    network = AutoModel.from_pretrained(place_of(name), use_safetensors=True, **asked).eval().to(on)
    prepare = (AutoTokenizer if kind == "texts" else AutoImageProcessor).from_pretrained(place_of(name), **asked)
    part = getattr(network, "text_model" if kind == "texts" else "vision_model", network)

    def inputs(block: Any) -> Any:
        if kind == "texts":
            most = length or min(prepare.model_max_length, getattr(part.config, "max_position_embeddings", 512), 8192)
            return prepare(block, padding=True, truncation=True, max_length=most, return_tensors="pt").to(on)
        return prepare(images=list(rgb(block)), return_tensors="pt").to(on)

    def vectors(block: Any) -> NDArray[np.floating[Any]]:
        with torch.inference_mode():
            return _of_tokens(network, part, inputs(block), layer, pooling).float().cpu().numpy()

    return Model(vectors, state_digest(network))


def _of_tokens(model: Any, part: Any, given: Any, layer: int, pooling: str) -> Any:
    """(b, d) of a model of transformers. part: the half that sees these items, in models that see two kinds."""
    if pooling == "model" and part is not model:
        own = model.get_text_features if "input_ids" in given else model.get_image_features
        answer = own(**given)
        return getattr(answer, "pooler_output", answer)
    answer = part(**given, output_hidden_states=True)
    if pooling == "model":
        if getattr(answer, "pooler_output", None) is None:
            raise UsageError("this model has no pooled output", "Choose another.", place="--pooling model")
        return answer.pooler_output
    layers = answer.hidden_states
    if not -len(layers) <= layer < len(layers):
        raise UsageError(
            f"--layer is {layer}, but the model has {len(layers) - 1} layers above its input",
            f"Choose a layer from 0 to {len(layers) - 1}, or count from the last one with -1.",
        )
    return pooled(layers[layer], given.get("attention_mask"), pooling)


@model(takes=PICTURES, extra="timm", source="Wightman 2019")
def timm(name: str, kind: str, device: str, *, batch: Batch = 64, download: Download = False) -> Model:
    """Image model of the package timm without its classifier: RexNet, ViT, EfficientNet and others."""
    import timm as package
    import torch

    local = f"local-dir:{name}" if Path(name).is_dir() else name
    on = torch_device(device)
    network = package.create_model(local, pretrained=True, num_classes=0).eval().to(on)
    config = package.data.resolve_data_config({}, model=network)
    size, mean, std = config["input_size"][1:], *(torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))

    def vectors(block: Any) -> NDArray[np.floating[Any]]:
        x = torch.from_numpy(np.ascontiguousarray(rgb(block))).permute(0, 3, 1, 2).float() / 255
        x = torch.nn.functional.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False)
        with torch.inference_mode():
            return network(((x - mean) / std).to(on)).float().cpu().numpy()

    return Model(vectors, state_digest(network))


def providers(device: str, there: Sequence[str]) -> list[Any]:
    """Where onnxruntime computes: with CUDA for a device of CUDA, else on the CPU. there: what it was built with.

    >>> providers("auto", ["CPUExecutionProvider"])
    ['CPUExecutionProvider']
    """
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    if (device == "auto" and cuda not in there) or not (name := chosen(device)).startswith("cuda"):
        return [cpu]
    if cuda not in there:
        raise UsageError("this onnxruntime was built without CUDA", "Use --device cpu.", place=f"--device {device}")
    return [(cuda, {"device_id": int(name.partition(":")[2] or 0), "use_tf32": 0}), cpu]


@model(takes=PICTURES | VECTORS, extra="onnxruntime", source="the format ONNX")
def onnx(
    name: str, kind: str, device: str, *, batch: Batch = 64, pixel_mean: PixelMean = 0.0, pixel_std: PixelStd = 1.0
) -> Model:
    """ONNX file with one input: images (b, c, h, w) in 0..1, or vectors (b, d); maps are averaged."""
    import onnxruntime

    digest = file_digest(name)
    session = onnxruntime.InferenceSession(name, providers=providers(device, onnxruntime.get_available_providers()))
    if len(session.get_inputs()) != 1:
        names = ", ".join(printable(one.name, 40) for one in session.get_inputs())
        raise DataError(f"it has the inputs {names}; relrep gives one", "Export it with one input.", file=printable(name))
    into, out = session.get_inputs()[0].name, session.get_outputs()[0].name
    return Model(lambda block: averaged(session.run([out], {into: floats(block, pixel_mean, pixel_std)})[0]), digest)


@model(takes=PICTURES | VECTORS, extra="torch", source="the format of torch.export")
def torch_(
    name: str, kind: str, device: str, *, batch: Batch = 64, pixel_mean: PixelMean = 0.0, pixel_std: PixelStd = 1.0
) -> Model:
    """File of torch.export with one input: images (b, c, h, w) in 0..1, or vectors (b, d); maps are averaged."""
    import torch

    digest, on = file_digest(name), torch_device(device)
    network = torch.export.load(name).module().to(on)

    def vectors(block: Any) -> NDArray[np.floating[Any]]:
        with torch.inference_mode():
            answer = network(torch.from_numpy(floats(block, pixel_mean, pixel_std)).to(on))
            first: Any = answer[0] if isinstance(answer, tuple | list) else answer
            return averaged(first.float().cpu().numpy())

    return Model(vectors, digest)
