"""Models of the architectures that papers use, tiny and with random weights, saved as their packages save real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
VISION = {**SIZES, "patch_size": 8, "image_size": 32}
TEXTS = ("bert", "roberta", "albert", "xlm-roberta", "electra")


def write_texts(name: str, corpus: Sequence[str], folder: Path) -> None:
    """A model of texts and its tokenizer, whose words come from the corpus."""
    import torch
    import transformers

    kinds: dict[str, tuple[Any, Any, Callable[[Sequence[str]], Any], dict[str, Any]]] = {
        "bert": (transformers.BertModel, transformers.BertConfig, _words, {}),
        "roberta": (transformers.RobertaModel, transformers.RobertaConfig, _bytes, {}),
        "albert": (transformers.AlbertModel, transformers.AlbertConfig, _pieces, {"embedding_size": 16}),
        "xlm-roberta": (transformers.XLMRobertaModel, transformers.XLMRobertaConfig, _pieces, {}),
        "electra": (transformers.ElectraModel, transformers.ElectraConfig, _words, {"embedding_size": 16}),
    }
    model, config, tokenizer, own = kinds[name]
    words = tokenizer(corpus)
    torch.manual_seed(0)
    model(
        config(vocab_size=len(words), max_position_embeddings=80, pad_token_id=words.pad_token_id, **SIZES, **own)
    ).save_pretrained(folder)
    words.save_pretrained(folder)


def _words(corpus: Sequence[str]) -> Any:
    """WordPiece, as BERT and ELECTRA have it."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(corpus, vocab_size=500, show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def _bytes(corpus: Sequence[str]) -> Any:
    """Pairs of bytes, as RoBERTa has them."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(corpus, vocab_size=500, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, pad_token="<pad>", unk_token="<unk>")


def _pieces(corpus: Sequence[str]) -> Any:
    """Unigram pieces, as ALBERT and XLM-R have them."""
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import PreTrainedTokenizerFast

    trained = SentencePieceUnigramTokenizer()
    trained.train_from_iterator(
        corpus, vocab_size=300, show_progress=False, special_tokens=["<pad>", "<unk>"], unk_token="<unk>"
    )
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, pad_token="<pad>", unk_token="<unk>")


def write_vision(name: str, folder: Path) -> None:
    """A ViT or a CLIP with its preparation of images, for package transformers."""
    import torch
    import transformers

    torch.manual_seed(0)
    if name == "vit":
        model: Any = transformers.ViTModel(transformers.ViTConfig(**VISION))
        prepare: Any = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    else:
        config = transformers.CLIPConfig(vision_config=VISION, text_config={**SIZES, "vocab_size": 90}, projection_dim=16)
        model = transformers.CLIPModel(config)
        prepare = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model.save_pretrained(folder)
    prepare.save_pretrained(folder)


def write_timm(architecture: str, folder: Path) -> None:
    """A model of package timm, as it saves models for local-dir."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    model = timm.create_model(architecture, pretrained=False)
    save_file(model.state_dict(), folder / "model.safetensors")
    size = list(model.default_cfg["input_size"])
    config = {"input_size": size, "num_classes": 1000, "classifier": model.default_cfg["classifier"]}
    written = {"architecture": architecture, "num_classes": 1000, "pretrained_cfg": config}
    (folder / "config.json").write_text(json.dumps(written))
