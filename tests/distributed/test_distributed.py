"""Two processes of torch.distributed train the network that one process trains."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklearn_analytic import Device, DFAClassifier, ImageNetwork
from tests.checks import assert_close

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240  # a bound against hanging

WORKER = """
import sys
import numpy as np
import torch.distributed as dist
from tests.distributed.test_distributed import MODELS, fitted, weights

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
found = {f"{name}:{k}": w for name in MODELS for k, w in enumerate(weights(fitted(name, distributed=True)))}
np.savez(f"{folder}/rank{rank}.npz", **found)
dist.destroy_process_group()
"""

# {name: parameters}; float64, because the order of a sum is all that may differ
MODELS = {
    "compiled, K-FAC on projected errors": {"preconditioner": "kfac", "solver": "sgd", "learning_rate_init": 0.05},
    "compiled, K-FAC on exact errors": {"preconditioner": "kfac", "scheme": "backprop"},
    "compiled, binary": {"feedback": "binary"},
    "torch, convolutions and K-FAC": {
        "network": ImageNetwork((8, 8), (4,)),
        "preconditioner": "kfac",
        "feedback": "random",
    },
}


def fitted(name, distributed):
    X, y = load_digits(return_X_y=True)
    device = Device(precision="float64", distributed=distributed)
    model = DFAClassifier((16, 16), max_iter=2, batch_size=40, random_state=0, device=device)
    return model.set_params(**MODELS[name]).fit(X[:300], y[:300])


def weights(model):
    return model.coefs_ if hasattr(model, "coefs_") else list(model.network_state_.values())


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """{rank: {name:k: weights}} of two processes."""
    torch = pytest.importorskip("torch")
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("needs gloo")
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "worker.py").write_text(WORKER)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "worker.py"), str(folder)]
    logs = [folder / f"errors{rank}.txt" for rank in (0, 1)]
    workers = []
    for rank, log in enumerate(logs):
        with log.open("w") as stream:
            workers.append(subprocess.Popen([*command, str(rank)], env=environment, stderr=stream, cwd=folder))
    try:
        codes = [worker.wait(timeout=SECONDS) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert codes == [0, 0], "".join(log.read_text()[-3000:] for log in logs)
    return {rank: dict(np.load(folder / f"rank{rank}.npz")) for rank in (0, 1)}


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_are_one(ranks, name):
    for k, expected in enumerate(weights(fitted(name, distributed=False))):
        np.testing.assert_array_equal(ranks[0][f"{name}:{k}"], ranks[1][f"{name}:{k}"])
        # eigenvectors of a damped factor, and Adam, magnify rounding
        assert_close(ranks[0][f"{name}:{k}"], expected, "float64", scale=1e4)


def test_a_group_is_asked_for():
    pytest.importorskip("torch")
    X, y = load_digits(return_X_y=True)
    with pytest.raises(ValueError, match="init_process_group"):
        DFAClassifier((8,), device=Device(distributed=True), random_state=0).fit(X, y)
