"""Modules of earlier versions by their names of today: pickles and saved models name the modules of their classes."""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

_PACKAGE = __name__.partition(".")[0] + "."
RENAMED = {
    "_alignment_display": "feedback.display",
    "_architecture": "estimator.epoch_method",
    "_audit": "features._audit",
    "_base": "estimator.base",
    "_block_fit": "estimator.reduction",
    "_blocks": "io._passes",
    "_blockwise": "least_squares.method",
    "_brmp": "least_squares.estimators",
    "_calibration": "export.calibration",
    "_callbacks": "estimator.callbacks",
    "_classes": "estimator.targets",
    "_closed_form": "closed_form.estimators",
    "_closed_form_base": "closed_form.method",
    "_closed_form_network": "closed_form.network",
    "_closed_form_readout": "closed_form.readout",
    "_closed_form_regressor": "closed_form.estimators",
    "_collections": "io._checks",
    "_communication_display": "distributed.display",
    "_computation": "export.computation",
    "_convergence": "estimator.epoch_method",
    "_cpnet": "cpnet.estimator",
    "_decoupled": "decoupled.estimators",
    "_decoupled_base": "decoupled.method",
    "_decoupled_regressor": "decoupled.estimators",
    "_dense_chain": "export.dense_chain",
    "_dfa": "feedback.estimators",
    "_dfa_base": "feedback.method",
    "_dfa_regressor": "feedback.estimators",
    "_export": "export.verbs",
    "_extreme_weights": "estimator.weights",
    "_first_rows": "estimator.learned",
    "_gradient_base": "estimator.epochs",
    "_gradient_blocks": "estimator.epochs",
    "_gradient_classifier": "estimator.epoch_targets",
    "_gradient_regressor": "estimator.epoch_targets",
    "_hidden_features": "estimator.reduction",
    "_hidden_step": "least_squares.method",
    "_importance_display": "closed_form.display",
    "_input_shares": "least_squares.input_shares",
    "_late_scales": "estimator.late_scales",
    "_layer_diagnostics_display": "layerwise.display",
    "_layer_plans": "layerwise.plans",
    "_layer_readout": "layerwise.readout",
    "_layer_search": "closed_form.network",
    "_layerwise": "layerwise.estimators",
    "_layerwise_base": "layerwise.method",
    "_layerwise_regressor": "layerwise.estimators",
    "_module_plans": "decoupled.plans",
    "_network": "cpnet.network",
    "_networks": "nn._plans",
    "_onnx": "export.onnx_model",
    "_onnx_continuation": "export.onnx_continuation",
    "_onnx_encodings": "export.onnx_encodings",
    "_onnx_graph": "export.onnx_graph",
    "_onnx_heads": "export.onnx_heads",
    "_onnx_layers": "export.onnx_layers",
    "_onnx_patches": "export.onnx_patches",
    "_onnx_trees": "export.onnx_trees",
    "_plotting": "estimator.plotting",
    "_private_dfa": "private.estimator",
    "_public_scale": "private.scale",
    "_readout_attributes": "least_squares.estimators",
    "_rows": "features._sampling",
    "_sklearn_models": "export.to_sklearn",
    "_solvers": "linalg._solvers",
    "_source_rows": "io._sources",
    "_statistics_file": "estimator.statistics_file",
    "_timeline_display": "decoupled.display",
    "_trusted_types": "estimator.trusted_types",
    "_version_stamp": "estimator.version_stamp",
    "_written_weights": "estimator.written_weights",
    "estimator.first_rows": "estimator.learned",
    "features._binning": "features._trees",
    "nn._accountants": "private.accountants",
    "nn._dense_cells": "decoupled.dense_cells",
    "nn._dense_stack": "layerwise.dense_stack",
    "nn._feature_cache": "layerwise.feature_cache",
    "nn._layered": "layerwise.layered",
    "nn._layerwise": "layerwise.training",
    "nn._partitions": "layerwise.partitions",
    "nn._photonic": "private.photonic",
    "nn._pipeline": "decoupled.pipeline",
    "nn._pipeline_execution": "decoupled.pipeline_execution",
    "nn._pipeline_executors": "decoupled.pipeline_executors",
    "nn._pipeline_worker": "decoupled.pipeline_worker",
    "nn._predictors": "decoupled.predictors",
    "nn._private": "private.training",
    "nn._redundancy": "layerwise.redundancy",
    "nn._simulation": "decoupled.simulation",
    "nn._splitting": "decoupled.splitting",
    "nn._torch_cell": "decoupled.torch_cell",
    "nn._torch_cells": "decoupled.torch_cells",
    "nn._torch_costs": "decoupled.torch_costs",
    "nn._torch_devices": "decoupled.torch_devices",
    "nn._torch_draws": "decoupled.torch_draws",
    "nn._torch_factors": "layerwise.torch_factors",
    "nn._torch_heads": "layerwise.torch_heads",
    "nn._torch_partition": "layerwise.torch_partition",
    "nn._torch_sides": "layerwise.torch_sides",
    "nn._torch_stack": "layerwise.torch_stack",
    "nn._torch_starts": "layerwise.torch_starts",
    "nn._torch_weights": "decoupled.torch_weights",
}


class OldNames(MetaPathFinder, Loader):
    """Opens a module under its old name: an empty one that looks up everything in the new one."""

    def find_spec(self, name, path=None, target=None):
        """Return a specification for the old names, None for all others."""
        return ModuleSpec(name, self) if name.removeprefix(_PACKAGE) in RENAMED else None

    def exec_module(self, module):
        """Let the module look up its names in the new one."""
        new = import_module(_PACKAGE + RENAMED[module.__name__.removeprefix(_PACKAGE)])
        module.__getattr__ = new.__getattribute__


def let_old_names_be_found():
    """Install the finder, once."""
    if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
        sys.meta_path.append(OldNames())


def old_names_of(module):
    """Return the old names of a module."""
    return [_PACKAGE + old for old, new in RENAMED.items() if _PACKAGE + new == module]
