"""Fixtures shared by all tests: backends, dtypes, seeds and the hypothesis profiles."""

import os

# Before any OpenMP runtime is loaded: threads that wait must not spin, or tests that run beside other work crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # processes that share the cores take one each
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # The filters of warnings and plugins have loaded a BLAS by now, which reads no variable any more.
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

SEED = int(os.environ.get("SKLEARN_ANALYTIC_TESTS_SEED", "0"))

DEVICES = [
    pytest.param("cpu", id="numpy"),
    pytest.param("torch:cpu", id="torch"),
    pytest.param("cuda", id="cuda", marks=pytest.mark.gpu),
]


def pytest_report_header():
    return f"sklearn_analytic: SKLEARN_ANALYTIC_TESTS_SEED={SEED}"


def _skip_unless_available(device):
    if device == "cpu":
        return
    torch = pytest.importorskip("torch", reason=f"device {device!r} needs torch")
    if device.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


# The parametrised fixtures have session scope because a backend and a dtype carry no state, and
# because hypothesis objects to fixtures that are not renewed between its examples.


@pytest.fixture(scope="session", params=DEVICES)
def device(request):
    """A string for the parameter ``device``: NumPy, torch on the CPU, and CUDA where present."""
    _skip_unless_available(request.param)
    return request.param


@pytest.fixture(scope="session")
def backend(device):
    """The backend of each device."""
    from sklearn_analytic.backend import get_backend

    return get_backend(device)


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request):
    """float32 and float64 as NumPy dtypes; tolerances follow from it (tests/checks.py)."""
    return np.dtype(request.param)


@pytest.fixture(scope="session")
def global_seed():
    """The seed of this run: SKLEARN_ANALYTIC_TESTS_SEED, 0 unless set."""
    return SEED


@pytest.fixture
def pyplot():
    """matplotlib without a screen, and no figure left open."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.fixture
def rng(global_seed):
    """A fresh generator for each test, seeded for this run."""
    return np.random.default_rng(global_seed)
