"""Networks as files of earlier versions hold them: an attribute for each thing that is one value today."""

from sklearn_analytic.estimator.epoch_targets import NetworkNumbers


def of_before(model, *unknown):
    """Return a fitted estimator as it comes from such a file, which knows no attributes of these names."""
    trained = model._trained
    state = {name: value for name, value in vars(model).items() if name != "_trained"}
    going = {"execution": trained.snapshot, "layout": trained.layout, "kind": trained.kind}
    going |= {"seed": trained.seed, "blocks": trained.blocks}
    state |= {"_encoding": trained.reading.encoding, "_column_moments": trained.reading.moments}
    state |= {"_weight_shapes": trained.shapes, "_training_state": going}
    if isinstance(trained.targets, NetworkNumbers):
        numbers = trained.targets
        state |= {"_target_mean": numbers.mean, "_target_scale": numbers.scale, "_target_rows": numbers.rows}
        state |= {"_one_target": numbers.one_dimensional}
    elif trained.targets.link != trained.targets.output:
        state |= {"_is_solved": True}
    found = type(model)(**model.get_params(deep=False))
    found.__setstate__({name: value for name, value in state.items() if name not in unknown})
    return found
