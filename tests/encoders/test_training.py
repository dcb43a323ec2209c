"""What each trained encoder is for: losses that fall, terms that do their work, pairs, augmentations, graphs, spectra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_encoders import TRAINED, Stopped, blobs, fit, items_for, of, same, stop_at, vectors

from relrep_cli import encoders
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import Embedding
from relrep_cli.encoders import ENCODERS, Checkpoint, autoencoders, contrastive, encode, errors, supervised, tasks
from relrep_cli.encoders.augmentations import AUGMENTATIONS, chain
from relrep_cli.encoders.base import reproducible
from relrep_cli.encoders.contrastive import _correlation, _shortfall
from relrep_cli.encoders.residual import residual_trunk
from relrep_cli.encoders.tasks import Batch, Facts, Task, adjacency
from relrep_cli.sources import Items
from relrep_cli.sources import positives as pairs

torch = pytest.importorskip("torch")
RECONSTRUCTING = [name for name in ENCODERS if ENCODERS[name].errors is not None]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(name: str, items: Items, rows: Any = None, **given: Any) -> Any:
    rows = np.arange(len(items.x)) if rows is None else rows
    return ENCODERS[name].function(items, rows, **{"epochs": 6, "batch_size": 32, **given})


def encoded(trained: Any, items: Items) -> np.ndarray:
    return np.concatenate(list(encode(trained, items)))


def clouds(n: int = 120, d: int = 6, seed: int = 0) -> Items:
    """Vectors in three clouds, labelled a, b, c."""
    rng = np.random.default_rng(seed)
    code = np.arange(n) % 3
    x = (4 * np.eye(3, d)[code] + rng.normal(size=(n, d))).astype(np.float32)
    return of(x, obs={"label": np.array([b"a", b"b", b"c"])[code]})


def apart(z: np.ndarray, label: np.ndarray) -> float:
    """Mean distance of rows of different labels over that of rows of the same."""
    distance = np.linalg.norm(z[:, None] - z[None], axis=2)
    alike = label[:, None] == label[None]
    return float(distance[~alike].mean() / distance[alike & ~np.eye(len(z), dtype=bool)].mean())


# Every encoder that is trained


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_falls(name: str) -> None:
    longer = {"gcn": {"epochs": 30, "learning_rate": 0.05}}.get(name, {"epochs": 8, "learning_rate": 5e-3})
    given = {key: value for key, value in (("channels", 4), ("patience", 99)) if key in ENCODERS[name].keywords}
    log = fit(name, **given, **longer).log
    assert log[-1]["train_loss"] < log[0]["train_loss"] and min(r["held_out_loss"] for r in log) < log[0]["held_out_loss"]


@pytest.mark.parametrize("name", TRAINED)
def test_seeds_differ(name: str) -> None:
    assert not same(fit(name, seed=0, epochs=1), fit(name, seed=1, epochs=1))


@pytest.mark.parametrize("name", ["vicreg", "infonce", "siamese", "jepa", "conv-vae", "gcn", "classifier"])
def test_a_stopped_training_goes_on_to_the_same_bits(name: str) -> None:
    whole, kept = fit(name, epochs=3), dict[str, bytes]()
    checkpoint = Checkpoint(lambda: kept.get("state"), lambda state: kept.update(state=state))
    with pytest.raises(Stopped):
        fit(name, epochs=3, checkpoint=checkpoint, progress=stop_at(3))
    resumed = fit(name, epochs=3, checkpoint=checkpoint)
    assert same(resumed, whole) and resumed.log == whole.log


@pytest.mark.parametrize("name", ["conv-ae", "vicreg", "jepa", "classifier"])
def test_colour_images(name: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 7, 5, 3), dtype=np.uint8)
    trained = fit(name, x)
    assert vectors(trained, x).shape == (40, 5) and trained.shape == (7, 5, 3)


def test_rows_of_the_split_valid_are_held_out() -> None:
    """They decide when to stop, so that no training row is left out, and nothing else."""
    split = np.array([b"train"] * 60 + [b"valid"] * 20 + [b"test"] * 16)
    first = train("lin-ae", of(blobs(), obs={"split": split}), np.arange(60), dim=3)
    changed = blobs()
    changed[80:] = 255 - changed[80:]
    assert same(first, train("lin-ae", of(changed, obs={"split": split}), np.arange(60), dim=3))
    changed[60:80] = 0
    other = train("lin-ae", of(changed, obs={"split": split}), np.arange(60), dim=3)
    assert [r["train_loss"] for r in other.log] == [r["train_loss"] for r in first.log]
    assert [r["held_out_loss"] for r in other.log] != [r["held_out_loss"] for r in first.log]


@pytest.mark.parametrize("name, items, message", [
    ("conv-ae", clouds(9), "the items are vectors; encoder conv-ae takes images"),
    ("gcn", of(blobs(9)), "the items are images; encoder gcn takes nodes of a graph"),
    ("pca", items_for("gcn", blobs(9)), "the items are nodes of a graph; encoder pca takes images or vectors"),
])  # fmt: skip
def test_items_of_another_kind(name: str, items: Items, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ENCODERS[name].function(items, np.arange(9))


# Reconstruction


@pytest.mark.parametrize("name", RECONSTRUCTING)
def test_errors_of_reconstruction(name: str) -> None:
    """Known images come back better than noise; vectors and errors are of the same items."""
    loop = {"epochs": 30, "learning_rate": 1e-2, "patience": 99, "beta": 1e-3, "hidden": 32}
    trained = fit(name, **{key: value for key, value in loop.items() if key in ENCODERS[name].keywords})
    strange = np.random.default_rng(1).integers(0, 256, (30, 9, 6), dtype=np.uint8)
    actual = {kind: np.concatenate(list(errors(trained, of(x)) or [])) for kind, x in (("own", blobs()), ("noise", strange))}
    assert actual["own"].shape == (96,) and actual["own"].mean() < actual["noise"].mean() / 2


def test_errors_are_those_of_pca() -> None:
    items, trained = blobs(), fit("pca", dim=4)
    x = items.reshape(96, -1) / 255
    u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    rest = (x - x.mean(0)) - (u[:, :4] * s[:4]) @ v[:4]
    np.testing.assert_allclose(np.concatenate(list(errors(trained, of(items)) or [])), (rest**2).mean(1), rtol=1e-3, atol=1e-6)
    assert errors(fit("vicreg", epochs=1), of(items)) is None


def test_denoising_and_variational_terms() -> None:
    plain = fit("conv-ae", epochs=1)
    assert not same(plain, fit("conv-ae", epochs=1, denoising=0.3))
    log = fit("conv-vae", epochs=1, beta=2.0).log[0]
    assert log["train_loss"] == pytest.approx(log["train_error"] + 2 * log["train_divergence"], rel=1e-5)
    narrow, wide = (vectors(fit("lin-vae", epochs=15, learning_rate=5e-3, beta=beta), blobs()).var() for beta in (30.0, 0.001))
    assert narrow < wide / 10, "a strong prior leaves nothing of the items"


@pytest.mark.parametrize("name, shape, given", [
    ("lin_vae", (6,), {"hidden": 0}),
    ("lin_vae", (4, 3), {"hidden": 5}),
    ("conv_vae", (5, 6), {}),
    ("conv_vae", (5, 6), {"bottleneck": "map", "dim": 8}),
])  # fmt: skip
def test_loss_of_variational_autoencoders(name: str, shape: tuple[int, ...], given: dict[str, Any]) -> None:
    """Half the squared error and beta times the divergence of N(mean, e^spread) from N(0, 1), both over the numbers."""
    x = torch.rand(3, *([1] if len(shape) > 1 else []), *shape, generator=torch.Generator().manual_seed(0))
    task: Task = getattr(autoencoders, name)(Facts(shape), **{"dim": 2, "beta": 0.7, "dropout": 0.0, **given})
    with torch.inference_mode():
        mean, spread = (half.double().numpy() for half in task.network["encoder"](x).chunk(2, 1))
        torch.manual_seed(1)
        noise = torch.randn(mean.shape).double().numpy()
        z = torch.from_numpy(mean + np.exp(spread) ** 0.5 * noise).float()
        back = task.network["decoder"](z)[..., : x.shape[-2], : x.shape[-1]] if len(shape) > 1 else task.network["decoder"](z)
        torch.manual_seed(1)
        terms = {key: term.item() for key, term in task.loss(Batch(x)).items()}
    size = int(np.prod(shape))
    error = ((back - x).double().numpy() ** 2).sum() / 3 / size / 2
    divergence = sum((m**2 + np.exp(s) - s - 1) / 2 for m, s in zip(mean.ravel(), spread.ravel(), strict=True)) / 3 / size
    assert terms["error"] == pytest.approx(error, rel=1e-5) and terms["divergence"] == pytest.approx(divergence, rel=1e-4)
    assert terms["loss"] == pytest.approx(error + 0.7 * divergence, rel=1e-5)


def test_a_bottleneck_that_keeps_places() -> None:
    """9 x 6 pixels give 3 x 2 cells: a map of 12 numbers has two channels; 5 do not fit."""
    trained = fit("conv-ae", bottleneck="map", dim=12)
    assert trained.weights["encoder.7.weight"].shape[0] == 2 and vectors(trained, blobs()).shape == (96, 12)
    with pytest.raises(UsageError, match=r"a map of 3 x 2 cells needs a multiple of 6. Write --dim 6, or --bottleneck flat"):
        fit("conv-ae", bottleneck="map", dim=5)


def test_the_residual_trunk_is_resnet_18_for_small_images() -> None:
    """Its weights number 11.17 million before the linear map of ten classes, as He et al.'s network with a 3 x 3 stem has."""
    with torch.device("meta"):
        network = residual_trunk((32, 32, 3), 10, 64)
    assert sum(p.numel() for p in network.parameters()) == 11_173_962
    trained = fit("vicreg", epochs=1, trunk="residual", channels=2)
    assert vectors(trained, blobs()).shape[0] == 96 and same(trained, encoders.load(encoders.to_bytes(trained)))
    with pytest.raises(UsageError, match="--trunk residual works on images only"):
        train("vicreg", clouds(), trunk="residual")


def test_an_encoder_saved_before_an_option_existed_is_read() -> None:
    trained = fit("vicreg", epochs=1)
    older = replace(trained, params={name: value for name, value in trained.params.items() if name != "trunk"})
    assert encoders.load(encoders.to_bytes(older)).params == trained.params


# Views and pairs


def test_terms_of_vicreg() -> None:
    """By hand: deviations 2 and 0 lack 0 and about 1; two equal columns have the covariance 4 twice, over 2 dimensions."""
    z = torch.tensor([[1.0, 1], [5, 5], [3, 3]])
    assert _correlation(z).item() == pytest.approx(2 * 4**2 / 2)
    assert _shortfall(torch.tensor([[1.0, 7], [5, 7], [3, 7]])).item() == pytest.approx((0 + 1 - 0.01) / 2)
    log = fit("vicreg", epochs=1).log[0]
    whole = 25 * log["train_invariance"] + 25 * log["train_variance"] + log["train_covariance"]
    assert log["train_loss"] == pytest.approx(whole, rel=1e-5)


def both_views(name: str, **given: Any) -> tuple[dict[str, float], np.ndarray, np.ndarray, np.ndarray]:
    """The terms of a batch of 7 pairs of vectors, the vectors (7, 5) of either side, and the labels, of which two are none."""
    rng = np.random.default_rng(0)
    x, other = (torch.from_numpy(rng.normal(size=(7, 4)).astype(np.float32)) for _ in range(2))
    label = np.array([0, 0, 1, -1, -1, 1, 0])
    torch.manual_seed(0)
    task: Task = getattr(contrastive, name)(Facts((4,), trains=True, **given.pop("facts")), dim=5, channels=2, **given)
    task.network.eval()
    with torch.inference_mode():
        terms = {key: term.item() for key, term in task.loss(Batch(x, torch.from_numpy(label), other)).items()}
        return terms, task.encode(x).double().numpy(), task.encode(other).double().numpy(), label


PAIRED = [{"pairs": pairs.Pairs(np.arange(7), np.arange(7), np.ones(7, int), by_label=labelled)} for labelled in (False, True)]


@pytest.mark.parametrize("facts", PAIRED, ids=["by file", "by label"])
def test_loss_of_infonce(facts: dict[str, Any]) -> None:
    """Each view against all of the batch; where labels tell pairs, others of its label are no negatives."""
    terms, a, b, label = both_views("infonce", facts=facts, temperature=0.2)
    cosines = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T / 0.2
    loss, right = [], []
    for i in range(7):
        left = [j for j in range(7) if j == i or not facts["pairs"].by_label or label[j] != label[i] or label[i] == -1]
        for line in (cosines[i], cosines[:, i]):
            loss.append(np.log(np.exp(line[left]).sum()) - line[i])
        right.append(cosines[i, i] == cosines[i, left].max())
    assert terms["loss"] == pytest.approx(np.mean(loss), rel=1e-5) and terms["accuracy"] == pytest.approx(np.mean(right))


def test_loss_of_infonce_with_inner_products() -> None:
    terms, a, b, _ = both_views("infonce", facts=PAIRED[0], logits="inner", temperature=0.2)
    scores = a @ b.T / 0.2
    loss = [np.log(np.exp(line).sum()) - line[i] for i in range(7) for line in (scores[i], scores[:, i])]
    assert terms["loss"] == pytest.approx(np.mean(loss), rel=1e-5)


def test_infonce_of_one_label_has_no_negatives() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    task = contrastive.infonce(Facts((4,), trains=True, **PAIRED[1]), dim=5, channels=2)
    terms = task.loss(Batch(x, torch.zeros(3, dtype=torch.long), x))
    assert terms["loss"].item() == 0 and terms["accuracy"].item() == 1
    torch.autograd.backward(terms["loss"])
    assert all(torch.isfinite(p.grad).all() for p in task.network.parameters())


@pytest.mark.parametrize("facts", PAIRED, ids=["by file", "by label"])
def test_loss_of_siamese(facts: dict[str, Any]) -> None:
    terms, a, b, label = both_views("siamese", facts=facts, margin=1.5)
    apart = np.linalg.norm(a - b[[6, 0, 1, 2, 3, 4, 5]], axis=1)
    counts = [not (facts["pairs"].by_label and label[i] == label[i - 1] != -1) for i in range(7)]
    unlike = (np.maximum(1.5 - apart, 0) ** 2 * counts).mean()
    alike = ((a - b) ** 2).sum(1).mean()
    assert unlike > 0 and terms["loss"] == pytest.approx(alike / 2 + unlike / 2, rel=1e-5)
    assert (terms["alike"], terms["unlike"]) == (pytest.approx(alike, rel=1e-5), pytest.approx(unlike, rel=1e-5))


@pytest.mark.slow
def test_vicreg_without_variance_collapses() -> None:
    items = clouds()
    given: dict[str, Any] = {"dim": 4, "channels": 2, "projector": 0, "epochs": 25, "learning_rate": 1e-2, "patience": 99}
    whole, without = (encoded(train("vicreg", items, variance=v, **given), items).std(0).mean() for v in (25.0, 0.0))
    assert without < whole / 5
    log = train("vicreg", items, invariance=2.0, variance=0.0, covariance=0.0, **{**given, "epochs": 1}).log[0]
    assert log["train_loss"] == pytest.approx(2 * log["train_invariance"]), "what is off is still logged"
    assert log["train_variance"] > 0
    with pytest.raises(UsageError, match="nothing is left to learn from"):
        train("vicreg", items, invariance=0.0, variance=0.0, covariance=0.0)


@pytest.mark.parametrize("name", ["vicreg", "infonce", "siamese"])
def test_pairs_by_label_bring_labels_together(name: str) -> None:
    items = clouds()
    paired = of(items.x, obs=dict(items.obs), pairs=pairs.by_label(items.obs["label"], np.arange(90)))
    given = {"projector": 0} if "projector" in ENCODERS[name].keywords else {}
    trained = train(name, paired, np.arange(90), dim=4, channels=2, epochs=15, learning_rate=5e-3, batch_size=30, **given)
    z, label = encoded(trained, items)[90:], items.obs["label"][90:]
    assert apart(z, label) > 1.2 * apart(items.x[90:], label)


def test_two_towers_and_no_views() -> None:
    one, two = (fit("infonce", epochs=1, towers=towers) for towers in (1, 2))
    assert one.weights.keys() == two.weights.keys() and not same(one, two)
    with pytest.raises(UsageError, match="two views of an item are equal without --augment"):
        fit("siamese", augment="none")
    with pytest.raises(UsageError, match=r"unknown augmentation 'colour'. Did you mean color"):
        fit("siamese", augment="colour")
    with pytest.raises(UsageError, match=r"--augment crop works on images only\. For vectors, choose from: noise, mask"):
        train("vicreg", clouds(), augment="noise,crop")


def test_pairs() -> None:
    rng, rows = np.random.default_rng(0), np.arange(8)
    label = np.array([b"a", b"b", b"a", b"b", b"", b"a", b"c", b"b"])
    actual = pairs.by_label(label, np.array([0, 1, 2, 3, 4]))
    drawn = np.stack([actual.of(rows, rng) for _ in range(50)])
    assert set(drawn[:, 0]) == {0, 2} == set(drawn[:, 5]) and set(drawn[:, 7]) == {1, 3}
    assert set(drawn[:, 4]) == {4} and set(drawn[:, 6]) == {6}, "without a label among training rows, the item itself"
    x = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    e = Embedding(x[::-1], np.array([b"3", b"2", b"1", b"0"]), uri="e.h5")
    ids, none = np.arange(6).astype("S"), np.arange(0)
    near = pairs.by_neighbors(ids[:4], np.arange(4), none, e, 1)
    assert near.of(np.arange(4), rng).tolist() == [1, 0, 3, 2]
    near = pairs.by_neighbors(ids, np.array([0, 2]), np.array([1, 3, 5]), e, 1)
    assert near.of(np.arange(6), rng).tolist() == [2, 0, 0, 2, 4, 5], "a valid row that is there has training rows"
    with pytest.raises(DataError, match=r"e.h5: lacks 1 of the 5 training items, such as 4"):
        pairs.by_neighbors(ids, np.arange(5), none, e, 1)
    with pytest.raises(DataError, match="no training item has a label"):
        pairs.by_label(np.array([b"", b"a"]), np.array([0]))


def test_held_out_rows_have_positives() -> None:
    """Their loss is that of pairs: of rows that are their own positives it would be 0 throughout."""
    items, split = clouds(90), np.array([b"train"] * 60 + [b"valid"] * 30)
    e = Embedding(items.x[:80], items.ids[:80], uri="e.h5")
    actual = pairs.by_neighbors(items.ids, np.arange(60), np.arange(60, 90), e, 3)
    log = train("siamese", of(items.x, obs={"split": split}, pairs=actual), np.arange(60), dim=4, margin=0.0).log
    assert all(record["held_out_loss"] > 1e-6 for record in log)
    changed = items.x.copy()
    changed[80:] = 0
    other = train("siamese", of(changed, obs={"split": split}, pairs=actual), np.arange(60), dim=4, margin=0.0).log
    assert other == log, "valid rows that the file lacks are not held out"


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations(name: str, channels: int) -> None:
    """They keep shape and range, draw anew for each item, and are the same for a seed."""
    x = torch.rand(40, channels, 8, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first, second = (chain(name, True)(x) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(first, chain(name, True)(x)) and first.shape == x.shape
    if (name, channels) != ("grey", 1):
        assert not torch.equal(first, second) and not torch.equal(first, x)
    if name != "noise":
        assert first.min() >= -1e-5 and first.max() <= 1 + 1e-5


def test_what_augmentations_leave() -> None:
    x = torch.rand(30, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    moved = chain("location", True)(x)
    assert torch.equal(moved.flatten(2).sort(2).values, x.flatten(2).sort(2).values), "the same pixels elsewhere"
    flipped = chain("flip", True)(x)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(flipped, x, strict=True))
    dark = chain("solarise", True)(x)
    assert torch.equal(torch.minimum(dark, 1 - dark), torch.minimum(x, 1 - x)) and (dark != x).any(), "inverted, or left"
    even = torch.full_like(x, 0.3)
    torch.testing.assert_close(chain("blur", True)(even), even), "blur has weights that add up to 1"
    grey = x.mean(1, keepdim=True).expand_as(x)
    turned = chain("color", True)(grey)
    torch.testing.assert_close(turned[:, 0], turned[:, 2], atol=1e-5, rtol=0), "grey has no hue"
    assert chain("none", True)(x) is x and chain("", False)(x) is x


@pytest.mark.parametrize("height, width", [(41, 41), (31, 81), (81, 31)])
def test_rotation_keeps_distances(height: int, width: int) -> None:
    """A spot 9 pixels from the middle stays as far from it and as small, whatever the sides of the image."""
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2
    spot = np.exp(-((x - 6.4) ** 2 + (y - 6.4) ** 2) / 4)
    torch.manual_seed(0)
    turned = chain("rotation", True)(torch.from_numpy(spot).float().expand(20, 1, height, width))[:, 0].double().numpy()
    mass = turned / turned.sum((1, 2), keepdims=True)
    centre = np.stack([(mass * x).sum((1, 2)), (mass * y).sum((1, 2))], 1)
    np.testing.assert_allclose(np.linalg.norm(centre, axis=1), 6.4 * 2**0.5, atol=0.05)
    assert np.ptp(np.arctan2(centre[:, 1], centre[:, 0])) > 5, "every angle occurs"
    torch.manual_seed(0)
    angle = 2 * np.pi * torch.rand(20).double().numpy()
    actual = np.arctan2(centre[:, 1], centre[:, 0]) - np.pi / 4
    assert np.abs(np.exp(1j * actual) - np.exp(-1j * angle)).max() < 0.02, "by the angle that was drawn"
    spread = (mass * ((x - centre[:, :1, None]) ** 2 + (y - centre[:, 1:, None]) ** 2)).sum((1, 2))
    assert (spread > 4).all() and (spread < 4.6).all(), "4, and what interpolation adds"


# Labels and graphs


def test_classifier_and_what_it_needs() -> None:
    items = clouds()
    trained = train("classifier", items, np.arange(90), dim=4, channels=4, epochs=60, learning_rate=1e-2, patience=99)
    assert trained.log[-1]["train_accuracy"] > 0.9
    assert apart(encoded(trained, items)[90:], items.obs["label"][90:]) > 1.5 * apart(items.x[90:], items.obs["label"][90:])
    with pytest.raises(DataError, match="the items have no labels, and encoder classifier learns from labels"):
        train("classifier", Items(items.x, items.ids, ""))


@pytest.mark.parametrize("split", [None, [b"train"] * 40 + [b"valid"] * 20])
@pytest.mark.parametrize("name", ["classifier", "gcn"])
@pytest.mark.parametrize("labelled", [0, 1, 2])
def test_too_few_labels(name: str, labelled: int, split: list[bytes] | None) -> None:
    items = communities() if name == "gcn" else clouds(60)
    label = np.where((np.arange(60) < labelled) | (np.arange(60) >= 40), items.obs["label"], b"")
    obs = {"label": label} if split is None else {"label": label, "split": np.array(split)}
    message = f"{labelled} of the 40 training rows have labels; encoder {name} needs at least 3. Give more labels."
    with pytest.raises(DataError, match=message):
        train(name, of(items.x, obs=obs, edges=items.edges), np.arange(40), dim=4)
    obs["label"] = np.where(np.arange(60) < 3, items.obs["label"], label)
    assert train(name, of(items.x, obs=obs, edges=items.edges), np.arange(40), dim=4).log


def communities(n: int = 60, seed: int = 0) -> Items:
    """Two groups of nodes, joined within; a feature names its node, so that only the edges tell."""
    rng = np.random.default_rng(seed)
    code = np.arange(n) % 2
    actual = {tuple(sorted(pair)) for pair in rng.integers(0, n, (6 * n, 2)).tolist() if code[pair[0]] == code[pair[1]]}
    edges = np.array(sorted(pair for pair in actual if pair[0] != pair[1]))
    return of(np.eye(n, dtype=np.float32), obs={"label": np.array([b"a", b"b"])[code]}, edges=edges)


def test_adjacency() -> None:
    items = communities(12)
    a = np.eye(12)
    assert items.edges is not None
    a[items.edges[:, 0], items.edges[:, 1]] = a[items.edges[:, 1], items.edges[:, 0]] = 1
    scale = np.diag(a.sum(1) ** -0.5)
    np.testing.assert_allclose(adjacency(items, torch.device("cpu")).to_dense().numpy(), scale @ a @ scale, atol=1e-6)


def test_vectors_of_gcn_by_hand() -> None:
    """Features over the sum of their sizes, whatever the signs; a node without any stays at 0."""
    x = np.array([[1, -1, 2], [3, 0, -3], [0, 0, 0], [-1, -2, -1]], np.float32)
    edges = np.array([[0, 1], [1, 2], [2, 3]])
    graph = adjacency(of(x, edges=edges), torch.device("cpu"))
    task = supervised.gcn(Facts((3,), classes=2), dim=2, nodes=4)
    task.network.eval()
    with torch.inference_mode():
        actual = task.encode(torch.from_numpy(x), graph).numpy()
        (w, c), (v, b) = ((layer.weight.numpy(), layer.bias.numpy()) for layer in task.network["encoder"])
    shares = np.array([[1 / 4, -1 / 4, 1 / 2], [1 / 2, 0, -1 / 2], [0, 0, 0], [-1 / 4, -1 / 2, -1 / 4]])
    a = graph.to_dense().numpy()
    np.testing.assert_allclose(actual, a @ (np.maximum(a @ (shares @ w.T + c), 0) @ v.T + b), atol=1e-5)


@pytest.mark.slow
def test_gcn_learns_from_edges_and_training_labels_alone() -> None:
    items, rows = communities(), np.arange(16)
    given: dict[str, Any] = {"dim": 4, "nodes": 16, "epochs": 80, "learning_rate": 0.03, "dropout": 0.2, "batch_size": 999}
    trained = train("gcn", items, rows, patience=99, **given)
    z, label = encoded(trained, items), items.obs["label"]
    centres = np.stack([z[:16][label[:16] == c].mean(0) for c in (b"a", b"b")])
    nearest = np.array([b"a", b"b"])[np.linalg.norm(z[16:, None] - centres, axis=2).argmin(1)]
    assert (nearest == label[16:]).mean() > 0.9
    hidden = label.copy()
    hidden[16:] = b"a"
    other = of(items.x, obs={"label": hidden}, edges=items.edges)
    assert same(trained, train("gcn", other, rows, patience=99, **given)), "labels of other nodes are never seen"


# Spectra


def test_eigenmaps_of_a_ring() -> None:
    """Points on a circle, turned into 8 dimensions: the two slowest directions are that circle, for new points, too."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0][:2]
    angle = np.concatenate([np.linspace(0, 2 * np.pi, 200, endpoint=False), rng.uniform(0, 2 * np.pi, 20)])
    items = of((np.stack([np.cos(angle), np.sin(angle)], 1) @ turn).astype(np.float32))
    z = encoded(ENCODERS["laplacian-eigenmaps"].function(items, np.arange(200), dim=2, around=6), items)
    radius = np.linalg.norm(z, axis=1)
    assert radius.std() < 0.02 * radius.mean()
    steps = np.unwrap(np.arctan2(z[:, 1], z[:, 0])[:200])
    assert abs(abs(steps[-1] - steps[0]) - 2 * np.pi * 199 / 200) < 0.1, "once around"


def test_eigenmaps_solve_the_generalised_problem() -> None:
    from scipy.linalg import eigh

    items = clouds(60)
    trained = ENCODERS["laplacian-eigenmaps"].function(items, np.arange(60), dim=3, around=59)
    w = trained.weights
    distance = ((w["landmarks"][:, None].astype(float) - w["landmarks"][None]) ** 2).sum(2)
    affinity = np.exp(-distance / float(w["width"][0]))
    degree = np.diag(affinity.sum(1))
    values, _ = eigh(degree - affinity, degree)
    np.testing.assert_allclose(1 - w["values"], values[1:4], atol=1e-5)
    np.testing.assert_allclose(encoded(trained, of(w["landmarks"])), w["vectors"], atol=1e-3)
    with pytest.raises(UsageError, match="need more than 60 training rows"):
        ENCODERS["laplacian-eigenmaps"].function(items, np.arange(60), dim=59)


def islands(parts: int = 5, each: int = 30) -> np.ndarray:
    """Blobs (parts each, 4) so far apart that no row has a neighbour in another."""
    rng = np.random.default_rng(0)
    x: np.ndarray = (1000 * rng.normal(size=(parts, 1, 4)) + rng.normal(size=(parts, each, 4))).reshape(-1, 4)
    return x.astype(np.float32)


def test_eigenmaps_of_parts_far_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Five parts give four slow directions, and each tells parts apart; the order of the rows does not matter."""
    caplog.set_level("INFO", "relrep")
    x, order = islands(), np.random.default_rng(1).permutation(150)
    train_maps = ENCODERS["laplacian-eigenmaps"].function
    trained = train_maps(of(x), np.arange(150), dim=6, around=5)
    assert "has 5 parts; the shortest edges between them now join them" in caplog.text
    slow = 1 - trained.weights["values"]
    assert (slow[:4] > 1e-5).all() and slow[3] < slow[4] / 5
    z = encoded(trained, of(x)).reshape(5, 30, 6)
    assert (z[..., :4].std(1).mean(0) < z.mean(1)[:, :4].std(0) / 5).all()
    other = train_maps(of(x[order]), np.arange(150), dim=6, around=5)
    np.testing.assert_allclose(encoded(other, of(x)).reshape(z.shape), z, atol=1e-3)


def test_eigenmaps_of_an_outlier() -> None:
    """A row that only weights of no account join to the others is a part of its own."""
    x = np.concatenate([clouds(60).x, np.full((1, 6), 500, np.float32)])
    z = encoded(ENCODERS["laplacian-eigenmaps"].function(of(x), np.arange(61), dim=2, around=20), of(x))
    assert (z.std(0) > 0.1).all() and np.isfinite(z).all()


def test_eigenmaps_refuse_directions_that_place_nothing() -> None:
    items = of(np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32))
    train_maps = ENCODERS["laplacian-eigenmaps"].function
    with pytest.raises(UsageError, match=r"--dim is 70; the graph of nearest rows has \d+ directions") as caught:
        train_maps(items, np.arange(80), dim=70, around=5)
    usable = int(str(caught.value).split(" has ")[1].split()[0])
    trained = train_maps(items, np.arange(80), dim=usable, around=5)
    assert trained.weights["values"].min() >= 1e-3
    with pytest.raises(UsageError, match=f"has {usable} directions"):
        train_maps(items, np.arange(80), dim=usable + 1, around=5)


def test_random_projections_keep_distances() -> None:
    items = of(np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32))
    z = encoded(ENCODERS["random-projection"].function(items, np.arange(1), dim=600, seed=1), items)
    ratio = np.linalg.norm(z[1:] - z[:-1], axis=1) / np.linalg.norm(np.diff(items.x, axis=0), axis=1)
    assert abs(ratio.mean() - 1) < 0.03 and ratio.std() < 0.1


@pytest.mark.parametrize("name", ["siamese", "conv-ae", "classifier"])
def test_items_that_stay_on_the_device_train_the_same_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = fit(name, epochs=2)
    monkeypatch.setattr(tasks, "own_memory", lambda on: 1 << 30)
    there = fit(name, epochs=2)
    assert here.log == there.log and same(here, there)


def test_sums_have_one_order_on_cuda_while_a_training_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.random, "fork_rng", nullcontext)
        with reproducible(0):
            assert torch.are_deterministic_algorithms_enabled() == there
        assert not torch.are_deterministic_algorithms_enabled()
