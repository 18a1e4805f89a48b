"""K-FAC on torch networks against dense Kronecker products; two processes against one."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn import _torch_kfac  # noqa: E402
from sklearn_analytic.nn._kfac import (  # noqa: E402
    assign_layers,
    decomposition_cost,
    inner_product,
    kl_scale,
    precondition,
    running,
    schedule,
)
from sklearn_analytic.nn._ranks import Alone  # noqa: E402
from sklearn_analytic.nn._recipe import FeedbackRecipe, KFACRecipe, Optimizer, Recipe, Rows  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_kfac import TorchKFAC  # noqa: E402
from sklearn_analytic.nn._torch_networks import dense_network, image_network, state_arrays  # noqa: E402
from sklearn_analytic.nn._torch_ranks import Ranks  # noqa: E402
from tests import reference  # noqa: E402

N = 20


def _spd(n, generator):
    m = generator.standard_normal((n, n))
    return m @ m.T / n


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_preconditioning_solves_the_kronecker_system(convert):
    generator = np.random.default_rng(0)
    a, g, grad = _spd(5, generator), _spd(3, generator), generator.standard_normal((3, 5))
    (da, qa), (dg, qg) = np.linalg.eigh(a), np.linalg.eigh(g)
    found = precondition(*(convert(m) for m in (grad, qa, da, qg, dg)), 0.1)
    dense = np.kron(g, a) + 0.1 * np.eye(15)  # rows of the gradient are outputs: vec by rows
    np.testing.assert_allclose(np.asarray(found), np.linalg.solve(dense, grad.ravel()).reshape(3, 5), atol=1e-10)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_kl_scale_clips_the_step(convert):
    new, old = convert(np.full((2, 3), 2.0)), convert(np.ones((2, 3)))
    product = inner_product([(new, old)])
    assert kl_scale(product, 0.1, 0.001) == pytest.approx(np.sqrt(0.001 / (0.01 * 12)))
    assert inner_product([(new, old), (-new, old)]) == 0.0 and kl_scale(0.0, 0.1, 0.001) == 1.0
    assert kl_scale(product, 1e-4, 0.001) == 1.0
    assert np.asarray(running(new, old, 0.75)).max() == 1.75


def test_milestones_stretch_intervals_and_lower_the_damping():
    kfac = KFACRecipe(damping=0.1, milestones=(2, 4), interval_growth=10, damping_decay=0.5)
    assert schedule(kfac, 1) == (0.1, 5, 25)
    assert schedule(kfac, 2) == (0.05, 50, 250)
    assert schedule(kfac, 9) == (0.025, 500, 2500)


def test_layers_go_longest_first_to_the_idlest_rank():
    assert assign_layers([5, 9, 4, 1], 2) == [1, 0, 1, 0]
    assert assign_layers([3, 2], 1) == [0, 0]
    assert assign_layers([1], 4) == [0]
    assert decomposition_cost(3, 2) == 35


def _rows(d):
    generator = np.random.default_rng(0)
    return Rows(generator.standard_normal((N, d)), generator.integers(3, size=N), generator.uniform(0.5, 1.5, N))


def _execution(network, scheme="backprop", **constants):
    recipe = Recipe(
        scheme=scheme,
        feedback=FeedbackRecipe("random"),
        optimizer=Optimizer("sgd", momentum=0.0),
        kfac=KFACRecipe(**constants),
        precision="float64",
        batch_size=N,
    )
    return TorchExecution(network, recipe)


def _step(execution, placed, rate=1.0):
    """What one step subtracts from the parameters, divided by the rate."""
    before = state_arrays(execution.network)
    execution.epoch(placed, np.arange(N), [rate])
    return {k: (before[k] - v) / rate for k, v in state_arrays(execution.network).items() if "num" not in k}


def _errors(network, x, y, weight, layers):
    """Per-sample gradients of the row's own loss at every layer's outputs, and the layer's inputs."""
    kept = {}
    handles = [m.register_forward_hook(lambda m, i, o: kept.__setitem__(m, (i[0].detach(), o))) for m in layers]
    losses = nn.functional.cross_entropy(network(x), y, reduction="none") * weight
    grads = torch.autograd.grad(losses.sum(), [kept[m][1] for m in layers])
    for handle in handles:
        handle.remove()
    return [(kept[m][0].numpy(), g.numpy()) for m, g in zip(layers, grads, strict=True)]


def test_a_step_equals_the_dense_kronecker_solve():
    network, rows = dense_network((4, 5, 3), "tanh"), _rows(4)
    execution = _execution(network, damping=0.05, kl_clip=1e9, factor_decay=0.9)
    placed = execution.place(rows)
    layers = [network[0], network[2]]
    pairs = _errors(network, *placed, layers)
    found = _step(execution, placed)
    for name, (a, g) in zip(("0", "2"), pairs, strict=True):
        a = np.column_stack([a, np.ones(N)])
        mean_a = 0.9 * np.eye(a.shape[1]) + 0.1 * a.T @ a / N
        mean_g = 0.9 * np.eye(g.shape[1]) + 0.1 * g.T @ g / N
        dense = np.kron(mean_g, mean_a)
        grad = g.T @ a / N
        expected = np.linalg.solve(dense + 0.05 * np.eye(len(dense)), grad.ravel()).reshape(grad.shape)
        np.testing.assert_allclose(found[f"{name}.weight"], expected[:, :-1], atol=1e-9)
        np.testing.assert_allclose(found[f"{name}.bias"], expected[:, -1], atol=1e-9)


OURS = {"kl_clip": 1e9, "solver": "cholesky", "start": "mean"}


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_a_step_by_cholesky_solves_the_system_of_damped_factors(device, monkeypatch):
    monkeypatch.setattr(_torch_kfac, "HOST", device)  # "other": torch's own routines, which other devices have
    network = image_network((4, 4), (2,), (5,), 3, "tanh")
    execution = _execution(network, damping=0.05, **OURS)
    placed = execution.place(_rows(16))
    gradients = {}
    losses = nn.functional.cross_entropy(network(placed[0]), placed[1], reduction="none") * placed[2]
    names = dict(network.named_parameters())
    for name, gradient in zip(names, torch.autograd.grad(losses.mean(), list(names.values())), strict=True):
        gradients[name] = gradient.numpy()
    found = _step(execution, placed)
    for k, module in enumerate(execution.kfac.layers):
        name = next(n for n, m in network.named_modules() if m is module)
        weight, bias = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        gradient = np.column_stack([weight.reshape(len(weight), -1), bias])
        pair = execution.kfac.a[k].numpy(), execution.kfac.g[k].numpy()
        expected = reference.split_damping_step(gradient, *pair, 0.05)
        np.testing.assert_allclose(found[f"{name}.weight"].reshape(len(weight), -1), expected[:, :-1], atol=1e-9)
        np.testing.assert_allclose(found[f"{name}.bias"], expected[:, -1], atol=1e-9)


def test_a_trial_moves_neither_weights_nor_moments_of_batches_nor_random_numbers():
    found = []
    for rule in ("constant", "levenberg_marquardt"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = image_network((4, 4), (2,), (5,), 3, "relu", batch_norm=True)
            network.insert(len(network) - 1, nn.Dropout(0.5))
        execution = _execution(network, damping_rule=rule, **OURS)
        execution.epoch(execution.place(_rows(16)), np.arange(N), [0.1] * 2)
        found.append((state_arrays(network), execution.kfac.factor, torch.random.get_rng_state()))
    for name, array in found[0][0].items():
        np.testing.assert_array_equal(array, found[1][0][name], err_msg=name)
    assert found[0][1] == 1 != found[1][1]
    assert torch.equal(found[0][2], found[1][2])


def test_a_state_of_another_solver_leaves_its_factors():
    one, two = (_execution(dense_network((4, 5, 3), "tanh"), solver=solver) for solver in ("eigen", "cholesky"))
    one.epoch(one.place(_rows(4)), np.arange(N), [0.1])
    state = {name: value for name, value in one.kfac.state().items() if name not in ("renewals", "factor")}
    two.kfac.load(state)
    assert torch.equal(two.kfac.a[0], one.kfac.a[0]) and two.kfac.renewals == 1
    upper = two.kfac.eigen[1][1]
    expected = one.kfac.g[1].trace() / 3 + (0.003 * one.kfac.g[1].trace() / 3 / one.kfac.a[1].trace() * 6) ** 0.5
    torch.testing.assert_close((upper.T @ upper).trace() / 3, expected)


def test_convolution_factors_equal_those_of_the_kronecker_approximation():
    """A kron G is T E[a a^T] kron E[g g^T], with means over rows and the T places (Grosse & Martens 2016)."""
    network, rows = image_network((4, 4), (2,), (), 3, "tanh"), _rows(16)
    execution = _execution(network, factor_decay=0.0, factor_interval=1)
    placed = execution.place(rows)
    ((a, g),) = _errors(network, *placed, [network[1]])
    patches = nn.functional.unfold(torch.from_numpy(a), 3, padding=1).transpose(1, 2).numpy().reshape(-1, 9)
    patches = np.column_stack([patches, np.ones(len(patches))])
    g = g.transpose(0, 2, 3, 1).reshape(-1, 2)
    execution.epoch(placed, np.arange(N), [0.0])
    found = np.kron(execution.kfac.g[0].numpy(), execution.kfac.a[0].numpy())
    expected = 16 * np.kron(g.T @ g / len(g), patches.T @ patches / len(patches))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_factors_read_the_errors_of_the_scheme():
    network, rows = dense_network((4, 5, 3), "tanh"), _rows(4)
    execution = _execution(network, "dfa", factor_decay=0.0)
    placed = execution.place(rows)
    ((_, e),) = _errors(network, *placed, [network[2]])
    h = network[:2](placed[0]).detach().numpy()
    execution.epoch(placed, np.arange(N), [0.0])
    d = (e @ execution.feedback.matrices[0].numpy()) * (1 - h**2)  # the direct error, per sample
    np.testing.assert_allclose(execution.kfac.g[0].numpy(), d.T @ d / N, atol=1e-12)


def test_clipping_shrinks_all_gradients_alike():
    def step(clip):
        network = image_network((4, 4), (2,), (4,), 3, "tanh", batch_norm=True)
        execution = _execution(network, kl_clip=clip)
        execution_rows = execution.place(_rows(16))
        return _step(execution, execution_rows, 0.5)

    free, clipped = step(1e9), step(1e-4)
    ratios = {k: np.linalg.norm(clipped[k]) / np.linalg.norm(free[k]) for k in free if "running" not in k}
    ratios.pop("1.bias")  # normalised away: zero up to rounding
    assert set(ratios) >= {"1.weight", "2.weight", "2.bias", "6.weight"}
    values = np.array(list(ratios.values()))
    assert values.max() < 0.5
    np.testing.assert_allclose(values, values[0], rtol=1e-6)


def test_factors_and_eigenbases_are_renewed_when_due():
    execution = _execution(dense_network((4, 5, 3), "tanh"), factor_interval=2, eigen_interval=4)
    placed = execution.place(_rows(4))
    seen = []
    for _ in range(6):
        before = execution.kfac.a[0].clone(), execution.kfac.eigen[0][1].clone()
        execution.epoch(placed, np.arange(N), [0.1])
        after = execution.kfac.a[0], execution.kfac.eigen[0][1]
        seen.append(tuple(not torch.equal(p, q) for p, q in zip(before, after, strict=True)))
    assert seen == [(True, True), (False, False), (True, False), (False, False), (True, True), (False, False)]


def test_closed_hooks_read_nothing():
    network = dense_network((4, 3), "tanh")
    kfac = TorchKFAC(network, KFACRecipe())
    kfac.close()
    kfac.begin(2, 0)
    network(torch.ones(2, 4)).sum().backward()
    assert not kfac._new_a[0].any() and not kfac._new_g[0].any()


def test_kfac_trains_with_direct_feedback():
    network = dense_network((16, 32, 32, 3), "relu")
    recipe = Recipe(
        scheme="dfa", feedback=FeedbackRecipe("random"), optimizer=Optimizer("sgd"), kfac=KFACRecipe(), batch_size=N
    )
    execution = TorchExecution(network, recipe)
    placed = execution.place(_rows(16))
    losses = [execution.epoch(placed, np.arange(N), [0.1]) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


# ---- ranks ----


def test_alone_changes_nothing():
    ranks, array = Alone(), np.arange(3.0)
    assert ranks.mean_(array) is array and ranks.sum_(array) is array
    assert ranks.share([array], [0])[0] is array
    assert (ranks.rank, ranks.size) == (0, 1)


def test_ranks_need_a_process_group():
    with pytest.raises(ValueError, match="init_process_group"):
        Ranks()


_WORKER = """
import sys
import numpy as np
import torch.distributed as dist
from sklearn_analytic.nn._recipe import KFACRecipe, FeedbackRecipe, Optimizer, Recipe, Rows
from sklearn_analytic.nn._torch_execution import TorchExecution
from sklearn_analytic.nn._torch_networks import dense_network, image_network, state_arrays
from sklearn_analytic.nn._torch_ranks import Ranks

folder, rank, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ranks = None
if size > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=size)
    ranks = Ranks()
    a, b = np.full(3, 1.0 + rank), np.full(6, float(rank))
    assert (ranks.mean_(a) == 1.5).all() and (a == 1.5).all()
    ranks.share([a, b[::2]], [0, 1])  # a view with steps is filled too
    assert (b[::2] == 1).all() and (b[1::2] == rank).all()
g = np.random.default_rng(0)
rows = Rows(g.standard_normal((41, 16)), g.integers(3, size=41), g.uniform(0.5, 1.5, 41))
out = {}
for name, network, scheme, feedback in [
    ("dense", dense_network((16, 6, 5, 3), "tanh"), "dfa", "refresh"),
    ("dkp", dense_network((16, 6, 5, 3), "tanh"), "dfa", "dkp"),
    ("image", image_network((4, 4), (3,), (5,), 3), "hybrid", "random"),
]:
    own = dict(solver="cholesky", start="mean", damping_rule="levenberg_marquardt") if feedback != "random" else {}
    recipe = Recipe(scheme=scheme, feedback=FeedbackRecipe(feedback, interval=2), optimizer=Optimizer("sgd"),
                    kfac=KFACRecipe(factor_interval=2, eigen_interval=4, **own), precision="float64", batch_size=8)
    execution = TorchExecution(network, recipe, ranks=ranks)
    placed = execution.place(rows)
    for epoch in range(2):
        loss = execution.epoch(placed, np.random.default_rng(epoch).permutation(41), np.full(6, 0.1))
    execution.epoch(placed, np.arange(3), np.full(3, 0.1))  # batches of one row cannot be shared
    out |= {name + "/" + key: array for key, array in state_arrays(network).items()}
    out[name + "/loss"] = np.array(loss)
np.savez(f"{folder}/out_{size}_{rank}.npz", **out)
if size > 1:
    dist.destroy_process_group()
"""


@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch without gloo"
)
def test_two_processes_equal_one(tmp_path):
    jobs = [(0, 1), (0, 2), (1, 2)]
    command = [sys.executable, "-W", "ignore", "-c", _WORKER, str(tmp_path)]
    running_jobs = [subprocess.Popen([*command, str(r), str(s)], stderr=subprocess.PIPE, text=True) for r, s in jobs]
    try:
        messages = [job.communicate(timeout=50)[1] for job in running_jobs]
    finally:
        for job in running_jobs:
            job.kill()
            job.wait()
    assert [job.returncode for job in running_jobs] == [0, 0, 0], "\n".join(messages)
    one, *two = (np.load(tmp_path / f"out_{s}_{r}.npz") for r, s in jobs)
    for other in two:
        for key in one:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-9, err_msg=key)
