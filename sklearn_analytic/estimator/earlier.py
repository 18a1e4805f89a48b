"""State of earlier versions, an attribute for each thing, as the values of today."""

import math
from dataclasses import replace

import numpy as np

from sklearn_analytic.estimator.base import fresh_id
from sklearn_analytic.estimator.epoch_rows import Reading
from sklearn_analytic.estimator.epoch_targets import NetworkClasses, NetworkNumbers
from sklearn_analytic.estimator.late_scales import fresh_moments
from sklearn_analytic.estimator.learned import Judges, Learned, Solved, Stage, Trained, layout, shapes
from sklearn_analytic.estimator.targets import ClassTargets, LabelTargets, NumberTargets
from sklearn_analytic.features._audit import Contents
from sklearn_analytic.linalg._columns import with_columns
from sklearn_analytic.linalg._rows import embedded

_SUMS = {"_statistic", "_columns", "_network", "_layers", "_network_id", "_shard", "_n_shards", "_first_rows"}
_JUDGES = {"_seed", "_contents", "_audit", "_first_audit", "_one_copy"}
_TARGETS = {"_multilabel", "_classes_fixed", "_flat", "_one_dimensional", "_n_targets", "_level", "_unit"}
_READOUT = {"_coef", "_intercept", "_readouts", "_exits", "_links", "_link", "_readout"}
_REPLACED = _SUMS | _JUDGES | _TARGETS | _READOUT


def with_values(state):
    """Return the state of a closed-form estimator with values in place of what earlier versions kept."""
    if "_learned" in state or not state.keys() & {"_statistic", "_network"}:
        return state
    gone = _REPLACED | {"coef_", "intercept_"} if "_layers" in state else _REPLACED  # the two are properties now
    kept = {name: value for name, value in state.items() if name not in gone}
    return kept | {"_learned": learned_of(state), "_solved": _solved(state)}


def learned_of(state):
    """Return what rows have left behind, of a state or a file of statistics."""
    return _blockwise(state) if "_layers" in state else _network(state)


def _blockwise(state):
    """Layers, and sums with the moments of the columns where these were kept."""
    statistic = with_columns(state["_statistic"], state.get("_columns"))
    return Learned(_targets(state, absent=-1.0), tuple(state["_layers"]), statistic)


def _network(state):
    """A network with what judges it; the first versions told rows apart by one direction, and knew no copies."""
    contents = state.get("_contents") or Contents.of_old(state["_seed"], state["n_features_in_"])
    audit, size = state.get("_audit"), state.get("_first_audit", 0)
    network_id = state.get("_network_id", fresh_id())  # what had none had no shards
    shard = network_id, state.get("_shard", 0), state.get("_n_shards", 0)
    judges, network = Judges(state["_seed"], contents, audit, size, *shard), state["_network"]
    if "candidates_" in state:
        network = replace(network, candidates=tuple(state["candidates_"]))
    return Learned(_targets(state), network, state.get("_statistic"), judges, state.get("_first_rows"))


def _targets(state, absent=0.0):
    """Classes, labels or numbers."""
    if "classes_" not in state:
        unit = state.get("_unit")
        level = None if unit is None else state.get("_level", 0.0) + 0 * unit
        n_columns = state["_n_targets"] if unit is None else len(unit)
        return NumberTargets(n_columns, state.get("_flat", state.get("_one_dimensional")), level, unit)
    if state.get("_multilabel"):
        return LabelTargets(state["classes_"])
    return ClassTargets(state["classes_"], state["_classes_fixed"], absent)


def _solved(state):
    """What predicts; None in a shard, which does not."""
    if "_coef" in state:
        return Solved(Stage(state["_coef"], state["_intercept"]))
    if "_exits" in state:  # each of the columns that it reads
        network = state["_network"]
        parts = zip(state["_exits"], network.exit_columns(), state["_links"], strict=True)
        stages = tuple(
            Stage(embedded(coef, columns, network.n_features, 0), intercept, link)
            for (coef, intercept), columns, link in parts
        )
        return Solved(Stage(*state["_readout"], state["_link"]), stages)
    if "_readouts" not in state:
        return None
    links = state.get("_links", [None] * len(state["_readouts"]))
    stages = tuple(Stage(r.coef, r.intercept, link) for r, link in zip(state["_readouts"], links, strict=True))
    return Solved(stages[state["exit_"]], stages)


# ---- parameters ----


def with_parameters(state, kinds, names):
    """Return a state whose flat parameters of earlier versions, other than these names, are settings of values."""
    state = dict(state)
    for kind in kinds:
        if kind.earlier.keys() & state.keys() - set(names):
            state[kind.parameter] = kind.of_earlier(state)
    return state


# ---- networks trained by steps ----

_WEIGHTS = ("coefs_", "intercepts_", "network_state_", "heads_")
_COLUMNS = {"n_features_in_", "feature_names_in_"}
_SETTINGS = {  # {name of a parameter that must stay: its name as a setting}
    "precision": "device__precision",
    "feedback_init": "feedback__init",
    "feedback_shared": "feedback__shared",
    "n_partitions": "partitions",
    "normalization": "network__normalization",
    "balance": "pipeline__balance",
    "module_layers": "pipeline__module_layers",
}
_SETTINGS |= {name: f"partitions__{name}" for name in ("refit_head", "local_loss", "head_depth", "head_width")}
_SETTINGS |= {name: f"partitions__{name}" for name in ("layer_start", "interlayer")}
_STEPPED = {"_training_state", "_encoding", "_column_moments", "_weight_shapes", "_is_solved"}
_STEPPED |= {"_target_mean", "_target_scale", "_target_rows", "_one_target"}


def with_trained(state):
    """Return the state of an estimator trained by steps with one value in place of what earlier versions kept."""
    if "_trained" in state:
        return state | {"_trained": _with_settings(state["_trained"])}
    if "_training_state" not in state:
        return state
    encoding, moments, going = state["_encoding"], state.get("_column_moments"), state["_training_state"]
    if moments is None and encoding is not None:
        moments = fresh_moments(encoding)
    weights = [name for name in _WEIGHTS if name in state]
    trained = Trained(
        _network_targets(state),
        Reading(encoding, moments),
        {name: v for name, v in published(state).items() if name not in ("classes_", "temperature_")},
        state.get("_weight_shapes") or {name: shapes(state[name]) for name in weights},
        going["execution"],
        going.get("layout") or [layout(state[name]) for name in weights],
        going["kind"],
        going["seed"],
        going["blocks"],
    )
    kept = {name: value for name, value in state.items() if name not in _STEPPED}
    return kept | {"_trained": _with_settings(trained).without_weights()}


def _with_settings(trained):
    """What was trained, with the names of today of what must stay."""
    if trained is None:
        return None
    return replace(trained, kind={_SETTINGS.get(name, name): value for name, value in trained.kind.items()})


def published(state):
    """Return the fitted attributes of a state, columns apart."""
    return {name: v for name, v in state.items() if name[0] != "_" and name[-1] == "_" and name not in _COLUMNS}


def _network_targets(state):
    """Classes, or numbers in units."""
    if "classes_" in state:
        output = state.get("output", "softmax")
        link = "linear" if state.get("_is_solved") else output
        return NetworkClasses(state["classes_"], output, link, state["temperature_"])
    mean = state["_target_mean"]
    rows = state.get("_target_rows", np.full(len(mean), math.inf))
    return NetworkNumbers(mean, state["_target_scale"], rows, state["_one_target"])
