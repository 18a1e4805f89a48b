"""Networks and callers that do the unexpected: each is trained as what it computes, or refused with a reason."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from sklearn_analytic.nn._recipe import FeedbackRecipe, KFACRecipe, Optimizer, Recipe, Rows  # noqa: E402
from sklearn_analytic.nn._torch_activations import activation_bytes  # noqa: E402
from sklearn_analytic.nn._torch_checks import check_network, output_shape  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import state_arrays  # noqa: E402
from sklearn_analytic.nn._torch_stages import has_dense_hidden_layer, split  # noqa: E402

N, D, C = 24, 16, 3


class Residual(nn.Sequential):
    """A Sequential that is not the chain of its members."""

    def forward(self, x):
        return x + super().forward(x)


class Doubled(nn.Module):
    """A module that counts its calls, so that no two are alike."""

    calls = 0.0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Broken(nn.Module):
    """A module that fails in a way of its own, or returns what is no tensor."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def forward(self, x):
        if self.error is None:
            return x, x
        raise self.error


class Noise(nn.Module):
    """A module that draws random numbers in evaluation mode, too, and keeps what it drew."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def forward(self, x):
        self.drawn.append(torch.rand(4))
        return x


def make_rows(dtype=np.float64):
    generator = np.random.default_rng(0)
    return Rows(generator.standard_normal((N, D)).astype(dtype), generator.integers(C, size=N))


def make_execution(network, ranks=None, **choices):
    defaults = {"scheme": "backprop", "precision": "float64", "batch_size": N, "optimizer": Optimizer("sgd")}
    return TorchExecution(network, Recipe(**(defaults | choices)), ranks=ranks)


def trained(network, epochs=3, **choices):
    """State after some steps."""
    execution = make_execution(network, **choices)
    placed = execution.place(make_rows())
    for _ in range(epochs):
        execution.epoch(placed, np.arange(N), [0.1])
    return state_arrays(execution.network)


def assert_same(found, expected):
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-9, atol=1e-12, err_msg=key)


def between(*middle):
    """Two dense layers with modules between them, drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(D, 8), *middle, nn.Linear(8, C))


def _hooked(register):
    inner = nn.Sequential(nn.Linear(8, 8))
    getattr(inner, register)(lambda module, *tensors: None)
    return inner


# ---- what a Sequential computes ----


@pytest.mark.parametrize(
    "inner",
    [
        lambda: Residual(nn.Linear(8, 8), nn.Tanh()),
        lambda: _hooked("register_forward_hook"),
        lambda: _hooked("register_forward_pre_hook"),
        lambda: _hooked("register_full_backward_hook"),
    ],
    ids=["subclass", "hook", "pre-hook", "backward hook"],
)
def test_only_plain_sequentials_are_opened(inner):
    stages = split(between(nn.ReLU(), inner(), nn.ReLU()))
    assert [stage.kind for stage in stages] == ["dense", "other", "dense"]


def test_residual_blocks_are_trained_as_what_they_are():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        block = Residual(nn.Linear(8, 8), nn.Tanh())
    network = between(block).double()
    reference = copy.deepcopy(network)
    rows = make_rows()
    loss = nn.functional.cross_entropy(reference(torch.from_numpy(rows.x)), torch.from_numpy(rows.y))
    loss.backward()
    before = state_arrays(network)
    after = trained(network, 1, optimizer=Optimizer("sgd", momentum=0.0))
    found = {k: (before[k] - after[k]) / 0.1 for k in before}
    assert_same(found, {k: p.grad.numpy() for k, p in reference.named_parameters()})


@pytest.mark.parametrize("kind", ["subclass", "hook"])
def test_a_network_that_cannot_be_opened_is_refused(kind):
    network = Residual(nn.Linear(D, D)) if kind == "subclass" else nn.Sequential(nn.Linear(D, C))
    if kind == "hook":
        network.register_forward_hook(lambda module, x, y: 2 * y)
    with pytest.raises(ValueError, match=r"forward of its own or with hooks.*wrap it in a torch.nn.Sequential"):
        make_execution(network)


def test_stages_must_compute_what_the_network_does():
    execution = make_execution(between(nn.ReLU(), Doubled()))
    with pytest.raises(ValueError, match="something else than its modules called in their order"):
        execution.place(make_rows())


# ---- frozen, unused and parametrised layers ----


class Unused(nn.Module):
    """A module with a layer that takes no part."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize("frozen", [["0.bias"], ["0.weight"], ["0.weight", "0.bias"], ["2.bias"]], ids=" ".join)
def test_kfac_steps_around_frozen_parameters(frozen):
    network = between(nn.ReLU())
    for name in frozen:
        network.get_parameter(name).requires_grad_(False)
    before = {k: a.astype(np.float64) for k, a in state_arrays(network).items()}
    after = trained(network, kfac=KFACRecipe())
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == set(before) - set(frozen)


def test_kfac_takes_a_frozen_bias_for_none():
    networks = [nn.Sequential(nn.Linear(D, 8, bias=bias), nn.Tanh(), nn.Linear(8, C)) for bias in (True, False)]
    nn.init.zeros_(networks[0][0].bias).requires_grad_(False)
    networks[1].load_state_dict({k: v for k, v in networks[0].state_dict().items() if k != "0.bias"})
    one, two = (trained(network, kfac=KFACRecipe()) for network in networks)
    assert_same(one, two)


@pytest.mark.parametrize("scheme", ["backprop", "hybrid"])
def test_kfac_skips_a_layer_without_gradient(scheme):
    network = between(nn.ReLU(), Unused(), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    execution = make_execution(network, scheme=scheme, kfac=KFACRecipe(factor_interval=1))
    placed = execution.place(make_rows())
    idle = execution.kfac.layers.index(network[2].idle)
    before = network[2].idle.weight.clone()
    execution.epoch(placed, np.arange(N), [0.1])
    assert torch.equal(network[2].idle.weight, before)
    assert torch.equal(execution.kfac.a[idle], torch.eye(9, dtype=torch.float64))


def test_a_frozen_network_is_refused():
    with pytest.raises(ValueError, match=r"no parameter to train.*requires_grad_"):
        make_execution(between().requires_grad_(False))


@pytest.mark.parametrize("choices", [{}, {"kfac": KFACRecipe()}, {"activation_bits": 4}], ids=" ".join)
@pytest.mark.parametrize("parametrise", [parametrizations.weight_norm, parametrizations.orthogonal])
def test_parametrised_layers_are_dense(parametrise, choices):
    network = between(nn.Tanh(), parametrise(nn.Linear(8, 8)), nn.Tanh())
    assert [stage.kind for stage in split(network)] == ["dense"] * 3
    execution = make_execution(network, scheme="dfa", feedback=FeedbackRecipe("refresh"), **choices)
    placed = execution.place(make_rows())
    losses = [execution.epoch(placed, np.arange(N), [0.1]) for _ in range(20)]
    expected = network[4].weight.detach()
    assert execution.feedback.matrices[1].shape == expected.shape
    assert losses[-1] < losses[0]
    if execution.kfac:
        assert network[2] not in execution.kfac.layers


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("choices", [{}, {"kfac": KFACRecipe()}, {"activation_bits": 4}], ids=" ".join)
def test_weights_made_by_hooks_are_left_to_torch(choices):
    network = between(nn.Tanh(), nn.utils.weight_norm(nn.Linear(8, 8)), nn.Tanh())
    execution = make_execution(network, **choices)
    placed = execution.place(make_rows())
    losses = [execution.epoch(placed, np.arange(N), [0.1]) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_frozen_batch_normalisation_in_evaluation_mode_stays_there():
    network = between(nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8))
    for norm, frozen in ((network[1], True), (network[3], False)):
        norm.requires_grad_(not frozen)
        norm.eval()  # of the second, whose weights train, as of any other module in a network given in eval()
        norm.running_mean.fill_(0.5)
    execution = make_execution(network)
    placed = execution.place(make_rows())
    execution.epoch(placed, np.arange(N), [0.1])
    assert execution.activation_bytes()["exact"] < activation_bytes(network, placed[0], None)["exact"]
    assert not network[1].running_mean.sub(0.5).any()
    assert network[3].running_mean.sub(0.5).any()
    assert network[1].num_batches_tracked == 0


def test_checks_keep_the_mode_of_every_module():
    network = between(nn.BatchNorm1d(8), nn.Dropout())
    network[1].eval()
    check_network(network, D, C)
    assert [module.training for module in network.modules()] == [True, True, False, True, True]


def test_frozen_batch_normalisation_takes_batches_of_one_row():
    network = between(nn.BatchNorm1d(8))
    network[1].requires_grad_(False).eval()
    execution = make_execution(network)
    placed = execution.place(make_rows())
    execution.epoch(placed, np.arange(2), [0.1, 0.1])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("choices", [{"kfac": KFACRecipe()}, {"activation_bits": 4}], ids=" ".join)
def test_one_sided_padding_is_left_to_torch(choices):
    network = nn.Sequential(
        *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3, padding="same"), nn.ReLU()),
        *(nn.Conv2d(2, 2, 2, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(32, C)),
    )
    execution = make_execution(network, **choices)
    placed = execution.place(make_rows())
    assert np.isfinite(execution.epoch(placed, np.arange(N), [0.1]))
    if execution.kfac:
        assert execution.kfac.layers == [network[1], network[6]]


# ---- ends of networks, errors of their modules ----


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid(), nn.Sequential(nn.Softmax(1), nn.Flatten())])
def test_probabilities_are_no_logits(last):
    with pytest.raises(ValueError, match="classifiers apply the softmax themselves"):
        make_execution(between().append(last))
    make_execution(between().append(last), output="identity")


def test_a_network_may_end_in_log_softmax():
    make_execution(between().append(nn.LogSoftmax(1))).place(make_rows())


@pytest.mark.parametrize("error", [KeyError("shape"), TypeError("bad"), AttributeError("none"), AssertionError("no")])
def test_any_error_of_a_module_names_itself(error):
    with pytest.raises(ValueError, match=f"does not accept rows of n_features=16: {type(error).__name__}"):
        output_shape(between(Broken(error)), D)


def test_outputs_must_be_a_tensor():
    with pytest.raises(ValueError, match="returns a tuple, expected a tensor"):
        output_shape(between().append(Broken()), D)
    with pytest.raises(ValueError, match=r"has shape \(\)"):
        make_execution(between().append(_Sum())).place(make_rows())


class _Sum(nn.Module):
    """A module that forgets the rows."""

    def forward(self, x):
        return x.sum()


@pytest.mark.parametrize("make", [check_network, TorchExecution, has_dense_hidden_layer])
def test_lazy_layers_are_refused(make):
    network = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, C))
    others = {check_network: (D, C), TorchExecution: (Recipe(),)}.get(make, ())
    with pytest.raises(ValueError, match="run one batch through the network first"):
        make(network, *others)
    network(torch.zeros(2, D))
    make(network, *others)


# ---- several processes ----


class _Rank:
    """The verbs of one of several processes, which hears nothing of the others."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def mean_(self, array):
        return array

    sum_ = mean_

    def share(self, arrays, owners):
        return arrays


def test_dropout_differs_between_ranks():
    drawn = {}
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        network = between(Noise())
        execution = make_execution(network, ranks=_Rank(rank, size))
        placed = execution.place(make_rows())
        network[1].drawn.clear()
        execution.epoch(placed, np.arange(N), [0.1])
        drawn[rank, size] = network[1].drawn[0]
    assert torch.equal(drawn[0, 1], drawn[0, 2])
    assert not torch.equal(drawn[0, 2], drawn[1, 2])
