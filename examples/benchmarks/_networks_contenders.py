"""The contenders of ``networks.py``: a network each, behind what it needs of its input, or a search around it."""

from functools import cache

import numpy as np
from _networks_torch import TorchNetwork
from accuracy import timed
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterSampler, StratifiedKFold, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_analytic import ClosedFormMLP, DecoupledMLPClassifier, DenseNetwork, DFAClassifier, LayerwiseMLP

NETWORK = (256, 256)
FEW_ROWS = 2000  # up to which a search takes three folds
# {contender: a function of the seed}; those of PEERS get standardised columns
OURS = {
    "closed_form": lambda seed: ClosedFormMLP(random_state=seed),
    "dfa": lambda seed: DFAClassifier(random_state=seed),
    "layerwise": lambda seed: LayerwiseMLP(random_state=seed),
    "decoupled": lambda seed: DecoupledMLPClassifier(random_state=seed),
    "dfa, all layers": lambda seed: DFAClassifier(network=DenseNetwork(readout="all_layers"), random_state=seed),
}
PEERS = {
    "mlp": lambda seed: MLPClassifier(random_state=seed),
    "mlp, 2x256": lambda seed: MLPClassifier(NETWORK, random_state=seed),
    "torch_loop": lambda seed: TorchNetwork(NETWORK, random_state=seed),
}
TUNED = {"dfa, tuned": "dfa", "mlp, tuned": "mlp"}  # {contender: what is searched}
CONTENDERS = (*OURS, *PEERS, *TUNED)
SPACE = {
    "hidden_layer_sizes": [(100,), (256,), (256, 256)],
    "learning_rate_init": loguniform(3e-4, 1e-2),
    "early_stopping": [False, True],
}
# scikit-learn divides its penalty by the rows of a batch, 200 at most
PENALTY = {"dfa": loguniform(1e-5 / 200, 1e-1 / 200), "mlp": loguniform(1e-5, 1e-1)}


def build(contender, images, n_rows, seed, options):
    """The unfitted contender, for so many training rows."""
    if contender in OURS:
        return OURS[contender](seed)
    if contender in PEERS:
        scaler = FunctionTransformer() if images else StandardScaler()
        return make_pipeline(scaler, PEERS[contender](seed))
    base = TUNED[contender]
    return _search(build(base, images, n_rows, seed, options), base, n_rows, seed, options.candidates)


def _search(model, base, n_rows, seed, candidates):
    """A random search around a network; the first candidate are its defaults, the same draws follow for all."""
    prefix = f"{model.steps[-1][0]}__" if hasattr(model, "steps") else ""
    draws = ParameterSampler(SPACE | {"alpha": PENALTY[base]}, candidates - 1, random_state=seed)
    tried = [{}, *({f"{prefix}{key}": [value] for key, value in draw.items()} for draw in draws)]
    few = StratifiedKFold(3, shuffle=True, random_state=seed)
    folds = few if n_rows <= FEW_ROWS else StratifiedShuffleSplit(1, test_size=0.2, random_state=seed)
    return GridSearchCV(model, tried, cv=folds, error_score="raise")


def facts(model, X, y):
    """Epochs of a fitted contender; of a search what it chose, and the seconds of a fit of that alone."""
    if not hasattr(model, "best_estimator_"):
        network = model[-1] if hasattr(model, "steps") else model
        return {"epochs": getattr(network, "n_iter_", None)}
    chosen = {key.rpartition("__")[2]: value for key, value in model.best_params_.items()}
    _, wall, processor = timed(clone(model.best_estimator_).fit, X, y)
    return {"chosen": chosen, "refit_seconds": wall, "refit_cpu_seconds": processor}


@cache
def warm_up(contender):
    """Fit the network of a contender to a few rows of two and of three classes: what is compiled is compiled then."""
    rng = np.random.default_rng(0)
    X, base = rng.standard_normal((120, 5)).astype(np.float32), TUNED.get(contender, contender)
    network = (OURS | PEERS)[base](0)
    short = {"max_iter": 1} if "max_iter" in network.get_params(deep=False) else {}
    for n_classes in (2, 3):
        network.set_params(**short).fit(X, np.arange(len(X)) % n_classes)
