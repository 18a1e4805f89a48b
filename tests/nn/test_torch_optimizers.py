"""Steps of our optimiser are those of torch's classes, bit for bit, and nobody waits for torch's compiler."""

import copy
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from sklearn_analytic.nn._recipe import Optimizer  # noqa: E402
from sklearn_analytic.nn._torch_optimizers import optimizer_of  # noqa: E402
from sklearn_analytic.nn._torch_stages import send_back  # noqa: E402

KINDS = {
    "sgd": lambda groups, o: torch.optim.SGD(groups, 0.1, momentum=o.momentum, nesterov=o.nesterov, fused=True),
    "adam": lambda groups, o: torch.optim.Adam(groups, 0.1, (o.beta_1, o.beta_2), o.epsilon, fused=True),
    "adamw": lambda groups, o: torch.optim.AdamW(groups, 0.1, (o.beta_1, o.beta_2), o.epsilon, fused=True),
}
RULES = [
    Optimizer("sgd", momentum=0.0, nesterov=False, alpha=0.1),
    Optimizer("sgd", nesterov=False),
    Optimizer("sgd", alpha=0.1),
    Optimizer("adam", alpha=0.1),
    Optimizer("adamw", beta_1=0.5, beta_2=0.9, epsilon=1e-3, alpha=0.1),
]


def theirs_of(parameters, o):
    weights, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
    groups = [{"params": weights, "weight_decay": o.alpha}, {"params": others, "weight_decay": 0.0}]
    return KINDS[o.name](groups, o)


def stepped(ours, theirs, mine, their, generator, rates, idle=()):
    """The same gradients to both; parameters of ``idle`` get none."""
    for rate in rates:
        for k, (p, q) in enumerate(zip(mine, their, strict=True)):
            p.grad = None if k in idle else torch.randn(p.shape, generator=generator, dtype=p.dtype)
            q.grad = None if k in idle else p.grad.clone()
        for group in theirs.param_groups:
            group["lr"] = rate
        ours.step(rate)
        theirs.step()
        for p, q in zip(mine, their, strict=True):
            assert torch.equal(p, q)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("o", RULES, ids=lambda o: f"{o.name}-{o.momentum}-{o.nesterov}")
def test_steps_are_those_of_torch(o, dtype):
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator, dtype=dtype) for shape in ((4, 3), (4,), (2, 3, 2, 2), ())]
    mine, their = ([d.clone().requires_grad_() for d in drawn] for _ in range(2))
    ours, theirs = optimizer_of(mine, o), theirs_of(their, o)
    stepped(ours, theirs, mine, their, generator, (0.1, 0.05), idle=(2, 3))
    saved = copy.deepcopy(ours.state_dict())
    if o.name == "sgd":  # torch's fused steps with momentum take parameters that all have one, or none
        assert list(saved["state"]) == [0, 2]  # those that had a gradient; weights first
        return
    stepped(ours, theirs, mine, their, generator, (0.02,))
    ours, fresh = optimizer_of(mine, o), theirs_of(their, o)
    ours.load_state_dict(copy.deepcopy(saved))
    fresh.load_state_dict({"state": saved["state"], "param_groups": fresh.state_dict()["param_groups"]})
    stepped(ours, fresh, mine, their, generator, (0.1, 0.05))


def test_frozen_parameters_stay():
    frozen, trained = torch.ones(2, 2), torch.ones(2, 2, requires_grad=True)
    optimizer = optimizer_of([frozen, trained], Optimizer("sgd", momentum=0.0))
    trained.grad = torch.ones(2, 2)
    optimizer.step(0.5)
    assert torch.equal(frozen, torch.ones(2, 2)) and torch.equal(trained, torch.full((2, 2), 0.5))
    optimizer.zero_grad()
    optimizer.step(0.5)
    assert trained.grad is None and torch.equal(trained, torch.full((2, 2), 0.5))


def test_errors_have_the_shapes_of_outputs():
    output = torch.ones(3, 1, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="every error must have the shape of its output"):
        send_back([output], [torch.ones(3, 2)])  # which autograd itself would sum over
    send_back([torch.ones(3, 1)], [torch.ones(3, 1)])  # nothing trains it


def test_a_fit_imports_no_compiler():
    """It takes 2 seconds of every process, and nothing is compiled by it."""
    script = (
        "import sys, numpy as np\n"
        "from sklearn_analytic import DFAClassifier, DecoupledMLPClassifier, ImageNetwork, LayerwiseMLP\n"
        "X, y = np.random.default_rng(0).standard_normal((64, 16)), np.arange(64) % 3\n"
        "shared = {'max_iter': 1, 'random_state': 0, 'tol': 0}\n"
        "DFAClassifier((8,), network=ImageNetwork((4, 4), (2,)), feedback='dkp', **shared).fit(X, y)\n"
        "DecoupledMLPClassifier((8, 8), device='torch:cpu', **shared).fit(X, y)\n"
        "LayerwiseMLP((8, 8), device='torch:cpu', **shared).fit(X, y)\n"
        "print([m for m in ('torch._dynamo', 'torch._inductor', 'sympy') if m in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
