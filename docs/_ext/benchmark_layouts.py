"""How numbers of the benchmark files are shown: headings and formats by key, and which rows are the headline.

A new file needs nothing here: keys that are unknown are shown under their own name.
"""

# key: (heading, format); the order of columns is that of the file.
COLUMNS = {
    "accuracy": ("accuracy", ".4f"),
    "accuracy_se": ("standard error", ".4f"),
    **{
        f"{key}_difference{end}": (f"{name}{title}", form)
        for key, name in (("accuracy", "accuracy"), ("log_loss", "log-loss"), ("auc", "AUC"), ("r2", "R²"))
        for end, title, form in (("", ", difference", "+.4f"), ("_se", ", standard error", ".4f"))
    },
    "after_turn": ("after a turn", ".4f"),
    "auc": ("AUC", ".4f"),
    "r2": ("R²", ".4f"),
    "before_turn": ("before a turn", ".4f"),
    "activation_mb": ("activations, MB", ".1f"),
    "asked": ("asked", ".1f"),
    "bits": ("activations", "s"),
    "blas_share": ("share of BLAS", ".2f"),
    "block_ms": ("ms per block", ".2f"),
    "budget": ("what is equal", "s"),
    "busy": ("busy", ".2f"),
    "bytes_ratio": ("bytes / backpropagation's", ".2f"),
    "cosine_first": ("cosine, first layer", ".2f"),
    "cosine_last": ("cosine, last layer", ".2f"),
    "counted_mb": ("counted, MB", ".0f"),
    "counted_ratio": ("counted / backpropagation's", ".3f"),
    "difference": ("points to the baseline", "+.2f"),
    "difference_se": ("standard error", ".2f"),
    "epoch_ms": ("epoch, ms", ".1f"),
    "error": ("error of coefficients", ".0e"),
    "feedback__tol_error": ("feedback__tol_error", "g"),
    "fit_cpu_seconds": ("fit, processor s", ".2f"),
    "fit_ms": ("fit per epoch, ms", ".1f"),
    "fit_ratio": ("fit / MLP's", ".2f"),
    "fit_seconds": ("fit, s", ".2f"),
    "fit_to_mlp": ("fit / MLPClassifier", ".3f"),
    "gradient_gap": ("largest gap of a gradient", ".0e"),
    "gram_gflops": ("features and Gram, GFLOP/s", ".0f"),
    "hand_off": ("hand-off", "s"),
    "log_loss": ("log-loss", ".4f"),
    "loss_gap": ("gap of the loss", ".0e"),
    "mb": ("MB", ".2f"),
    "mean_accuracy": ("mean accuracy", ".4f"),
    "mean_log_loss": ("mean log-loss", ".3f"),
    "mean_r2": ("mean R²", ".4f"),
    "mean_rank": ("mean rank", ".2f"),
    "mean_rmse_over_std": ("RMSE / deviation", ".3f"),
    "measured_ms": ("ms, measured", ".2f"),
    "measured_speedup": ("speed-up, measured", ".2f"),
    "ms": ("ms per batch", ".2f"),
    "n_modules": ("modules", "d"),
    "n_partitions": ("partitions", "d"),
    "n_runs": ("runs", "d"),
    "n_sets": ("sets", "d"),
    "of_peak": ("of the peak", ".2f"),
    "payload_kb": ("payload, kB per step", ".1f"),
    "payload_ratio": ("payload ratio", ".1f"),
    "peak_gflops": ("peak, GFLOP/s", ".0f"),
    "peak_hwm": ("peak above import, MB", ".0f"),
    "peak_mb": ("peak, MB", ".0f"),
    "peak_ratio": ("peak / backpropagation's", ".3f"),
    "peak_to_backprop": ("peak / backpropagation's", ".2f"),
    "points": ("points to one process", "+.2f"),
    "predict_seconds": ("predict, s", ".3f"),
    "ratio": ("ratio", ".2f"),
    "ratio_with_shared": ("ratio, shared buffers included", ".2f"),
    "seconds": ("seconds", ".2f"),
    "speedup": ("speed-up", ".2f"),
    "staleness": ("mean staleness", ".2f"),
    "stored_mb": ("stored, MB", ".3f"),
    "time_ratio": ("seconds / the baseline's", ".2f"),
    "to_backprop": ("/ backpropagation", ".2f"),
    "to_compiled": ("to compiled backpropagation", ".2f"),
    "to_mlp": ("/ MLPClassifier", ".3f"),
    "to_parallel": ("to data parallel", ".2f"),
    "to_torch": ("to torch by hand", ".2f"),
    "to_torch_loop": ("/ torch loop", ".2f"),
    "to_two": ("to two BLAS threads", ".2f"),
    "us": ("µs per batch", ".0f"),
    "versions": ("weight versions, by module", "s"),
    "wall_seconds": ("wall seconds", ".2f"),
    "weight_difference": ("largest weight difference", ".0e"),
    "weight_mb": ("weights, MB", ".1f"),
    "wire_ratio": ("wire ratio", ".1f"),
    "worst": ("worst set, points", "+.2f"),
}

# Kept in the files, left out of the tables: counts and variants of what is shown.
HIDDEN = {
    *("n_failed", "n_common", "mean_accuracy_common", "mean_r2_common", "fit_ratio_large", "n_fit_ratio_large"),
    *("n_log_loss", "log_loss_minus_lightgbm", "log_loss_minus_lightgbm_mcw1", "n_rmse_over_std"),
    *("rmse_over_std_minus_lightgbm", "rmse_over_std_minus_lightgbm_mcw1", "runs", "peak_rss", "peak_anon"),
    *("peak_file", "counted_times", "peak_times", "whole_ratio", "own_times", "accuracy_time", "difference_time"),
    *("difference_time_se", "time_ratio_time", "epochs_5", "reached_5", "time_5", "epochs_10", "reached_10"),
    *("time_10", "epochs_20", "reached_20", "time_20", "reached", "time_to", "kind", "skipped", "activation_to_stash"),
    *("to_stash", "peak_to_stash", "to_checkpointing", "fit_of_peak"),
    *("fit_cpu_seconds_difference", "fit_cpu_seconds_difference_se"),
}

# Files whose summary is long: the rows that are the headline. All others are in the file.
HEADLINE = {
    "accuracy_mixed": ("classification", "regression"),
    "decoupled_memory": {"n_modules": (1, 4)},
    "decoupled_simulation": {"part": ("8 layers, checked",), "hand_off": ("queue",)},
    "decoupled_speed": {"network": ("8 x 512, batch 256",)},
    "decoupled_stacked": {"network": ("8 x 16, batch 16",)},
    "layerwise_memory": {"network": ("16 x 1024",)},
    "streaming_least_squares": {"rows": (2_000_000,)},
}

# Files that read best as a grid: rows, columns, cells (means over what is left, such as seeds).
GRIDS = {
    "accuracy_images": ("contender", "dataset", ("accuracy", "fit_seconds")),
    "accuracy_images_cpnet": ("contender", "dataset", ("accuracy", "fit_seconds")),
    "dfa_privacy": ("method", "epsilon", ("accuracy",)),
}

# Remarks that a reader needs beside the numbers.
REMARKS = {
    "accuracy_tabular": "Constants of the closed-form defaults were chosen on these very sets: the means are "
    "optimistic to that extent.",
    "accuracy_regression": "Constants of the closed-form defaults were chosen on these very sets: the means are "
    "optimistic to that extent.",
    "accuracy_mixed": "CatBoost has one seed on soybean, where a fit took half an hour.",
    "categories_ablation": "Differences to the first line, with standard errors of pairs of table and seed.",
    "conditioning": "A dash: the road stopped or was not run.",
    "dfa_privacy": "Columns are budgets. Learning rates were chosen for every method, outside of the budget.",
    "decoupled_speed": "Times need a machine that does nothing else.",
}
