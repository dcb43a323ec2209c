"""`relrep embed` with an encoder, by the command: sources, pairs, columns, refusals."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from conftest import Workdir, only_line

from relrep_cli import store

pytest.importorskip("torch")
SMALL = "--epochs 2 --batch-size 16 --dim 4"


@pytest.fixture
def photos(empty: Workdir) -> Workdir:
    """photos.npz: 60 colour images of three classes, 45 to train on; cora/: 40 nodes in two classes."""
    rng = np.random.default_rng(0)
    code = np.arange(60) % 3
    x = (40 * code[:, None, None, None] + rng.integers(0, 99, (60, 6, 5, 3))).astype(np.uint8)
    split = np.where(np.arange(60) < 45, "train", "test")
    np.savez(empty / "photos.npz", images=x, label=np.array(["a", "b", "c"])[code], split=split, hue=code)
    (empty / "cora").mkdir()
    nodes = [f"n{i}\t{i % 2}\t{(i + 1) % 2}\t1\t{'AB'[i % 2]}" for i in range(40)]
    (empty / "cora" / "cora.content").write_text("\n".join(nodes))
    (empty / "cora" / "cora.cites").write_text("".join(f"n{i}\tn{(i + 2) % 40}\n" for i in range(40)))
    return empty


def column(work: Workdir, name: str, key: str) -> np.ndarray:
    return store.read(str(work / name)).obs[key]


@pytest.mark.slow
def test_errors_of_reconstruction_are_a_column(photos: Workdir) -> None:
    photos.here(f"relrep embed photos.npz -e conv-ae {SMALL} --denoising 0.1 --save-encoder e.safetensors -o a.h5 -q")
    photos.here("relrep embed photos.npz -e e.safetensors -o b.h5 -q")
    lost = column(photos, "a.h5", "reconstruction_error")
    assert lost.shape == (60,) and (lost > 0).all() and np.array_equal(lost, column(photos, "b.h5", "reconstruction_error"))
    assert [v.decode() for v in column(photos, "a.h5", "hue")[:3]] == ["0", "1", "2"], "other columns come along"
    with h5py.File(photos / "a.h5") as a, h5py.File(photos / "b.h5") as b:
        assert a["X"].shape == (60, 4) and np.array_equal(a["X"], b["X"]) and a.attrs["space"] == b.attrs["space"]


@pytest.mark.parametrize("encoder", [f"conv-ae {SMALL}", f"conv-vae {SMALL}", "pca --dim 4"])
def test_vectors_become_images_again(photos: Workdir, encoder: str) -> None:
    """What the decoder gives differs from the images by the errors of reconstruction that embed wrote."""
    photos.here(f"relrep embed photos.npz -e {encoder} --save-encoder e.safetensors -o a.h5 -q")
    photos.here("relrep embed a.h5 -e e.safetensors --decode -o back.npz -q")
    with np.load(photos / "photos.npz") as before, np.load(photos / "back.npz") as after:
        lost = np.square(before["images"] / 255.0 - after["images"] / 255.0).mean((1, 2, 3))
        assert after["images"].shape == (60, 6, 5, 3) and after["label"].tolist() == before["label"].tolist()
    assert np.allclose(lost, column(photos, "a.h5", "reconstruction_error"), rtol=0, atol=2e-3)
    photos.here("relrep embed back.npz -e e.safetensors -o again.h5 -q")


def test_what_cannot_be_decoded(photos: Workdir) -> None:
    photos.here("relrep embed photos.npz -e pca --dim 4 --save-encoder e.safetensors -o a.h5 -q")
    photos.here("relrep embed photos.npz -e random-projection --dim 4 --save-encoder r.safetensors -o b.h5 -q")
    for command, code, stderr in [
        ("a.h5 -e pca --decode -o c.npz", 2, "--decode needs a saved autoencoder"),
        ("a.h5 -e e.safetensors --decode --dim 3 -o c.npz", 2, "--dim does not go with --decode"),
        ("a.h5 -e e.safetensors --decode --plot-training c.png -o c.npz", 2, "--plot-training does not go with --decode"),
        ("b.h5 -e e.safetensors --decode -o c.npz", 3, "its vectors are of space random-projection"),
        ("b.h5 -e r.safetensors --decode -o c.npz", 3, "encoder random-projection has no way back to items"),
        ("a.h5 -e e.safetensors --decode -o c.h5", 2, "--decode writes images, and c.h5 does not end in .npz"),
    ]:
        photos.error(f"relrep embed {command}", code, stderr)


@pytest.mark.slow
def test_pairs_of_another_space(photos: Workdir) -> None:
    photos.here("relrep embed photos.npz -e pca --dim 3 -o pca.h5 -q")
    for name, k in (("a.h5", 2), ("b.h5", 5)):
        photos.here(
            f"relrep embed photos.npz -e vicreg --channels 2 --projector 8 {SMALL} --positives pca.h5 --k {k} -o {name} -q"
        )
    photos.here(f"relrep embed photos.npz -e siamese --channels 2 {SMALL} --positives label -o c.h5 -q")
    spaces = {str(store.read(str(photos / name)).space) for name in ("a.h5", "b.h5", "c.h5")}
    assert len(spaces) == 3
    again = photos.here(f"relrep embed photos.npz -e siamese --channels 2 {SMALL} --positives label -o c.h5")
    assert again.stderr == "relrep embed: c.h5: up to date.\n"


def test_terms_are_logged(photos: Workdir) -> None:
    done = photos.here(f"relrep embed photos.npz -e vicreg --channels 2 --projector 8 --variance 0 {SMALL} -v -o a.h5")
    lines = [line for line in done.stderr.splitlines() if "epoch" in line]
    terms = ("train_loss", "train_invariance", "train_variance", "train_covariance", "held_out_loss")
    assert len(lines) == 2 and all(term in lines[1] for term in terms)


@pytest.mark.slow
def test_the_training_is_drawn(photos: Workdir) -> None:
    pytest.importorskip("matplotlib")
    command = f"relrep embed photos.npz -e lin-ae {SMALL} -o a.h5 --plot-training a.svg"
    photos.here(command)
    first = (photos / "a.svg").read_text()
    assert "held-out rows" in first and "lin-ae: photos.npz" in first


def test_two_seeds_of_a_graph_are_two_spaces(photos: Workdir) -> None:
    for seed in (0, 1):
        command = f"relrep embed cora -e gcn --per-class 5 --epochs 5 --dim 4 --seed {seed} -o {seed}.h5 -q"
        photos.here(command)
    a, b = (store.read(str(photos / f"{seed}.h5")) for seed in (0, 1))
    assert a.space != b.space and np.array_equal(a.obs["split"], b.obs["split"]) and a.x.shape == (40, 4)
    photos.here("relrep embed cora -e gcn --per-class 5 --epochs 5 --dim 4 --save-encoder e.safetensors -o c.h5 -q")
    photos.here("relrep embed cora -e e.safetensors --per-class 5 -o d.h5 -q")
    assert np.array_equal(store.read(str(photos / "d.h5")).x, a.x)


def test_broken_items_are_counted(photos: Workdir) -> None:
    (photos / "q.txt").write_text("one\n\ntwo\n")
    assert "q.txt: line 2: it is empty" in only_line(photos.here("relrep embed q.txt -e st:x -o a.h5", 3))
    done = photos.here("relrep embed q.txt -e pca --skip-bad -o a.h5", 3)
    assert "q.txt: one item left out; the first: q.txt: line 2: it is empty." in done.stderr


@pytest.mark.parametrize(
    "command, message",
    [
        (
            "photos.npz -e pca --positives label",
            "--positives does not go with --encoder pca. It works with vicreg, infonce, siamese",
        ),
        ("photos.npz -e vicreg --k 3", "--k counts neighbours in the file of --positives FILE"),
        ("photos.npz -e vicreg --positives label --k 3", "--k counts neighbours in the file of --positives FILE"),
        ("photos.npz --k 3", "--k counts neighbours in the file of --positives FILE"),
        ("photos.npz --positives label", "--positives does not go with --encoder none"),
        ("photos.npz --source idx", "--source does not go with --encoder none"),
        (
            "photos.npz -e pca --plot-training b.svg",
            "--plot-training draws the passes of a training, and --encoder pca makes none",
        ),
        ("photos.npz --plot-training b.svg", "--plot-training needs an encoder that is trained"),
        ("photos.npz -e vicreg --plot-training b.gif", "--plot-training b.gif: the name must end in .png, .svg, .pdf"),
        ("photos.npz -e pca --layer 2", "--layer does not go with --encoder pca, which is not a pretrained model"),
        ("photos.npz -e pca --source idxx", "unknown source 'idxx'. Did you mean idx?"),
        ("photos.npz -e st --dim 3", "unknown encoder 'st'"),
        ("photos.npz -e torch:x --save-encoder y.safetensors", "--save-encoder keeps an encoder that this run trains"),
        ("photos.npz -e vicreg --augment none", "two views of an item are equal without --augment"),
        ("photos.npz -e conv-ae --bottleneck map --dim 5", "a map of 2 x 2 cells needs a multiple of 4. Write --dim 4"),
        ("cora -e pca --skip-bad --per-class 5", "the items are nodes of a graph; encoder pca takes images or vectors"),
        ("photos.npz -e pca --text-column x", "no table here"),
        ("photos.npz -e pca --save-encoder e.pt", "--save-encoder e.pt: the name must end in .safetensors"),
        ("cora", "cora: holds a graph, not vectors. Name an --encoder that makes some"),
        ("photos -e pca", "photos: no items in this folder. Name the kind of source with --source: cifar"),
    ],
)
def test_what_does_not_go_together(photos: Workdir, command: str, message: str) -> None:
    (photos / "photos").mkdir()
    assert message in only_line(photos.here(f"relrep embed {command} -o x.h5", (2, 3)))
    assert not (photos / "x.h5").exists() and not photos.leftovers()


@pytest.mark.slow
def test_standard_input(photos: Workdir) -> None:
    photos.run("relrep embed photos.npz -e pca --dim 3 -o - -q | relrep embed - -e pca --dim 2 -o a.h5 -q")
    assert store.read(str(photos / "a.h5")).x.shape == (60, 2)
    only_line(photos.run("printf 'one\\ntwo\\n' | relrep embed - -e pca -o b.h5", 3), "the items are texts; encoder pca takes")


def test_columns_of_text_files_replace_those_of_any_source(photos: Workdir) -> None:
    (photos / "splits.txt").write_text("test\n" * 20 + "train\n" * 40)
    (photos / "ids.txt").write_text("".join(f"photo {i}\n" for i in range(60)))
    photos.here("relrep embed photos.npz -e pca --dim 3 --splits splits.txt --ids ids.txt -o a.h5 -q")
    photos.here("relrep embed photos.npz -e pca --dim 3 -o b.h5 -q")
    read_back = store.read(str(photos / "a.h5"))
    assert read_back.obs["split"].tolist() == [b"test"] * 20 + [b"train"] * 40 and read_back.ids[7] == b"photo 7"
    assert read_back.space != store.read(str(photos / "b.h5")).space, "it was trained on other rows"
    (photos / "ids.txt").write_text("".join(f"picture {i}\n" for i in range(60)))
    command = "relrep embed photos.npz -e pca --dim 3 --splits splits.txt --ids ids.txt -o a.h5 -q"
    only_line(photos.here(command.removesuffix(" -q"), 2), "a.h5: exists")  # other ids are another output
    photos.here(command + " --force")
    assert store.read(str(photos / "a.h5")).ids[7] == b"picture 7"
    only_line(
        photos.here("relrep embed photos.npz -e pca --splits ids.txt -o c.h5", 3),
        "the source has no training items. Say which they are with --splits FILE",
    )
    (photos / "ids.txt").write_text("one\n")
    only_line(photos.here("relrep embed photos.npz -e pca --ids ids.txt -o c.h5", 3), "ids.txt: 1 lines for the 60 items")


@pytest.mark.parametrize("encoder", ["none", "pca --dim 1"])
def test_words_for_splits(empty: Workdir, encoder: str) -> None:
    np.save(empty / "x.npy", np.random.default_rng(0).normal(size=(9, 3)))
    words = ["Train", "train", "val", "dev", "validation", "Test", "probe", "test-hard", ""]
    (empty / "splits.txt").write_text("\n".join(words) + "\n")
    empty.here(f"relrep embed x.npy -e {encoder} --splits splits.txt -o a.h5 -q")
    known = ["train", "train", "valid", "valid", "valid", "test", "probe", "test-hard", ""]
    assert [word.decode() for word in column(empty, "a.h5", "split")] == known


def test_images_are_brought_to_what_an_encoder_takes(photos: Workdir) -> None:
    photos.here(f"relrep embed photos.npz --size 8 -e conv-ae {SMALL} --save-encoder e.safetensors -o a.h5 -q")
    grey = np.random.default_rng(1).integers(0, 255, (9, 6, 7), np.uint8)
    np.save(photos / "grey.npy", grey)
    refused = photos.here("relrep embed grey.npy -e e.safetensors -o b.h5", 3)
    only_line(refused, "the items are 6 x 7, encoder conv-ae takes 8 x 8 x 3. Give items of that size; --size and")
    photos.here("relrep embed grey.npy --size 8 --source-channels rgb -e e.safetensors -o b.h5 -q")
    assert store.read(str(photos / "b.h5")).space == store.read(str(photos / "a.h5")).space


def test_a_saved_encoder_that_is_damaged_is_no_up_to_date_one(photos: Workdir) -> None:
    command = "relrep embed photos.npz -e pca --dim 3 --save-encoder e.safetensors -o a.h5"
    photos.here(command)
    only_line(photos.here(command), "a.h5: up to date")
    whole = (photos / "e.safetensors").read_bytes()
    (photos / "e.safetensors").write_bytes(b"junk")
    only_line(photos.here(command, 2), "exists")
    photos.here(command + " --force")
    assert (photos / "e.safetensors").read_bytes() == whole
