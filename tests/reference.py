"""Naive textbook versions of what the package computes fast: the oracles of its tests."""

import itertools
import math

import numpy as np
from scipy import linalg


def repeated(X, Y, weight):
    """Rows repeated by integer weights: what a weight means."""
    return np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0)


def lstsq(X, Y, fit_intercept=True, rcond=None):
    """Minimum-norm least squares by LAPACK on the centred data."""
    mx, my = (X.mean(0), Y.mean(0)) if fit_intercept else (np.zeros(X.shape[1]), np.zeros(Y.shape[1]))
    coef = linalg.lstsq(X - mx, Y - my, cond=1e-11 if rcond is None else rcond)[0]
    return coef, my - mx @ coef


def ridge(X, Y, alpha, fit_intercept=True):
    """Ridge as least squares of the data with sqrt(alpha) I stacked below."""
    mx, my = (X.mean(0), Y.mean(0)) if fit_intercept else (np.zeros(X.shape[1]), np.zeros(Y.shape[1]))
    d = X.shape[1]
    stacked = np.vstack([X - mx, np.sqrt(alpha) * np.eye(d)])
    coef = linalg.lstsq(stacked, np.vstack([Y - my, np.zeros((d, Y.shape[1]))]))[0]
    return coef, my - mx @ coef


def hat_matrix(X, alpha, fit_intercept=True):
    """The n x n matrix that maps Y to its ridge fit."""
    n = len(X)
    fits = [ridge(X, column[:, None], alpha, fit_intercept) for column in np.eye(n)]
    return np.hstack([X @ coef + intercept for coef, intercept in fits])


def gcv(X, Y, alpha, fit_intercept=True):
    """Generalised cross-validation from its definition, each target in units of its total sum of squares."""
    n, hat = len(X), hat_matrix(X, alpha, fit_intercept)
    rss = np.sum((Y - hat @ Y) ** 2, axis=0)
    total = np.sum((Y - Y.mean(0) if fit_intercept else Y) ** 2, axis=0)
    return np.sum(rss / total) / (1 - np.trace(hat) / n) ** 2


def leave_one_out(X, Y, alpha, fit_intercept=True):
    """Predict every row from a fit on all the others."""
    predictions = []
    for i in range(len(X)):
        rest = np.arange(len(X)) != i
        solve = ridge if alpha > 0 else lambda X, Y, alpha, fit: lstsq(X, Y, fit)
        coef, intercept = solve(X[rest], Y[rest], alpha, fit_intercept)
        predictions.append(X[i] @ coef + intercept)
    return np.array(predictions)


def kfold(X, Y, fold_of_row, alpha, fit_intercept=True):
    """Mean squared error of every target over held-out folds."""
    errors = np.zeros(Y.shape[1])
    for fold in np.unique(fold_of_row):
        out = fold_of_row == fold
        coef, intercept = ridge(X[~out], Y[~out], alpha, fit_intercept)
        errors += np.sum((Y[out] - X[out] @ coef - intercept) ** 2, axis=0)
    return errors / len(X)


def matrix_of_condition(rng, n, d, condition):
    """X with singular values spread logarithmically between 1 and 1/condition, times sqrt(n), and its column basis."""
    u = np.linalg.qr(rng.standard_normal((n, d)))[0]
    v = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return np.sqrt(n) * (u * np.logspace(0, -np.log10(condition), d)) @ v.T, u


def activate(name, z):
    """The activations, one line each."""
    return {
        "identity": lambda: z,
        "relu": lambda: np.maximum(z, 0),
        "tanh": lambda: np.tanh(z),
        "bump": lambda: np.exp(np.minimum(z, 0)),
        "gaussian": lambda: np.exp(-(z**2)),
        "cos": lambda: np.cos(z),
        "triangle": lambda: np.maximum(1 - np.abs(z), 0),
    }[name]()


def l1_distances(X, Z):
    """City-block distances, one pair at a time."""
    return np.array([[np.sum(np.abs(x - z)) for z in Z] for x in X])


def laplace_units(X, Z, inverse_width, weights):
    """Laplace bumps of weighted columns."""
    return np.array([np.exp(-inverse_width * np.sum(weights * np.abs(x - Z), axis=1)) for x in X])


def binning_signs(X, inverse_pitch, shift, multipliers, offset):
    """Bit 62 of a 64-bit hash of every grid's cell, in Python's integers."""
    signs = np.empty((len(X), shift.shape[1]))
    for i, x in enumerate(X):
        for p in range(shift.shape[1]):
            bins = [math.floor(x[k] * inverse_pitch[k, p] - shift[k, p]) for k in range(len(x))]
            code = int(offset[p]) + sum(b * int(m) for b, m in zip(bins, multipliers[:, p], strict=True))
            signs[i, p] = 1 - 2 * (code % 2**64 >> 62 & 1)
    return signs


def gated_units(X, gates, bias):
    """Rows with a one, copied once per open gate."""
    rows = []
    for x in X:
        lifted = np.append(x, 1.0)
        rows.append(np.concatenate([lifted * float(x @ g + b >= 0) for g, b in zip(gates.T, bias, strict=True)]))
    return np.array(rows)


def sandwiched(F, R, W, penalty):
    """argmin ||R - F D W||^2 + penalty ||D||^2 as one linear system in vec(D)."""
    system = np.kron(F.T @ F, W @ W.T) + penalty * np.eye(F.shape[1] * len(W))
    return np.linalg.solve(system, (F.T @ R @ W.T).ravel()).reshape(F.shape[1], len(W))


def forward_weights(A, Z, penalty):
    """Ridge of codes on rows and a penalised constant, by stacking."""
    A = np.hstack([A, np.ones((len(A), 1))])
    stacked = np.vstack([A, np.sqrt(penalty) * np.eye(A.shape[1])])
    return linalg.lstsq(stacked, np.vstack([Z, np.zeros((A.shape[1], Z.shape[1]))]))[0]


def gradient_energy(f, X, step=1e-6):
    """Mean squared derivative of every output by every input, summed over outputs, by central differences."""
    energy = np.zeros(X.shape[1])
    for k, unit in enumerate(np.eye(X.shape[1])):
        slope = (f(X + step * unit) - f(X - step * unit)) / (2 * step)
        energy[k] = np.sum(slope**2) / len(X)
    return energy


def discriminants(X, groups, pairs, shrinkage):
    """Mid-planes of pairs of means under the pooled covariance of groups of rows, +1 and -1 at the means."""
    means = [np.mean(X[g], axis=0) for g in groups]
    covariance = sum(np.cov(X[g].T, bias=True).reshape(X.shape[1], -1) * len(g) for g in groups) / len(X)
    covariance = covariance + shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    planes = []
    for a, b in pairs:
        w = np.linalg.solve(covariance, means[a] - means[b])
        w = 2 * w / (w @ (means[a] - means[b]))
        planes.append(np.append(w, -w @ (means[a] + means[b]) / 2))
    return np.array(planes).T


def inverse_tanh_layer(X, Y, W, b, V, margin):
    """One tanh layer by analytic target propagation: nearest activations with T V = Y, rescaled, regressed."""
    H = np.tanh(X @ W + b)
    T = H + (Y - H @ V) @ np.linalg.pinv(V)
    T = T - T.min(0)
    T = np.arctanh(-1 + margin * 2 + T / T.max(0) * 2 * (1 - 2 * margin))
    return lstsq(X, T)


def patch_rows(images, size, stride, floor):
    """Standardised patches of images, one at a time."""
    rows = []
    for image in images:
        for top in range(0, image.shape[1] - size[0] + 1, stride[0]):
            for left in range(0, image.shape[2] - size[1] + 1, stride[1]):
                patch = image[:, top : top + size[0], left : left + size[1]].ravel()
                rows.append((patch - patch.mean()) / np.sqrt(patch.var() + floor))
    return np.array(rows).reshape(-1, images.shape[1] * size[0] * size[1])


def pooled(responses, threshold, cells):
    """Means over cells of what exceeds a threshold on either side."""
    images = responses.reshape(-1, len(cells), responses.shape[1])
    means = []
    for cell in range(max(cells) + 1):
        for side in (1, -1):
            means.append(np.maximum(side * images[:, cells == cell] - threshold, 0).mean(axis=1))
    return np.hstack(means)


def patch_units(X, layer):
    """Roots of pooled two-sided responses of every bank, from patches one at a time."""
    images = ((X - layer.origin) / layer.scale).reshape(-1, *layer.image_shape)
    parts = []
    for bank in layer.banks:
        responses = patch_rows(images, bank.size, bank.stride, 0.001) @ bank.projection @ bank.filters
        parts.append(np.sqrt(pooled(responses, 0.25, bank.cells)))
    return np.hstack(parts)


def best_first_leaves(X, R, weights, most_leaves, least, shrinkage):
    """Leaf of every row of one regression tree, grown best split first, by trying every split of every node."""
    leaves = np.zeros(len(X), dtype=int)

    def score(rows):
        return np.sum((weights[rows] @ R[rows]) ** 2) / (weights[rows].sum() + shrinkage)

    def best_of(node):
        rows = np.flatnonzero(leaves == node)
        options = [(1e-9 * score(rows), None)]
        for j in range(X.shape[1]):
            for value in np.unique(X[:, j])[:-1]:
                left, right = rows[X[rows, j] <= value], rows[X[rows, j] > value]
                if min(weights[left].sum(), weights[right].sum()) >= least:
                    options.append((score(left) + score(right) - score(rows), right))
        return max(options, key=lambda option: option[0])

    for fresh in range(1, most_leaves):
        _, right = max((best_of(node) for node in range(fresh)), key=lambda option: option[0])
        if right is None:
            break
        leaves[right] = fresh
    return leaves


def leave_one_out_step(leaves, R, weights, step, shrinkage, copy):
    """Residuals after a step of each row's leaf mean over the other rows, one copy of the row left out, or all."""
    out = R.copy()
    for i in range(len(R)):
        copies = np.where(leaves == leaves[i], weights, 0.0)
        copies[i] -= min(weights[i], copy)
        out[i] -= step * (copies @ R) / (copies.sum() + shrinkage)
    return out


def softmax_step(leaves, margins, labels, weights, step, shrinkage, copy):
    """Margins after a Newton step of the log-loss by each row's leaf, the row or one copy of it left out; steps too."""
    n_classes = margins.shape[1]
    chances = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    pulls, curvatures = np.eye(n_classes)[labels] - chances, chances * (1 - chances)

    def newton(mass):
        return step * (n_classes - 1) / n_classes * (mass @ pulls) / (mass @ curvatures + 0.25 * shrinkage)

    out = margins.copy()
    for i in range(len(labels)):
        copies = np.where(leaves == leaves[i], weights, 0.0)
        copies[i] -= min(weights[i], copy)
        out[i] += newton(copies)
    return out, np.array([newton(np.where(leaves == leaf, weights, 0.0)) for leaf in np.unique(leaves)])


def fold_shares(hashes, targets, lengths, unit, n_folds, first_folds):
    """Weight of every row in every fold, walking along the copies of a content in small steps.

    ``first_folds`` are those of the first unit of the content of every row of positive weight.
    """
    steps_per_unit = 4
    out = np.zeros((len(lengths), n_folds))
    used = np.flatnonzero(lengths > 0)
    for content in np.unique(hashes[used]):
        position = 0
        for row in sorted(used[hashes[used] == content], key=lambda i: targets[i]):
            for _ in range(round(lengths[row] / unit * steps_per_unit)):
                fold = (first_folds[np.searchsorted(used, row)] + position // steps_per_unit) % n_folds
                out[row, fold] += unit / steps_per_unit
                position += 1
    return out


def walk(forest, node, row):
    """The leaf that a row ends in, one question at a time."""
    while forest.feature[node] >= 0:
        node = forest.child[node] + int(row[forest.feature[node]] > forest.threshold[node])
    return forest.leaf[node]


# ---- networks trained by steps ----

SLOPES = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "logistic": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
}


def output_loss(rule, z, k):
    """Loss of one row's raw outputs z for class k: log-loss, squared error, Poisson deviance, quartic."""
    others = np.arange(len(z)) != k
    return {
        "softmax": lambda: np.log(np.sum(np.exp(z - z[k]))),
        "linear": lambda: 0.5 * ((z[k] - 1) ** 2 + np.sum(z[others] ** 2)),
        "expgb": lambda: np.sum(0.1 * np.exp(z)) - 1 - np.log(0.1 * np.exp(z[k])),
        "pow3gb": lambda: np.sum(0.001 * z**4 / 4) - z[k] + 7.5,
    }[rule]()


def output_error(rule, z, k):
    """Its derivative: o - t."""
    o = {
        "softmax": lambda: np.exp(z - z.max()) / np.sum(np.exp(z - z.max())),
        "linear": lambda: z,
        "expgb": lambda: 0.1 * np.exp(z),
        "pow3gb": lambda: 0.001 * z**3,
    }[rule]()
    return o - np.eye(len(z))[k]


def weight_penalty(layers, alpha):
    """alpha / 2 times the sum of squared weights; biases carry none."""
    return 0.5 * alpha * sum(np.sum(np.square(W, dtype=np.float64)) for W, _ in layers)


def network_loss(layers, activation, X, y, weight=None, output="softmax", alpha=0.0):
    """Mean loss of a plain network: an output rule's for codes y (n,), half the squared error for targets (n, c).

    The penalty ``alpha`` is added.
    """
    h = X
    for W, b in layers[:-1]:
        h = SLOPES[activation][0](h @ W + b)
    f = h @ layers[-1][0] + layers[-1][1]
    if y.ndim == 1:
        losses = np.array([output_loss(output, row, k) for row, k in zip(f, y, strict=True)])
    else:
        losses = 0.5 * np.sum((f - y) ** 2, axis=1)
    return np.mean(losses if weight is None else weight * losses) + weight_penalty(layers, alpha)


def network_gradient(layers, activation, X, y, weight=None, feedback=None, output="softmax"):
    """[(dW, db), ...] of the mean loss, one row at a time; ``feedback`` [B_l (C, n_l)] replaces the transposes."""
    f, slope = SLOPES[activation]
    total = [(np.zeros_like(W), np.zeros_like(b)) for W, b in layers]
    for i, x in enumerate(X):
        h, z = [x], []
        for W, b in layers:
            z.append(h[-1] @ W + b)
            h.append(f(z[-1]))
        if y.ndim == 1:
            e = output_error(output, z[-1], y[i])
        else:
            e = z[-1] - y[i]
        e = e * (1 if weight is None else weight[i])
        d = e
        for k in range(len(layers) - 1, -1, -1):
            total[k] = (total[k][0] + np.outer(h[k], d), total[k][1] + d)
            if k > 0:
                d = (d @ layers[k][0].T if feedback is None else e @ feedback[k - 1]) * slope(z[k - 1])
    return [(dW / len(X), db / len(X)) for dW, db in total]


def mean_field_products(layers, slopes):
    """Products of the weights above every hidden layer (C, n), with the mean slopes of the layers between."""
    found = []
    for k in range(len(layers) - 1):
        product = np.eye(layers[-1][0].shape[1])
        for j in range(len(layers) - 1, k, -1):
            product = product @ layers[j][0].T
            if j > k + 1:
                product = product @ np.diag(slopes[j - 1])
        found.append(product)
    return found


def followed(product, density=1.0, signs=False):
    """The largest entries of a product, a share of all and one of every column; signs, in their column's mean size."""
    by_size = sorted(np.ndindex(product.shape), key=lambda place: -abs(product[place]))
    kept = set(by_size[: max(round(density * product.size), 1)])
    kept |= {(int(np.argmax(np.abs(column))), j) for j, column in enumerate(product.T)}
    found = np.zeros_like(product)
    for i, j in kept:
        mean = np.mean([abs(product[place]) for place in kept if place[1] == j])
        found[i, j] = product[i, j] if not signs else mean if product[i, j] >= 0 else -mean
    return found


def optimiser_step(name, state, theta, grad, rate, t, momentum, nesterov, beta_1, beta_2, epsilon, alpha):
    """One textbook step of one parameter array; ``state`` is a dict that is changed."""
    if name == "sgd":
        grad = grad + alpha * theta
        state["u"] = momentum * state.get("u", 0) + grad
        return theta - rate * (grad + momentum * state["u"] if nesterov else state["u"])
    if name == "adam":
        grad = grad + alpha * theta
    else:
        theta = theta * (1 - rate * alpha)
    state["m"] = beta_1 * state.get("m", 0) + (1 - beta_1) * grad
    state["v"] = beta_2 * state.get("v", 0) + (1 - beta_2) * grad**2
    m, v = state["m"] / (1 - beta_1**t), state["v"] / (1 - beta_2**t)
    return theta - rate * m / (np.sqrt(v) + epsilon)


# ---- layer-wise training ----


class LiteralKFAC:
    """K-FAC as published, everything renewed at every step: what replaces the state of an execution's own.

    Factors run from the identity with ``decay``; [W; b] is (n_in + 1, n_out), errors are those of the mean loss.
    """

    scale = 1.0

    def __init__(self, sizes, damping, clip, decay):
        self.damping, self.clip, self.decay = damping, clip, decay
        self.factors = [(np.eye(n_in + 1), np.eye(n_out)) for n_in, n_out in itertools.pairwise(sizes)]

    def step(self, inputs, errors, n_rows, gradients, rate, ranks):
        """Precondition the gradients in place."""
        steps = []
        for k, (h, d, gradient) in enumerate(zip(inputs, errors, gradients, strict=True)):
            m, n = h.shape
            a = np.empty((n + 1, n + 1))
            a[:n, :n], a[n, n] = h.T @ h, m
            a[:n, n] = a[n, :n] = h.sum(axis=0)
            new = a / n_rows, m * m * (d.T @ d) / n_rows
            old = self.factors[k]
            self.factors[k] = tuple(o * self.decay + b * (1 - self.decay) for o, b in zip(old, new, strict=True))
            (da, qa), (dg, qg) = (np.linalg.eigh(factor) for factor in self.factors[k])
            qa, qg = np.ascontiguousarray(qa), np.ascontiguousarray(qg)
            values = np.maximum(dg, 0)[:, None] * np.maximum(da, 0)[None, :] + self.damping
            steps.append((qg @ (qg.T @ gradient.T @ qa / values) @ qa.T).T)
        total = abs(sum(float((v * g).sum()) for v, g in zip(steps, gradients, strict=True))) * rate * rate
        for gradient, step in zip(gradients, steps, strict=True):
            gradient[:] = min(1.0, math.sqrt(self.clip / total)) * step
        return self

    def after_epoch(self):
        """Nothing is counted."""
        return self


def split_damping_step(gradient, a, g, damping):
    """``(G_d kron A_d)^{-1}`` of a gradient (n_out, n_in), rows first, with the damping split between the factors."""
    pi = math.sqrt(np.trace(a) / len(a) / (np.trace(g) / len(g)))
    a, g = a + pi * math.sqrt(damping) * np.eye(len(a)), g + math.sqrt(damping) / pi * np.eye(len(g))
    return np.linalg.solve(np.kron(g, a), gradient.ravel()).reshape(gradient.shape)


def chain_values(layers, activations, X):
    """[X, what each layer puts out ...] of layers with an activation each; the last one has none."""
    values = [X]
    for (W, b), name in zip(layers, (*activations, "identity"), strict=True):
        values.append(SLOPES[name][0](values[-1] @ W + b))
    return values


def alike(a, b, n_classes):
    """How alike two targets are: the cosine of centred one-hot vectors, or a Gaussian of the distance of numbers."""
    if np.ndim(a):
        return math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / 2)
    one, other = (np.eye(n_classes)[k] - 1 / n_classes for k in (a, b))
    return one @ other / (np.linalg.norm(one) * np.linalg.norm(other))


def similarity_loss(h, projection, y, n_classes, weight):
    """Mean squared difference of the similarities of rows and of targets, one pair at a time."""
    rows = []
    for z in h @ projection:
        z = z - z.mean()
        rows.append(z / np.linalg.norm(z) if np.linalg.norm(z) > 1e-12 else 0 * z)
    total = 0.0
    for i, u in enumerate(rows):
        for j, v in enumerate(rows):
            total += weight[i] * weight[j] * (u @ v - alike(y[i], y[j], n_classes)) ** 2
    return total / len(h) ** 2


def pull_loss(h, below, weight):
    """Half the mean squared distance of rows from where they came from."""
    return np.mean([w * np.mean((a - b) ** 2) / 2 for a, b, w in zip(h, below, weight, strict=True)])


def slopes_of(f, array, step=1e-6):
    """Derivative of a function without arguments by every entry of an array that it reads, by central differences."""
    found = np.empty_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        values = []
        for sign in (1, -1):
            array[place] = kept + sign * step
            values.append(f())
        array[place] = kept
        found[place] = (values[0] - values[1]) / (2 * step)
    return found


def largest_sum_of_best_cut(units, n_parts):
    """Least largest sum of consecutive groups, by trying all cuts."""
    cuts = itertools.combinations(range(1, len(units)), n_parts - 1)
    return min(max(sum(units[a:b]) for a, b in itertools.pairwise((0, *cut, len(units)))) for cut in cuts)


def entropy_rank(features):
    """exp of the entropy of singular values over their sum, from the eigenvalues of the Gram matrix."""
    values = np.sqrt(np.clip(np.linalg.eigvalsh(features.T @ features), 0, None))
    p = values[values > 1e-7 * values.max()] / values.sum()
    return math.prod(share**-share for share in p)


def smoothing_of_levels(levels, y):
    """Variance within levels over that between them, by the analysis of variance, within 1 and 1000."""
    groups = [y[levels == level] for level in np.unique(levels)]
    n, k = len(y), len(groups)
    within = sum(((g - g.mean(axis=0)) ** 2).sum() for g in groups) / max(n - k, 1)
    between = sum(len(g) * ((g.mean(axis=0) - y.mean(axis=0)) ** 2).sum() for g in groups) / max(k - 1, 1)
    typical = (n - sum(len(g) ** 2 for g in groups) / n) / max(k - 1, 1)
    variance = (between - within) / typical
    return float(np.clip(within / variance if variance > 0 else 1000.0, 1.0, 1000.0))


def level_means(levels, y, folds):
    """For every row the smoothed mean of its level, over that of all, of the rows of other folds; and of all rows."""

    smoothing = smoothing_of_levels(levels, y)

    def means(inside):
        mean, found = y[inside].mean(axis=0), {}
        for level in np.unique(levels):
            own = inside & (levels == level)
            found[level] = (y[own] - mean).sum(axis=0) / (own.sum() + smoothing)
        return found

    without = {fold: means(folds != fold) for fold in np.unique(folds)}
    held_out = np.array([without[fold][level] for level, fold in zip(levels, folds, strict=True)])
    return held_out, means(np.ones(len(y), bool))


def jackknife_plus(fitted, X, y, new, coverage):
    """Jackknife+ intervals from their definition: a refit without every row."""
    n = len(X)
    predictions, residuals = [], []
    for i in range(n):
        others = np.arange(n) != i
        model = fitted(X[others], y[others])
        predictions.append(model.predict(new))
        residuals.append(abs(y[i] - model.predict(X[i : i + 1])[0]))
    predictions, residuals = np.array(predictions), np.array(residuals)[:, None]
    lower = np.sort(predictions - residuals, axis=0)[math.floor((1 - coverage) * (n + 1) + 1e-9) - 1]
    upper = np.sort(predictions + residuals, axis=0)[math.ceil(coverage * (n + 1) - 1e-9) - 1]
    return np.column_stack([lower, upper])
