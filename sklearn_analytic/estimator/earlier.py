"""State of earlier versions, an attribute for each thing, as the values of today."""

from dataclasses import replace

from sklearn_analytic.estimator.base import fresh_id
from sklearn_analytic.estimator.learned import Judges, Learned, Solved, Stage
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
