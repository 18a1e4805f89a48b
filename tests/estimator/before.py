"""Networks as files of earlier versions hold them: an attribute or a parameter for each thing in a value today."""

from dataclasses import replace

from sklearn.base import BaseEstimator

from sklearn_analytic.estimator.epoch_targets import NetworkNumbers

# {parameter of today: {parameter of before: (setting of today, default of before)}}
SOLVER = {
    "momentum": ("momentum", 0.9),
    "nesterovs_momentum": ("nesterovs_momentum", True),
    "beta_1": ("beta_1", 0.9),
    "beta_2": ("beta_2", 0.999),
    "epsilon": ("epsilon", 1e-8),
    "warmup_fraction": ("warmup_fraction", 0.0),
}
DEVICE = {"precision": ("precision", "float32")}
PROCESSES = DEVICE | {"distributed": ("distributed", False)}
IMAGES = {"image_shape": ("image_shape", None), "conv_layer_sizes": ("conv_layer_sizes", (32, 64))}
NETWORK = IMAGES | {"batch_norm": ("normalization", False)}
SEQUENCES = {"recurrent_layer_sizes": ("recurrent_layer_sizes", None), "sequence_length": ("sequence_length", None)}
FEEDBACK = {
    "feedback_init": ("init", "normal"),
    "feedback_shared": ("shared", False),
    "feedback_density": ("density", 0.1),
    "feedback_scale": ("scale", 1.0),
    "feedback_learning_rate": ("learning_rate", 1e-4),
    "refresh_interval": ("refresh_interval", 20),
    "module_size": ("module_size", 2),
    "tol_error": ("tol_error", "auto"),
    "alignment": ("alignment", False),
}
PARTITIONS = {
    "n_laps": ("n_laps", 3),
    "n_partitions": ("n_partitions", None),
    "local_loss": ("local_loss", "pred"),
    "head_depth": ("head_depth", 0),
    "head_width": ("head_width", None),
    "layer_start": ("layer_start", "identity"),
    "interlayer": ("interlayer", "window"),
    "memory_budget": ("memory_budget", None),
    "cache": ("cache", "memory"),
    "subsample": ("subsample", 1.0),
    "refit_head": ("refit_head", False),
}
PIPELINE = {
    "module_layers": ("module_layers", None),
    "balance": ("balance", "counted"),
    "operation_order": ("operation_order", "auto"),
    "shrink": ("shrink", 1.0),
    "accumulation_steps": ("accumulation_steps", 1),
    "accumulation": ("accumulation", "sum"),
    "weight_version": ("weight_version", "stash"),
    "recompute": ("recompute", "auto"),
    "predictor": ("predictor", "auto"),
    "regulator": ("regulator", 1.0),
    "batch_compensation": ("batch_compensation", None),
    "module_rates": ("module_rates", "equal"),
    "drain": ("drain", True),
    "executor": ("executor", "auto"),
}
OPTICS = {
    "optical_floor": ("floor", 0.0),
    "optical_input_norm": ("input_norm", 1.0),
    "optical_error_norm": ("error_norm", 0.5),
}
DFA = {"solver": SOLVER, "device": PROCESSES, "network": NETWORK | SEQUENCES, "feedback": FEEDBACK}
DFA |= {"activation": {"activation_bits": ("bits", None)}, "preconditioner": {"kfac_params": (None, None)}}
LAYERWISE = {"solver": SOLVER, "device": PROCESSES, "network": NETWORK, "partitions": PARTITIONS}
DECOUPLED = {"solver": SOLVER, "device": DEVICE, "network": IMAGES | {"normalization": ("normalization", None)}}
DECOUPLED |= {"pipeline": PIPELINE}
PRIVATE = {"solver": {"momentum": ("momentum", 0.9)}, "mechanism": OPTICS}
FAMILIES = {"DFA": DFA, "Layerwise": LAYERWISE, "Decoupled": DECOUPLED, "Private": PRIVATE}

LATER = ("shuffle", "verbose", "partitions", "pipeline")  # parameters that no such file knows
WORDS = {"preconditioner": "kfac", "mechanism": "photonic"}  # for a value of one kind


def flat_parameters(model):
    """Return the parameters of an estimator as earlier versions had them: flat, with the defaults of then."""
    given = model.get_params(deep=False)
    family = next(tables for name, tables in FAMILIES.items() if type(model).__name__.startswith(name))
    flat = {}
    for parameter, names in family.items():
        value = given[parameter]
        is_value = hasattr(value, "get_params")
        if is_value:
            given[parameter] = WORDS.get(parameter, None if parameter == "network" else getattr(value, "name", None))
        for name, (setting, default) in names.items():
            flat[name] = getattr(value, setting, default) if is_value and setting else default
        if parameter == "preconditioner" and is_value:
            flat["kfac_params"] = value.get_params()
        if parameter == "partitions" and isinstance(value, int):
            flat["n_partitions"] = value
    if "batch_norm" in flat:
        flat["batch_norm"] = flat["batch_norm"] == "batch"
    return {name: value for name, value in given.items() if name not in LATER} | flat


def of_before(model, *unknown):
    """Return a fitted estimator as it comes from such a file, which knows no attributes of these names."""
    trained = model._trained
    state = {name: value for name, value in vars(model).items() if name != "_trained"}
    if trained.snapshot is not None:
        going = {"execution": trained.snapshot, "layout": trained.layout, "kind": _flat_kind(trained.kind)}
        going |= {"seed": trained.seed, "blocks": trained.blocks}
        state |= {"_encoding": trained.reading.encoding, "_column_moments": trained.reading.moments}
        state |= {"_weight_shapes": trained.shapes, "_training_state": going}
    if isinstance(trained.targets, NetworkNumbers):
        numbers = trained.targets
        state |= {"_target_mean": numbers.mean, "_target_scale": numbers.scale, "_target_rows": numbers.rows}
        state |= {"_one_target": numbers.one_dimensional}
    elif trained.targets.link != trained.targets.output:
        state |= {"_is_solved": True}
    return _loaded(model, {name: value for name, value in state.items() if name not in unknown})


def with_flat_parameters(model):
    """Return an estimator, fitted or not, as it comes from a file whose parameters alone are of before."""
    state = dict(vars(model))
    if model._trained is not None:
        state |= {"_trained": replace(model._trained, kind=_flat_kind(model._trained.kind))}
    return _loaded(model, state)


def _loaded(model, state):
    """An estimator of a state with flat parameters in place of those of today."""
    state = {name: value for name, value in state.items() if name not in model.get_params(deep=False)}
    state |= flat_parameters(model)
    assert not [name for name, value in state.items() if isinstance(value, BaseEstimator)]
    found = type(model).__new__(type(model))
    found.__setstate__(state)
    return found


def _flat_kind(kind):
    """Names of before of the parameters that must stay."""
    return {_flat_name(name): value for name, value in kind.items()}


def _flat_name(name):
    """The parameter of before for a setting of today."""
    parameter, _, setting = name.partition("__")
    if name == "partitions":
        return "n_partitions"
    return (f"feedback_{setting}" if parameter == "feedback" else setting) if setting else name
