"""What the benchmark files call their models, data sets and parts, and what readers call them.

The files hold the short keys of ``examples/benchmarks``. Every key of a column that is named has to be here: one that
is missing is an error when the page is built. Parameters are those of the estimator whose benchmark it is.
"""

# ------------------------------------------------------------------ data sets

SETS = {
    "abalone": "abalone",
    "adult": "adult",
    "ailerons": "ailerons",
    "bank_marketing": "bank marketing",
    "bike_log": "bike sharing (log)",
    "california_housing": "California housing",
    "cifar10_jpeg_10k": "CIFAR-10, 10,000 images",
    "cnae9": "CNAE-9",
    "coil20": "COIL-20",
    "connect4": "connect-4",
    "covertype_20k": "covertype, 20,000 rows",
    "cpu_act": "cpu act",
    "credit_default": "credit default",
    "credit_g": "credit-g",
    "diabetes": "diabetes",
    "diamonds": "diamonds",
    "digits": "digits",
    "dry_bean": "dry bean",
    "eeg_eye_state": "EEG eye state",
    "electricity": "electricity",
    "elevators": "elevators",
    "energy_heating": "energy, heating",
    "fashion_mnist": "Fashion-MNIST",
    "geo_music": "geo music",
    "kin40k": "kin40k",
    "letter": "letter",
    "magic": "magic",
    "mnist": "MNIST",
    "musk2": "musk",
    "naval_compressor": "naval, compressor",
    "nsl_kdd": "NSL-KDD",
    "orl_faces": "ORL faces",
    "pendigits": "pendigits",
    "phoneme": "phoneme",
    "pol": "pol",
    "power_plant": "power plant",
    "pumadyn32nm": "pumadyn32nm",
    "shuttle": "shuttle",
    "skillcraft": "skillcraft",
    "sml2010": "sml2010",
    "splice": "splice",
    "vehicle": "vehicle",
    "waveform40": "waveform",
    "wdbc": "breast cancer",
    "wine_quality": "wine quality",
    "yacht": "yacht",
}

# ------------------------------------------------------------------ tables and images

BOOSTING = {
    "lightgbm": "LightGBM (defaults)",
    "lightgbm_mcw1": "LightGBM (`min_child_weight=1`)",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "hist_gb": "HistGradientBoosting",
    "random_forest": "RandomForest",
}
CLASSIFIERS = BOOSTING | {
    "closed_form": "**`ClosedFormMLP()`**",
    "closed_form_patch": "`ClosedFormMLP(image_shape=...)`",
    "cpnet": "`CPNetClassifier()`",
    "cpnet_literal": "CPNet as published (our reconstruction)",
    "brmp_linear": "`BRMPClassifier`, linear",
    "brmp_hidden": "`BRMPClassifier`, 1000 random units",
    "mlp": "`MLPClassifier((256, 256))`, early stopping",
    "nystroem_ridge": "`Nystroem` (1000), `RidgeClassifierCV`",
    "svc": "`SVC(C=10)`",
    "logistic": "`LogisticRegression`",
}
REGRESSORS = BOOSTING | {
    "lightgbm": "LightGBM",
    "closed_form": "**`ClosedFormMLPRegressor()`**",
    "brmp_linear": "`BRMPRegressor`, linear",
    "brmp_hidden": "`BRMPRegressor`, 1000 random units",
    "mlp": "`MLPRegressor((256, 256))`, scaled target",
    "nystroem_ridge": "`Nystroem` (1000), `RidgeCV`",
    "svr": "`SVR(C=10)`, scaled target",
    "ridge": "`RidgeCV`",
}


def _raw_tables(estimator, linear):
    """Models of raw tables: the estimator on the frame, behind encoders, and peers that read categories."""
    return BOOSTING | {
        "ours native": f"**`{estimator}()`**, the frame as it is",
        "n-grams beside + ours": f"`{estimator}()`, n-grams of text beside the frame",
        "skrub + ours": f"`{estimator}()` behind `TableVectorizer`",
        "target encoder + ours": f"`{estimator}()` behind `TargetEncoder`",
        "linear": f"one-hot columns, `{linear}`",
    }


RAW_CLASSIFIERS = _raw_tables("ClosedFormMLP", "LogisticRegression")
RAW_REGRESSORS = _raw_tables("ClosedFormMLPRegressor", "RidgeCV")

SMALL_SETS = {
    "iris": "iris",
    "breast cancer": "breast cancer",
    "diabetes": "diabetes",
    "2000 x 30, 2 classes": "2 classes",
    "2000 x 30, 5 classes": "5 classes",
    "2000 x 30, 10 classes": "10 classes",
    "2000 x 30, numbers": "2000 x 30, numbers",
}
SMALL_PARTS = SMALL_SETS | {f"2000 x 30, {n} classes": f"2000 x 30, {n} classes" for n in (2, 5, 10)}

# ------------------------------------------------------------------ intervals and sets

INTERVALS = {
    "closed_form": "**`ClosedFormMLPRegressor().predict_interval`**",
    "brmp_linear": "`BRMPRegressor`, linear, `predict_interval`",
    "closed_form_cv_plus": "CV+ of `ClosedFormMLPRegressor`",
    "brmp_linear_cv_plus": "CV+ of `BRMPRegressor`",
    "lightgbm_cv_plus": "CV+ of LightGBM",
    "lightgbm_quantiles": "LightGBM's quantiles, as they are",
    "lightgbm_quantiles_split": "LightGBM's quantiles, conformalised",
}
REFITTED = {"closed_form": "`ClosedFormMLPRegressor`", "brmp_linear": "`BRMPRegressor`, linear"}
BY_CLASS = {"closed_form": "all rows", "closed_form_by_class": "`by_class=True`"}
SETS_OF_CLASSES = {
    "closed_form": "**`ClosedFormMLP().predict_set`**",
    "cpnet": "`CPNetClassifier().predict_set`",
    "closed_form_split_lac": "`ClosedFormMLP`, split, LAC",
    "closed_form_split_aps": "`ClosedFormMLP`, split, APS",
    "closed_form_cross_lac": "`ClosedFormMLP`, 5 folds, LAC",
    "lightgbm_split_lac": "LightGBM, split, LAC",
    "lightgbm_split_aps": "LightGBM, split, APS",
    "lightgbm_cross_lac": "LightGBM, 5 folds, LAC",
}

# ------------------------------------------------------------------ balanced streams, and rows that leave

BALANCED_SETS = {
    "ann_thyroid": "ann-thyroid",
    "page_blocks": "page blocks",
    "bank_marketing": "bank marketing",
    "musk2": "musk",
    "credit_default": "credit default",
    "adult": "adult",
}
FORGETTING_SETS = {"page_blocks": "page blocks", "nursery": "nursery", "elevators": "elevators"}
FORGETTING_SETS |= {"power_plant": "power plant"}
ONE_STATISTIC = {
    "ClosedFormMLP": "`ClosedFormMLP()`",
    "CPNetClassifier": "`CPNetClassifier()`",
    "BRMPClassifier": "`BRMPClassifier`, linear",
    "ClosedFormMLPRegressor": "`ClosedFormMLPRegressor()`",
    "BRMPRegressor": "`BRMPRegressor`, linear",
}

# ------------------------------------------------------------------ least squares and files

STREAMING = {
    "bare_loop_f64": "loop of BLAS calls, float64",
    "bare_loop_f32": "loop of BLAS calls, float32",
    "brmp_gram": '`BRMPRegressor(solver="gram")`',
    "brmp_qr": '`BRMPRegressor(solver="qr")`',
    "brmp_auto": "**`BRMPRegressor()`**, which chose the Gram matrix",
    "linear_regression": "`LinearRegression()`",
    "ridge_cholesky": '`Ridge(solver="cholesky")`',
    "sgd": "`SGDRegressor`, one pass",
}
SOLVERS = {"qr": '`solver="qr"`', "gram": '`solver="gram"`', "recursive": '`solver="recursive"`'} | {
    "scipy.linalg.lstsq": "`scipy.linalg.lstsq`"
}
KAPPAS = {10.0**power: f"κ = 10{digits}" for power, digits in {2: "²", 4: "⁴", 6: "⁶", 8: "⁸", 12: "¹²"}.items()}
SOURCES = {
    "npy": ".npy",
    "hdf5": "HDF5",
    "zarr": "Zarr",
    "parquet": "Parquet",
    "arrays": "arrays in memory",
    "waiting": "a source that waits",
}
BLOCKWISE = {
    "brmp gram": '`BRMPRegressor(solver="gram")`',
    "brmp qr": '`BRMPRegressor(solver="qr")`',
    "brmp gram, 200 random units": "`BRMPRegressor((200,))`",
    "cpnet": "`CPNetClassifier((60,))`",
    "closed form, random": '`ClosedFormMLPRegressor((200,), hidden="random")`',
}
AHEAD = {0: "none ahead", 1: "1 block ahead", 2: "2 blocks ahead"}
WORKERS = {"loky": "processes", "threading": "threads"}

# ------------------------------------------------------------------ networks beside each other

NETWORKS = {
    "closed_form": "`ClosedFormMLP()`",
    "dfa": "**`DFAClassifier()`**",
    "dfa, tuned": "`DFAClassifier`, tuned",
    "dfa, all layers": "`DFAClassifier`, readout of all layers",
    "layerwise": "**`LayerwiseMLP()`**",
    "decoupled": "**`DecoupledMLPClassifier()`**",
    "mlp": "`MLPClassifier()`",
    "mlp, 2x256": "`MLPClassifier((256, 256))`",
    "mlp, tuned": "`MLPClassifier`, tuned",
    "torch_loop": "PyTorch loop",
}

# ------------------------------------------------------------------ direct feedback

BACKPROP = "backpropagation"
DFA_DEFAULT = {
    "backprop": BACKPROP,
    "dfa": "**`DFAClassifier()`**",
    "dfa, all rows": "the same, `Feedback(tol_error=0)`",
}
DFA_AT_EQUAL_EPOCHS = {
    "mlp": "`MLPClassifier`",
    "backprop": '`scheme="backprop"`',
    "backprop, constant .001": '`scheme="backprop"`, constant rate .001',
    "dfa": "**`DFAClassifier()`**",
    "before": "rate .001, refreshed every 20 steps (the former default)",
    "constant .001": "constant rate .001, refreshed every 20 steps",
    "constant .001, mean": "constant rate .001, `ema_decay=0.98`, every 20 steps",
    "rate by length": "automatic rate, refreshed every 20 steps",
    "rate by length, every step": "automatic rate, refreshed every step",
    "constant .003, mean": "constant rate .003, `ema_decay=0.98`",
}
SIGNS = '`Feedback("binary", init="sign_product", refresh_interval=5)`'
LARGEST = '`Feedback("sparse", init="product", refresh_interval=5)`'
DFA_TRANSFER = {
    "backprop": BACKPROP,
    "refresh": "**`DFAClassifier()`**",
    "random": '`feedback="random"`',
    "binary": '`feedback="binary"`',
    "signs at the start": "signs of the first weights, fixed",
    "signs": SIGNS,
}
KINDS = ("random", "binary", "sparse", "product", "dkp", "learned")
FEEDBACK = {kind: f'`feedback="{kind}"`' for kind in KINDS} | {
    "backprop": BACKPROP,
    "dfa, all rows": '`feedback="refresh"`, all rows',
    "signs": SIGNS,
    "largest": LARGEST,
    "backprop+4bit": f"{BACKPROP}, 4-bit activations",
    "dfa+4bit": '`feedback="refresh"`, 4-bit activations',
    "dfa+8bit": '`feedback="refresh"`, 8-bit activations',
    "backprop+kfac": f"{BACKPROP}, K-FAC",
    "random+kfac": '`feedback="random"`, K-FAC',
    "dfa+kfac": '`feedback="refresh"`, K-FAC',
}
DFA_KFAC = {
    "adam": "Adam",
    "sgd": "SGD",
    "kfac": '**`preconditioner="kfac"`**',
    "adam 0.001": "Adam, .001",
    "adam 0.003": "Adam, .003",
    "sgd 0.03": "SGD, .03",
    "sgd 0.1": "SGD, .1",
    "kfac 0.003": "**K-FAC**, `alpha=0.003`",
    "kfac 0.01": "K-FAC, `alpha=0.01`",
    "paper": "as published: all epochs, batches of 128",
    "eigen": '`KFAC(solver="eigen")`',
    "identity": '`KFAC(start="identity")`',
    "paper's damping": "`KFAC(damping=0.003)`",
    "levenberg_marquardt": '`KFAC(damping_rule="levenberg_marquardt")`',
    "growing intervals": "intervals of 4 and 8, times 1.4 per epoch",
    "no decay": "`alpha=0`",
    "no mean": "the last weights predict",
    "batches of 128": "batches of 128",
    "short adam": "Adam, .003, a third of the epochs",
    "short adamw": "the same, `AdamW(ema_decay=0.9)`, `alpha=0.1`",
}
KFAC_PLACES = {"fashion_mnist, cnn": "Fashion-MNIST, convolutions", "mnist, cnn": "MNIST, convolutions"}
KFAC_PLACES |= {name: SETS.get(name, name) for name in ("segment", "optdigits", "satimage", "pendigits", "letter")}
KFAC_PLACES |= {"fashion_mnist": "Fashion-MNIST", "all tables": "five tables"}
KFAC_PLACES |= {"profile, optdigits": "optdigits, 2 x 256", "profile, mnist, cnn": "MNIST, convolutions"}
DFA_SPEED = {
    "mlp": "`MLPClassifier`",
    "torch_loop": "PyTorch loop, fused Adam",
    "backprop": '`scheme="backprop"`',
    "dfa": "**`DFAClassifier()`**",
    "random": '`feedback="random"`',
    "binary": '`feedback="binary"`',
    "torch_backprop": '`scheme="backprop"`, PyTorch',
    "torch_dfa": "`DFAClassifier()`, PyTorch",
    "torch_backprop_bf16": '`scheme="backprop"`, PyTorch, bfloat16',
    "torch_dfa_bf16": "`DFAClassifier()`, PyTorch, bfloat16",
}
DFA_NETWORKS = {"2x256": "2 x 256", "4x512": "4 x 512", "compiled": "compiled code", "torch": "PyTorch"}
DFA_ERRORS = {"backprop": BACKPROP, "dfa": "direct feedback"}
SCHEMES = {
    "backprop": BACKPROP,
    "hybrid": "**`DFAClassifier()`**: hybrid",
    "hybrid+random": 'hybrid, `feedback="random"`',
    "hybrid+binary": 'hybrid, `feedback="binary"`',
    "hybrid+signs": "hybrid, signs that follow the weights",
    "modular": '`scheme="modular"`',
    "modular+largest": "modular, the largest 30 % of the weights",
    "modular+half": "modular, the largest half of the weights",
    "stacked backprop": f"{BACKPROP}, two convolutions per block",
    "stacked hybrid": "hybrid, two convolutions per block",
    "stacked modular": '`scheme="modular"`, two convolutions per block',
    "stacked modular+largest": "the largest 30 % of the weights, two convolutions per block",
}
ONLINE = {
    "backprop": BACKPROP,
    "dfa": "**`DFAClassifier()`**",
    "backprop, longer memory": f"{BACKPROP}, `Adam(beta_1=0.9)`",
    "dfa, every 20 steps": "refreshed every 20 steps",
    "dfa, longer memory": "`Adam(beta_1=0.9)`",
    "dfa, both": "both (the former default)",
    "signs": "signs that follow the weights",
    "random": '`feedback="random"`',
    "binary": '`feedback="binary"`',
    "mlp": "`MLPClassifier`",
    "sgd_linear": "`SGDClassifier`, linear",
}
PRIVACY = {
    "dp_sgd": '`scheme="backprop"`: DP-SGD',
    "dfa_random": '`feedback="random"`',
    "dfa_refresh": '`feedback="refresh"`',
    "photonic": "`mechanism=Photonic(...)`, simulated optics",
}

# ------------------------------------------------------------------ layer-wise training

LAYERWISE = {
    "backprop": f"{BACKPROP} (`partitions=1`)",
    "backprop, rate .003": f"{BACKPROP}, rate .003",
    "sequential": "**`LayerwiseMLP()`**",
    "transport": '`Partitions(interlayer="transport")`',
    "sequential, trained outputs": '... `readout="trained"`',
    "backprop, all layers": "Backpropagation, all layers read",
    "simultaneous": '`order="simultaneous"`',
    "laps": '`order="laps"`',
    "2 partitions": "`partitions=2`",
    "refit_head": "`Partitions(refit_head=True)`",
    "subsample=0.5": "`Partitions(subsample=0.5)`",
}
LAYERWISE_ABLATION = {
    "backprop": BACKPROP,
    "backprop, rate .003": f"{BACKPROP}, rate .003",
    "head 0": "`interlayer=None`",
    "head 0, rate .001": "`interlayer=None`, rate .001",
    "head 1": "`interlayer=None`, `head_depth=1`",
    "head 2": "`interlayer=None`, `head_depth=2`",
    "head 0, random start": '`interlayer=None`, `layer_start="random"`',
    "head 1, random start": '`interlayer=None`, `head_depth=1`, `layer_start="random"`',
    "overparametrise": '`interlayer="overparametrise"`',
    "lookahead": '`interlayer="lookahead"`',
    "lookahead, head 1": '`interlayer="lookahead"`, `head_depth=1`',
    "window": '**`interlayer="window"`**',
    "window, rate .001": '`interlayer="window"`, rate .001',
    "window, head 1": '`interlayer="window"`, `head_depth=1`',
    "transport": '`interlayer="transport"`',
    "sim": '`local_loss="sim"`',
    "predsim": '`local_loss="predsim"`',
    "transport, simultaneous": '`interlayer="transport"`, `order="simultaneous"`',
    "window, laps": '`interlayer="window"`, `order="laps"`',
}
LAYERWISE_MEMORY = {
    "compiled backprop": f"{BACKPROP} (`partitions=1`)",
    "compiled backprop, micro-batches": f"{BACKPROP}, micro-batches",
    "compiled, 2 partitions": "`partitions=2`",
    "compiled, 4 partitions": "`partitions=4`",
    "compiled layer-wise": "**`LayerwiseMLP()`**",
    "compiled layer-wise, whole batches": "`Partitions(micro_batch=None)`",
    "compiled layer-wise, no cache": "`Partitions(cache=None)`",
    "compiled layer-wise, no window": "`Partitions(interlayer=None)`",
    "torch backprop": f"PyTorch loop, {BACKPROP}",
    "torch checkpointing": "PyTorch loop, checkpointing",
    "torch, 1 partition": "in PyTorch, `partitions=1`",
    "torch, 2 partitions": "in PyTorch, `partitions=2`",
    "torch, 4 partitions": "in PyTorch, `partitions=4`",
    "torch layer-wise": "in PyTorch, `LayerwiseMLP()`",
    "torch layer-wise, no window": "in PyTorch, `Partitions(interlayer=None)`",
}
DEPTHS = {f"{n} x 1024": f"{n} layers" for n in (4, 8, 16)} | {"8 x 2048": "8 of 2048", "vgg": "convolutions"}
BUDGETS = {"batch of backprop": "the batch", "bytes of backprop": "the memory"}
OUTPUT_RULES = {name: f'`output="{name}"`' for name in ("softmax", "linear", "expgb", "pow3gb")}
OUTPUT_NETWORKS = {"backprop": BACKPROP, "layer-wise": "`LayerwiseMLP()`"}
SHARES = {f"subsample={share}": f"`subsample={share}`" for share in ("1", "0.75", "0.5", "0.25")}

# ------------------------------------------------------------------ decoupled training

DECOUPLED = {
    "backprop": BACKPROP,
    "backprop, layer norm": f"{BACKPROP}, layer normalisation",
    "default": "**the default**",
    "fdg": "FDG",
    "fdg, shrink .7": "FDG, gradients shrunk by .7",
    "fdg, current weights": "FDG, current weights",
    "fdg, inverse rates": "FDG, rates by staleness",
    "fdg, layer norm": "FDG, layer normalisation",
    "ddg": "DDG",
    "adl, M=2": "ADL, 2 batches accumulated",
    "adl, M=4": "ADL, 4 batches accumulated",
    "dtrp": "DTRP",
    "dtr": "DTRP without prediction",
}
DECOUPLED_SPEED = DECOUPLED | {
    "backprop": f"{BACKPROP}, one processor",
    "backprop, 1 thread": f"{BACKPROP}, 1 thread",
    "backprop, 2 BLAS threads": f"{BACKPROP}, 2 BLAS threads",
    "data parallel, 2 threads": "the batch split over 2 threads",
    "two networks, 2 threads": "two networks side by side (the ceiling)",
    "dtrp, even split": "DTRP, even modules",
    "dtrp, compensated split": "DTRP, compensated modules",
    "fdg, 4 modules": "FDG, four modules",
    "fdg, in turns": "FDG, modules in turns",
    "torch backprop, 1 thread": "PyTorch loop, 1 thread",
    "torch backprop, 2 threads": "PyTorch loop, 2 threads",
    "GPipe, 1F1B, 32 micro-batches": "GPipe or 1F1B, 32 micro-batches (formula)",
}
DECOUPLED_SIZES = {
    "backprop, 1 thread": "1 thread",
    "backprop, 2 BLAS threads": "2 BLAS threads",
    "data parallel, 2 threads": "batch split",
    "fdg": "FDG",
    "ddg": "DDG",
}
DECOUPLED_MEMORY = {
    "backprop": BACKPROP,
    "fdg, stashed weights": "FDG, stashed weights",
    "fdg, current weights": "FDG, current weights",
    "ddg, stashed weights": "DDG, stashed weights",
    "ddg, recomputed": "DDG, recomputed",
    "adl, M=4": "ADL, 4 batches accumulated",
    "fdg, recomputed": "FDG, recomputed",
    "dtrp": "DTRP",
}
PEERS = {
    "torch backprop, 1 process": "PyTorch, 1 process",
    "torch fdg, 2 threads": "FDG in PyTorch, 2 threads",
    "compiled backprop, 1 thread": "compiled backpropagation, 1 thread",
    "compiled fdg, 2 threads": "**compiled FDG, 2 threads**",
}
SYNCHRONOUS = PEERS | {
    name: name
    for m in (4, 8, 32)
    for kind in ("GPipe", "1F1B", "interleaved zero bubble", "ZBV zero bubble")
    for name in [f"{kind}, {m} micro-batches"]
}
STACKED = {
    "torch autograd, backprop": "PyTorch autograd",
    "torch by hand, backprop": "PyTorch",
    "torch stacked, 4 modules": "stacked, 4",
    "torch stacked, 8 modules": "stacked, 8",
    "compiled backprop": "compiled",
    "compiled, in turns, 4 modules": "in turns, 4",
    "compiled, in turns, 8 modules": "in turns, 8",
}

# ------------------------------------------------------------------ ablations and the rest

TREES = {
    "as it is": "**the default**",
    "30 trees of 128 leaves, squared errors": "30 trees of 128 leaves, squared errors",
    "32 leaves alone": "trees of 32 leaves only",
    "128 leaves alone": "trees of 128 leaves only",
    "512 leaves alone": "trees of 512 leaves only",
    "ten trees of each kind": "ten trees of each kind tried, not five",
    "kinds by the error on blind folds alone": "kind chosen by the held-out error only",
    "no handicap": "no handicap of costlier kinds",
    "all columns": "all columns for every tree",
    "steps of .05": "steps of .05",
    "steps of .1": "steps of .1",
    "patience to the end": "trees until none gains anything",
    "members as good as their mean": "members taken to be as good as their mean",
    "ten pseudo-rows of the blend": "ten pseudo-rows of the blend, not three",
    "squared errors": "squared errors, not the log-loss",
    "four sums of targets alone": "splits by four random sums of targets only",
    "any slope of the link": "slope of the link unbounded",
}
CONSTRUCTIONS = {
    "auto, bins and scores": '`hidden="auto"` (the default of the run)',
    "auto, bins and scores, 0 refits": '`hidden="auto"`, `n_refits=0`',
    "auto, bins and scores, 1 refit": '`hidden="auto"`, `n_refits=1`',
} | {
    f"auto, {kind}": f'`hidden="auto"`, `input_encoding="{kind}"`'
    for kind in ("robust", "standard", "quantile", "piecewise_linear")
}
SINGLE = ("random", "sampled", "laplace", "lpq", "leaf", "residual", "forward", "inverse", "hyperplane", "gated")
CONSTRUCTIONS |= {name: f'`hidden="{name}"`' for name in SINGLE}
CATEGORIES = {
    "as it is": "**the default**",
    "no pairs": "no pairs of columns",
    "no counts": "no counts of levels",
    "neither": "neither pairs nor counts",
    "counts of fewer rows": "counts with fewer than 1000 rows, too",
    "six pairs": "at most six pairs",
    "pairs by 1 %": "pairs that explain 1 % at least",
    "pairs of categories alone": "pairs of categories only",
    "pairs of numbers as of others": "pairs of numbers by .3 %, as of others",
    "prior of 10 rows": "prior of 10 rows",
    "prior of 1 row": "prior of 1 row",
    "3 folds": "3 folds and members",
    "10 folds": "10 folds and members",
    "members see targets of their fold": "members that see targets of their fold",
    "lightgbm, levels sorted in a node": "LightGBM, levels sorted in a node",
    "lightgbm, means of levels": "LightGBM on means of levels",
}
HIDDEN = {"random": '`hidden="random"`', "auto": '`hidden="auto"`'}
DEVICES = {"cpu": '`device="cpu"`', "torch:cpu": '`device="torch:cpu"`'}
PARTS = {
    "fuzz": "fits of drawn parameters and data",
    "orders": "orders of `partial_fit`, `forget` and `merge`",
    "faults": "faults of readers, callbacks, files, workers",
    "memory": "ceilings of memory",
    "reproducibility": "reproducibility",
    "threads": "threads",
    "soak": "10,000 calls of `partial_fit`",
    "pickles": "files of earlier versions",
}
