"""The encoder that predicts hidden blocks: which patches it sees, what it is scored by, and which weights follow."""

from __future__ import annotations

import pytest
from test_encoders import blobs, fit, same, vectors

from relrep_cli.encoders import ENCODERS

torch = pytest.importorskip("torch")
predictive = pytest.importorskip("relrep_cli.encoders.predictive")
tasks = pytest.importorskip("relrep_cli.encoders.tasks")


@pytest.mark.parametrize("grid", [(8, 8), (7, 5), (2, 2), (1, 1)])
def test_visible_patches_lie_outside_the_hidden_blocks(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    hidden, visible = predictive._drawn(20, grid, torch.device("cpu"))
    assert len(hidden) == predictive.TARGETS
    for block in hidden:
        row, column = block // grid[1], block % grid[1]
        height, width = (int(one.max() - one.min()) + 1 for one in (row[0], column[0]))
        assert block.shape == (20, height * width) and all(len(set(line.tolist())) == height * width for line in block)
        assert block.min() >= 0 and row.max() < grid[0]
    assert visible.shape[1] >= 1 and all(len(set(line.tolist())) == visible.shape[1] for line in visible)
    if min(grid) > 2:
        assert all(not set(line.tolist()) & set(b[i].tolist()) for i, line in enumerate(visible) for b in hidden)


def test_a_token_does_not_depend_on_patches_that_are_not_shown() -> None:
    torch.manual_seed(0)
    encoding = predictive._encoding((8, 12), 32, 4, 1).eval()
    x = torch.rand(2, 1, 8, 12)
    shown = torch.tensor([[0, 4], [5, 2]])
    before = encoding(x, shown)
    other = x.clone()
    other[0, :, :4, 4:], other[1, :, :4, :8] = 0, 0  # patches 1 and 2 of the first image, 0 and 1 of the second
    assert torch.equal(encoding(other, shown), before) and not torch.allclose(encoding(other), encoding(x))


def test_the_target_encoder_is_a_running_mean() -> None:
    """It stays where it began with momentum 1; with momentum 0 it is the context encoder before the last step."""
    first, longer = (fit("jepa", momentum=1.0, epochs=epochs) for epochs in (1, 3))
    assert same(first, longer)
    assert not same(first, fit("jepa", momentum=0.5, epochs=1))
    task = predictive.jepa(tasks.Facts((8, 8), trains=True), dim=8, depth=1, momentum=0.75)
    target, context = task.network["encoder"].patches[1].bias, task.network["context"].patches[1].bias
    with torch.no_grad():
        target.fill_(1.0)
        context.fill_(3.0)
    task.network.train()
    terms = task.loss(tasks.Batch(torch.rand(4, 1, 8, 8)))
    assert torch.allclose(target, torch.full_like(target, 0.75 * 1 + 0.25 * 3))
    torch.autograd.backward(terms["loss"])
    assert target.grad is None and context.grad is not None, "targets are not trained"


def test_the_last_weights_are_kept() -> None:
    """Its targets move while it trains, so that the loss does not say which epoch is the best."""
    assert "patience" not in ENCODERS["jepa"].keywords
    log = fit("jepa", epochs=3, momentum=0.0, learning_rate=0.01).log
    assert len(log) == 3 and {"train_loss", "train_deviation", "held_out_loss"} < log[0].keys()


def test_vectors_are_the_mean_of_the_tokens() -> None:
    x = blobs(8)
    trained = fit("jepa", x)
    task = predictive.jepa(tasks.Facts((9, 6)), dim=5, depth=1)
    state = {name: torch.from_numpy(weight) for name, weight in trained.weights.items()}
    assert set(state) == set(task.network.state_dict()), "nothing else is kept"
    task.network.load_state_dict(state)
    images = torch.from_numpy(x).unsqueeze(1).float() / 255
    tokens = task.network.eval()["encoder"](images)
    assert tokens.shape == (8, 3 * 2, 5)
    assert vectors(trained, x) == pytest.approx(tokens.mean(1).detach().numpy(), abs=1e-5)
