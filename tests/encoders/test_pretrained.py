"""Pretrained models: small ones, made here with random weights, are opened as users' own are. Skipped without their package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.encoders.pretrained import MODELS, blocks, open_model, providers, scheme_of
from relrep_cli.sources import Items
from relrep_cli.sources.text_lines import collected

torch = pytest.importorskip("torch")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three", "four", "fish"]
TEXTS = ["one", "two two", "one fish two fish", "three", "four four four one"]


def texts(values: list[str] = TEXTS) -> Items:
    x, digest = collected(value.encode() for value in values)
    return Items(x, np.arange(len(values)).astype("S"), digest)


def images(n: int = 5, size: int = 12) -> Items:
    x = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return Items(x, np.arange(n).astype("S"), "sha256:")


def vectors(name: str, items: Items, **given: Any) -> tuple[np.ndarray, str]:
    scheme = name.partition(":")[0]
    params = MODELS[scheme].resolve(given)
    model, space = open_model(name, items, "cpu", params)
    return np.concatenate(list(blocks(model, items, params["batch"]))), space


class Sum(torch.nn.Module):
    """Sums of each channel, and of their squares, as maps."""

    def forward(self, x: Any) -> Any:
        return torch.cat([x, x.square()], 1)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    program = torch.export.export(Sum(), (torch.zeros(2, 3, 12, 12),))
    torch.export.save(program, tmp_path / "sum.pt2")
    return tmp_path / "sum.pt2"


@pytest.mark.filterwarnings("ignore")
def test_torch_export(exported: Path) -> None:
    """A program of a fixed batch of 2: the last of five items is padded. Maps are averaged, pixels lie in 0..1."""
    items = images()
    encoded, space = vectors(f"torch:{exported}", items, batch=2)
    x = items.x / 255
    np.testing.assert_allclose(encoded, np.concatenate([x.mean((1, 2)), (x**2).mean((1, 2))], 1), atol=1e-6)
    shifted, other = vectors(f"torch:{exported}", items, batch=2, pixel_mean=0.5, pixel_std=0.5)
    np.testing.assert_allclose(shifted[:, :3], 2 * x.mean((1, 2)) - 1, atol=1e-6)
    assert space.startswith("torch:sum.pt2:") and space != other
    with pytest.raises(DataError, match="the model fails on the items"):
        vectors(f"torch:{exported}", images(size=9), batch=2)


@pytest.mark.filterwarnings("ignore")
def test_torch_export_by_the_command(empty: Workdir, exported: Path) -> None:
    np.savez(empty / "a.npz", images=images().x, label=np.arange(5))
    empty.here(f"relrep embed a.npz -e torch:{exported} --batch 2 -o a.h5 -q")
    again = empty.here(f"relrep embed a.npz -e torch:{exported} --batch 2 -o a.h5")
    assert again.stderr == "relrep embed: a.h5: up to date.\n"
    refused = empty.here(f"relrep embed a.npz -e torch:{exported} --dim 3 -o b.h5", 2)
    assert "--dim does not go with --encoder torch:" in refused.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_torch_export_in_parts_and_in_other_processes(empty: Workdir, exported: Path) -> None:
    np.savez(empty / "a.npz", images=images().x, label=np.arange(5))
    command = f"relrep embed a.npz -e torch:{exported} --batch 2"
    epoch = {"SOURCE_DATE_EPOCH": "1000000000"}
    for more in ("-o whole.h5", "-o part.h5 --shard 1/2", "-o part.h5 --shard 2/2", "-o other.h5 --cluster local:2"):
        empty.here(f"{command} {more}", **epoch)
    empty.here("relrep merge part.1-of-2.h5 part.2-of-2.h5 -o part.h5", **epoch)
    whole = (empty / "whole.h5").read_bytes()
    assert (empty / "part.h5").read_bytes() == whole == (empty / "other.h5").read_bytes()


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "bad.pt2").write_bytes(b"\x80\x04K\x01.")
    for name, message in [("bad.pt2", "cannot be opened"), ("gone.pt2", "no such file")]:
        with pytest.raises(DataError, match=message):
            vectors(f"torch:{tmp_path / name}", images())
    with pytest.raises(DataError, match="the items are texts; encoder torch:x takes images or vectors"):
        vectors("torch:x", texts())
    with pytest.raises(UsageError, match=r"--encoder torch: names no model. Write torch:NAME or torch:FOLDER"):
        vectors("torch:", images())
    assert scheme_of("torch:a") == "torch" and scheme_of("pca") is None and scheme_of("c:/x") is None


@pytest.mark.parametrize(
    "scheme, package", [("st", "sentence_transformers"), ("hf", "transformers"), ("timm", "timm"), ("onnx", "onnxruntime")]
)
def test_a_missing_package_is_named(scheme: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "model").write_bytes(b"x")
    items = texts() if "texts" in MODELS[scheme].takes else images()
    with pytest.raises(UsageError, match=f"needs the package {package}. Install it: pip install {MODELS[scheme].extra}"):
        vectors(f"{scheme}:{tmp_path / 'model'}", items)


def test_a_package_that_does_not_load_says_why(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own import fails because of another package, which it reports in its own words."""

    def broken(*_: Any) -> Any:
        try:
            raise RuntimeError("operator torchvision::nms does not exist\nand more")
        except RuntimeError as error:
            raise ImportError("Could not import module 'AutoModel'. Are this object's requirements met?") from error

    monkeypatch.setattr(torch.export, "load", broken)
    with pytest.raises(UsageError, match=r"does not load \(operator torchvision::nms does not exist\)\. Mend it\."):
        vectors(f"torch:{exported}", images())


# With their packages


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**sizes, max_position_embeddings=20)).save_pretrained(tmp_path)
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_transformers_texts(bert: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    with torch.inference_mode():
        alone = [model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True) for text in TEXTS]
    for given, expected in [
        ({}, [a.last_hidden_state[0].mean(0) for a in alone]),
        ({"layer": 1, "pooling": "first"}, [a.hidden_states[1][0, 0] for a in alone]),
        ({"pooling": "last"}, [a.last_hidden_state[0, -1] for a in alone]),
        ({"pooling": "max"}, [a.last_hidden_state[0].amax(0) for a in alone]),
        ({"pooling": "model"}, [a.pooler_output[0] for a in alone]),
    ]:
        encoded, _ = vectors(f"hf:{bert}", texts(), batch=3, **given)
        np.testing.assert_allclose(encoded, torch.stack(expected).numpy(), atol=1e-5)
    with pytest.raises(UsageError, match="--layer is 3, but the model has 2 layers above its input"):
        vectors(f"hf:{bert}", texts(), layer=3)
    assert vectors(f"hf:{bert}", texts())[1] != vectors(f"hf:{bert}", texts(), layer=0)[1]


@pytest.mark.filterwarnings("ignore")
def test_transformers_never_open_pickles(bert: Path) -> None:
    state = torch.nn.Linear(2, 2).state_dict()
    (bert / "model.safetensors").unlink()
    torch.save(state, bert / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be opened"):
        vectors(f"hf:{bert}", texts())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["ViT", "CLIP"])
def test_transformers_images(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "patch_size": 4,
        "image_size": 12,
    }
    if kind == "ViT":
        model = transformers.ViTModel(transformers.ViTConfig(**small))
        processor = transformers.ViTImageProcessor(size={"height": 12, "width": 12})
    else:
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
        model = transformers.CLIPModel(transformers.CLIPConfig(vision_config=small, text_config=text, projection_dim=6))
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
    model.save_pretrained(tmp_path), processor.save_pretrained(tmp_path)
    encoded, _ = vectors(f"hf:{tmp_path}", images(), batch=2)
    assert encoded.shape == (5, 16)
    own, _ = vectors(f"hf:{tmp_path}", images(), batch=2, pooling="model")
    assert own.shape == (5, 16 if kind == "ViT" else 6)


@pytest.mark.filterwarnings("ignore")
def test_sentence_transformers(bert: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    from sentence_transformers import models

    place = tmp_path / "st"
    words = models.Transformer(str(bert))
    package.SentenceTransformer(modules=[words, models.Pooling(16)], device="cpu").save(str(place))
    encoded, space = vectors(f"st:{place}", texts())
    np.testing.assert_allclose(encoded, vectors(f"hf:{bert}", texts())[0], atol=1e-5)
    assert space.startswith("st:st:")


@pytest.mark.parametrize("scheme, package", [("st", "sentence_transformers"), ("hf", "transformers"), ("timm", "timm")])
def test_a_model_that_is_not_on_disk(scheme: str, package: str) -> None:
    pytest.importorskip(package)
    items = images() if scheme == "timm" else texts()
    name = "resnet18.nowhere" if scheme == "timm" else "nobody/nothing-of-this-name"
    with pytest.raises(DataError, match=rf"{scheme}:{name}: no such model on disk. Name a folder, or allow --download"):
        vectors(f"{scheme}:{name}", items)


@pytest.mark.filterwarnings("ignore")
def test_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    import json

    from safetensors.torch import save_file

    model = timm.create_model("resnet10t", pretrained=False)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "resnet10t",
        "num_classes": 1000,
        "pretrained_cfg": {"input_size": [3, 32, 32], "num_classes": 1000, "classifier": "fc"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoded, space = vectors(f"timm:{tmp_path}", images(), batch=2)
    assert encoded.shape == (5, model.num_features) and space.startswith("timm:")


@pytest.mark.filterwarnings("ignore")
def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    torch.onnx.export(Sum(), (torch.zeros(2, 3, 12, 12),), tmp_path / "sum.onnx", dynamo=True)
    encoded, _ = vectors(f"onnx:{tmp_path / 'sum.onnx'}", images(), batch=2)
    x = images().x / 255
    np.testing.assert_allclose(encoded[:, :3], x.mean((1, 2)), atol=1e-5)


def test_onnx_computes_with_cuda_where_the_device_is_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert providers("cpu", there) == there[1:] == providers("auto", there[1:])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, number in (("cuda", 0), ("auto", 0), ("cuda:1", 1)):
        assert providers(device, there) == [(there[0], {"device_id": number, "use_tf32": 0}), there[1]]
    with pytest.raises(UsageError, match=r"--device cuda: this onnxruntime was built without CUDA\. Use --device cpu\."):
        providers("cuda", there[1:])
