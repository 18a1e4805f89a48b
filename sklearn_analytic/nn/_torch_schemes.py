"""Who gets which error: schemes over the stages of a network, each filling the gradients of all parameters.

Every segment of stages runs on a detached input, and its output is given an error; so the derivatives of its own
activation, pooling and normalisation are exact, whatever the error. Notation of docs/theory: e = dLoss/dlogits, one
row per sample, on the scale of the mean loss. ``run`` is run_segments, or what runs it for several processes.
"""

from sklearn_analytic.nn._feedback import follows_weights
from sklearn_analytic.nn._torch_feedback import NoFeedback, ProjectedFeedback
from sklearn_analytic.nn._torch_modular import FollowingFeedback, ModularFeedback
from sklearn_analytic.nn._torch_stages import Segment, run_segments, send_back


def backprop(segments, feedback, x, error_of, run=run_segments):
    """Send the error through the whole network; return the loss."""
    _, outputs = run(segments, x)
    loss, error = error_of(outputs[-1])
    send_back(outputs, [error])
    return loss


def projected(segments, feedback, x, error_of, run=run_segments):
    """Give every hidden segment ``e B_l`` and the last one ``e``; return the loss."""
    _, outputs = run(segments, x, watches=feedback.watches())
    loss, error = error_of(outputs[-1])
    feedback.prepare()
    projections = [feedback.project(k, error, output) for k, output in enumerate(outputs[:-1])]
    send_back(outputs, [*projections, error])
    feedback.learn(x, outputs, error)
    return loss


def modular(segments, feedback, x, error_of, run=run_segments):
    """Carry the error exactly over the borders of modules, and by sparse paths inside; return the loss."""
    inputs, outputs = run(segments, x, linked=feedback.linked, watches=feedback.watches())
    loss, error = error_of(outputs[-1])
    feedback.prepare()
    for module in reversed(feedback.modules):
        feedback.send(module, outputs, error)
        error = inputs[module[0]].grad
    return loss


def _whole(stages, recipe):
    """One segment: nothing is cut."""
    return [Segment(tuple(stages))]


def _each(stages, recipe):
    """Every stage is a segment."""
    return [Segment((stage,)) for stage in stages]


def _trunk(stages, recipe):
    """Everything up to the first dense hidden stage is one segment, then every stage (Han & Yoo 2019)."""
    dense = [k for k, stage in enumerate(stages[:-1]) if stage.kind == "dense"]
    if not dense:
        raise ValueError(
            'scheme="hybrid" projects the error to the first dense hidden layer, but the network has none: '
            'add one (hidden_layer_sizes), or use scheme="dfa" or "backprop"'
        )
    return [Segment(tuple(stages[: dense[0] + 1])), *_each(stages[dense[0] + 1 :], recipe)]


def modules_of(stages, size):
    """Return lists of consecutive stage indices: the modules of ``scheme="modular"``.

    A module holds up to ``size`` stages of one kind, and ends early at the last pooling among them; a recurrent layer
    is alone (its modules are made of time steps), and so is a layer of unknown kind.
    """

    def end(k, stop):
        pooling = [j for j in range(k, stop) if stages[j].pools]
        return pooling[-1] + 1 if pooling else stop

    return _cut(stages, size, end)


def followed_modules_of(stages, size):
    """Return the same for paths that follow the weights, whose products pass the stages between the first and the last.

    A module ends early at a stage that pools, reshapes, or ends in what is not known to keep its values apart; what
    the first and the last one end in is passed exactly.
    """

    def end(k, stop):
        inner = range(k + 1, stop - 1)
        ends = [j for j in inner if not stages[j].is_unit_by_unit or stages[j].reshapes or stages[j + 1].reshapes]
        return ends[0] + 1 if ends else stop

    return _cut(stages, size, end)


def _cut(stages, size, end):
    """Modules of up to ``size`` dense stages or convolutions; ``end(k, stop)`` is where one from ``k`` ends."""
    modules, k = [], 0
    while k < len(stages):
        kind, stop = stages[k].kind, k + 1
        while kind in ("dense", "conv") and stop < min(k + size, len(stages)) and stages[stop].kind == kind:
            stop += 1
        stop = end(k, stop)
        modules.append(list(range(k, stop)))
        k = stop
    return modules


def _no_feedback(recipe, segments, outputs, seed, ranks):
    """Nothing but the gradient."""
    return NoFeedback()


def _projected_feedback(recipe, segments, outputs, seed, ranks):
    """Matrices from the outputs."""
    return ProjectedFeedback(recipe, segments, outputs, seed, ranks)


def _modular_feedback(recipe, segments, outputs, seed, ranks):
    """Sparse paths inside modules, drawn or from the weights."""
    stages, size = [segment.last for segment in segments], recipe.module_size
    feedback = recipe.feedback
    if feedback.name == "sparse" and follows_weights(feedback):
        return FollowingFeedback(recipe, stages, followed_modules_of(stages, size), ranks)
    return ModularFeedback(feedback, stages, modules_of(stages, size), outputs, size, seed)


# {scheme: (cut stages into segments, make the feedback's state, fill the gradients)}
SCHEMES = {
    "backprop": (_whole, _no_feedback, backprop),
    "dfa": (_each, _projected_feedback, projected),
    "hybrid": (_trunk, _projected_feedback, projected),
    "modular": (_each, _modular_feedback, modular),
}
