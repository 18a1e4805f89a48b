"""
Can a tracker learn while it watches?
=====================================

Direct feedback was proposed for convolutional networks in a low-power chip that tracks an object
and retrains its last layers, a few samples per frame (Han and Yoo 2019). This is that task in
miniature, with dense layers alone: a small network tells patches of an object from patches of its
surroundings. It is trained on the first frame; in every later one the best patch near the last
position is taken for the object, samples around it are foreground, samples farther away
background, and one ``partial_fit`` on them prepares the network for the next frame.

The scenes are made from the two photographs that come with scikit-learn: a round cut-out of one
moves over the other while it turns, shrinks and grows, and slowly becomes brighter. A tracker that
does not learn keeps looking for what it saw first. Three that learn differ in the error that their
hidden layers receive: backpropagation, direct feedback (default), and binary feedback (fixed signs).

What this shows: on the whole, trackers that learn keep the object in sight longer than one that
does not, with any of the three errors. What it does not show: which of the three is best. A
tracker that has lost its object seldom finds it again, so that one scene more or less decides the
order of the learners; other paths gave other orders. Nor does it show how any of them does on
films, where objects are hidden and surroundings move.

Run ``python examples/plot_09_dfa_online.py`` (needs pillow, for the photographs; under a minute on
two cores) with ``--out DIR`` for the folder of the figure ``dfa_online.png`` and ``--quick`` for
one scene and fewer frames.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_sample_images

from sklearn_analytic import DFAClassifier

TRACKERS = {
    "backprop": {"scheme": "backprop"},
    "direct feedback": {},
    "binary feedback": {"feedback": "binary"},
    "no update": {},
}
SIDE, RADIUS = 12, 22.0  # pixels of a patch that the network sees; radius of the object in the frame, at scale 1
REACH = np.arange(-12, 13, 2)  # search: shifts in pixels along both axes, and
SCALES = np.array([0.96, 1.0, 1.04])  # ... factors of the size
SEEDS = (2, 3, 4)  # paths of the scenes; the tracker's settings were tried on 0 and 1


# %%
# The scenes. A box is (row, column, half of the side). Photographs are halved; the cut-outs are the
# bloom and the top of the pagoda, given as (row, column, radius) in the halved pictures.


def photographs():
    """[(background, cut-out's picture, its place)] of the two kinds of scene."""
    china, flower = (image[:426].reshape(213, 2, 320, 2, 3).mean(axis=(1, 3)) for image in load_sample_images().images)
    return [(china, flower, (110, 153, 66)), (flower, china, (56, 104, 50))]


def scene(photograph, seed, n_frames):
    """Frames (n, 213, 320, 3) in 0..255 and true boxes (n, 3); the phases of the path depend on the seed."""
    background, picture, place = photograph
    rng = np.random.default_rng(seed)
    phase, done = rng.uniform(0, 2 * np.pi, 3), np.linspace(0, 1, n_frames)
    time_of = 2 * np.pi * n_frames / 150 * done
    rows = 106 + 62 * np.sin(1.5 * time_of + phase[0])
    columns = 160 + 110 * np.sin(time_of + phase[1])
    sizes = RADIUS * np.exp(0.35 * (np.sin(1.3 * time_of + phase[2]) - np.sin(phase[2])))
    boxes = np.column_stack([rows, columns, np.clip(sizes, 14, 34)])
    frames = [
        pasted(background, picture, place, box, angle=1.2 * share, gain=0.5 + 0.9 * share)
        + rng.normal(0, 6, background.shape)
        for box, share in zip(boxes, done, strict=True)
    ]
    return np.clip(frames, 0, 255), boxes


def pasted(background, picture, place, box, angle, gain):
    """The background with the turned, scaled and brightened cut-out in the box."""
    row, column = np.indices(background.shape[:2])
    offsets = np.stack([row - box[0], column - box[1]])
    inside = np.hypot(*offsets) < box[2]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = turn @ offsets[:, inside] * (place[2] / box[2]) + np.array(place[:2])[:, None]
    frame = background.copy()
    frame[inside] = gain * np.stack([map_coordinates(picture[..., c], source, order=1) for c in range(3)], axis=1)
    return frame


# %%
# Patches: boxes of any size, read at 12 x 12 points. Values are between -1 and 1 and are given to
# the network as they are, so that brightness matters, as it does to a network in a chip.


def patches(frame, boxes):
    """Rows (n, 12 * 12 * 3) of boxes (n, 3)."""
    grid = np.linspace(-0.9, 0.9, SIDE)
    rows = np.clip(np.rint(boxes[:, :1] + boxes[:, 2:] * grid), 0, frame.shape[0] - 1).astype(int)
    columns = np.clip(np.rint(boxes[:, 1:2] + boxes[:, 2:] * grid), 0, frame.shape[1] - 1).astype(int)
    found = frame[rows[:, :, None], columns[:, None, :]]
    return (found.reshape(len(boxes), -1) / 127.5 - 1).astype(np.float32)


def overlap(boxes, box):
    """Intersection over union of square boxes (n, 3) with one box."""
    low = np.maximum(boxes[:, :2] - boxes[:, 2:], box[:2] - box[2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], box[:2] + box[2])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    return both / (4 * boxes[:, 2] ** 2 + 4 * box[2] ** 2 - both)


def samples(frame, box, rng, n):
    """n patches of the object, and four times as many of its surroundings; labels 1 and 0.

    Background is what overlaps the box by less than 0.6: half of it hits the object in part, or at a wrong size.
    """
    size = box[2]
    near = box + rng.normal(0, 1, (n, 3)) * np.array([0.7, 0.7, 0.02 * size])
    part = box + rng.uniform(-1, 1, (20 * n, 3)) * np.array([0.8 * size, 0.8 * size, 0.5 * size])
    far = box + rng.uniform(-1, 1, (20 * n, 3)) * np.array([4 * size, 4 * size, 0.2 * size])
    others = [boxes[overlap(boxes, box) < 0.6][: 2 * n] for boxes in (part, far)]
    boxes = np.vstack([near, *others])
    return patches(frame, boxes), np.repeat([1, 0], [n, len(boxes) - n])


# %%
# The tracker. Learning and searching use the tracker's own boxes; the truth is seen once, in the
# first frame. A doubtful best patch (less likely than not) teaches nothing.


def track(frames, first_box, parameters, learns, seed):
    """Return boxes (n, 3) and the seconds per frame."""
    rng = np.random.default_rng(seed)
    model = DFAClassifier((128, 64), learning_rate_init=1e-3, batch_size=32, input_encoding=None, random_state=seed)
    model.set_params(**parameters)
    memory = [samples(frames[0], first_box, rng, 64)]
    for _ in range(30):
        model.partial_fit(*memory[0], classes=[0, 1])
    boxes, start = [first_box], time.perf_counter()
    for frame in frames[1:]:
        box, likely = search(model, frame, boxes[-1])
        boxes.append(box)
        if learns and likely:
            memory.append(samples(frame, box, rng, 16))
            for _ in range(2):
                model.partial_fit(*mixed(memory, rng))
    return np.array(boxes), (time.perf_counter() - start) / (len(frames) - 1)


def mixed(memory, rng):
    """The newest samples, and as many older ones: from the first frame, which is certain, and from the last ten."""
    X, y = memory[-1]
    older = [np.concatenate(parts) for parts in zip(memory[0], *memory[-11:-1], strict=True)]
    drawn = rng.choice(len(older[1]), len(y), replace=False)
    return np.vstack([X, older[0][drawn]]), np.concatenate([y, older[1][drawn]])


def search(model, frame, last):
    """The mean of the five best boxes around the last one, and whether they are likely to be the object."""
    shifts = np.stack(np.meshgrid(REACH, REACH, SCALES, indexing="ij"), axis=-1).reshape(-1, 3)
    boxes = np.column_stack([last[:2] + shifts[:, :2], np.clip(last[2] * shifts[:, 2], 10, 40)])
    against = model.predict_log_proba(patches(frame, boxes))[:, 0]
    best = np.argsort(against, kind="stable")[:5]
    box = boxes[best].mean(axis=0)
    return np.clip(box, 0, [*frame.shape[:2], np.inf]), against[best].mean() < np.log(0.5)


# %%
# All trackers on all scenes.


def run_all(seeds, n_frames, kinds):
    """({tracker: overlaps of all frames of all scenes}, {tracker: ms per frame}, what the figure shows)."""
    overlaps, milliseconds, shown = {name: [] for name in TRACKERS}, {name: [] for name in TRACKERS}, []
    for kind, photograph in enumerate(photographs()[:kinds]):
        for seed in seeds:
            frames, truth = scene(photograph, seed, n_frames)
            tracks = {}
            for name, parameters in TRACKERS.items():
                tracks[name], seconds = track(frames, truth[0], parameters, name != "no update", seed)
                both = [overlap(box[None], true)[0] for box, true in zip(tracks[name], truth, strict=True)]
                overlaps[name] += [both[1:]]
                milliseconds[name].append(1000 * seconds)
            if seed == seeds[0]:
                shown.append((f"scene {kind + 1}", frames, truth, tracks))
    return {name: np.array(found) for name, found in overlaps.items()}, milliseconds, shown


def print_table(overlaps, milliseconds):
    scenes = len(overlaps["backprop"])
    print(f"{scenes} scenes{'':9s} mean overlap  overlap > 0.5  least of a scene  ms per frame")
    for name, found in overlaps.items():
        hits = found > 0.5
        print(
            f"{name:18s}{found.mean():10.3f}{hits.mean():15.3f}{hits.mean(axis=1).min():17.3f}"
            f"{np.median(milliseconds[name]):14.1f}"
        )


def draw(overlaps, shown, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    colors = dict(zip(TRACKERS, ("C0", "C1", "C2", "C3"), strict=True))
    figure = pyplot.figure(figsize=(14, 1.2 + 2.1 * len(shown)), layout="constrained")
    pictures, curve = figure.subfigures(1, 2, width_ratios=(2.6, 1))
    axes = pictures.subplots(len(shown), 3, squeeze=False)
    for row, (title, frames, truth, tracks) in zip(axes, shown, strict=True):
        for axis, k in zip(row, np.linspace(0, len(frames) - 1, 4)[1:].astype(int), strict=True):
            axis.imshow(frames[k].astype(np.uint8))
            for name, boxes in [("truth", truth), *tracks.items()]:
                outline(axis, pyplot, boxes[k], colors.get(name, "white"), "--" if name == "truth" else "-")
            axis.set(title=f"{title}, frame {k + 1}", xticks=[], yticks=[])
            axis.set(xlim=(0, frames.shape[2] - 1), ylim=(frames.shape[1] - 1, 0))
    pictures.supxlabel("dashed: the true box; colours as in the curves", fontsize="medium")
    axis, thresholds = curve.subplots(), np.linspace(0, 1, 101)
    for name, found in overlaps.items():
        shares = [(found > threshold).mean() for threshold in thresholds]
        axis.plot(thresholds, shares, color=colors[name], label=f"{name} (mean {found.mean():.2f})")
    axis.set(xlabel="threshold of the overlap", ylabel="share of frames above it", ylim=(0, 1.02), xlim=(0, 1))
    axis.set_title(f"success on {len(overlaps['backprop'])} scenes")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left", fontsize="small")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "dfa_online.png", dpi=120)


def outline(axis, pyplot, box, color, style):
    corner, side = (box[1] - box[2], box[0] - box[2]), 2 * box[2]
    axis.add_patch(pyplot.Rectangle(corner, side, side, fill=False, edgecolor=color, linestyle=style, linewidth=1.6))


def main():
    parser = argparse.ArgumentParser(description="Can a tracker learn while it watches?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="one scene, fewer frames")
    options = parser.parse_args()
    if options.quick:
        overlaps, milliseconds, shown = run_all(SEEDS[:1], n_frames=80, kinds=1)
    else:
        overlaps, milliseconds, shown = run_all(SEEDS, n_frames=100, kinds=2)
    print_table(overlaps, milliseconds)
    draw(overlaps, shown, options.out)


if __name__ == "__main__":
    main()
