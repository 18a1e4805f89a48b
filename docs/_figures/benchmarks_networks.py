"""Figure of the page of benchmarks: networks trained by gradients beside each other and beside the closed form."""

from make_figures import BACKPROP, FIFTH, OTHER, OURS, decades, figure, summary_of
from matplotlib import pyplot as plt

SMALL = 9  # points, of the names of models
# {key in the file: (name, colour)}
MODELS = {
    "closed_form": ("ClosedFormMLP", FIFTH),
    "dfa": ("DFAClassifier", OURS),
    "layerwise": ("LayerwiseMLP", OURS),
    "decoupled": ("DecoupledMLPClassifier", OURS),
    "dfa, all layers": ("DFAClassifier, all layers read", OURS),
    "dfa, tuned": ("DFAClassifier, tuned", OURS),
    "mlp": ("MLPClassifier", BACKPROP),
    "mlp, 2x256": ("MLPClassifier((256, 256))", BACKPROP),
    "mlp, tuned": ("MLPClassifier, tuned", BACKPROP),
    "torch_loop": ("PyTorch loop", OTHER),
}


@figure("bench_networks", data=("networks",))
def networks():
    """Points to scikit-learn's default network, log-loss and seconds of a fit, model by model."""
    lines = summary_of("networks")
    shown = [key for key in MODELS if key in lines]
    places, colours = range(len(shown)), [MODELS[key][1] for key in shown]
    drawn, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 3.2), sharey=True, width_ratios=(1.3, 1, 1))
    for place, key in zip(places, shown, strict=True):
        gap, error = (lines[key].get(f"points_to_mlp{end}", 0) for end in ("", "_se"))
        left.errorbar(gap, place, xerr=error or None, fmt="o", color=MODELS[key][1], capsize=3)
    left.axvline(0, color=BACKPROP, lw=1, ls=":")
    middle.scatter([lines[key]["log_loss"] for key in shown], places, color=colours)
    right.scatter([lines[key]["fit_cpu_seconds"] for key in shown], places, color=colours)
    left.set_yticks(places, [MODELS[key][0] for key in shown], fontsize=SMALL)
    left.invert_yaxis()
    left.set_xlabel("accuracy, points\nto MLPClassifier")
    middle.set_xlabel("log-loss, mean")
    decades(right, (0.5, 1, 2, 5, 10, 20))
    right.set_xlabel("processor seconds\nof a fit")
    return drawn
