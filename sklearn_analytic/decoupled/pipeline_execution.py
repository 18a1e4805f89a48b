"""Modules in training as one execution, as the training loop and the estimators know it."""

import time
from dataclasses import replace
from itertools import chain

import numpy as np

from sklearn_analytic.decoupled.pipeline import Batch
from sklearn_analytic.decoupled.pipeline_executors import connected
from sklearn_analytic.decoupled.pipeline_worker import Diverged, PipelineWorker
from sklearn_analytic.decoupled.simulation import TIMELINE_FIELDS
from sklearn_analytic.nn._recipe import batch


class Pipeline:
    """An :class:`~sklearn_analytic.nn._recipe.Execution` of cells under a rule.

    Parameters
    ----------
    stack : CellStack
        The network in modules.
    rule : PipelineSchedule
        How they work together.
    recipe : Recipe
        Batch size.
    executor : Sequential or Threads
        Who calls them.
    ranges : list of tuple of int or None
        Layers of every module, for the record.
    """

    def __init__(self, stack, rule, recipe, executor, ranges=None):
        self.stack, self.rule, self.recipe, self.ranges = stack, rule, recipe, ranges
        self._executor = executor
        cells = stack.cells
        channels = connected(len(cells))
        above = range(len(cells) - 1, -1, -1)
        self.workers = [
            PipelineWorker(*parts) for parts in zip(cells, [rule] * len(cells), above, channels, strict=True)
        ]
        self.elapsed, self.epochs = 0.0, 0
        self._start = self._first = 0

    # ---- the protocol of an execution ----

    def place(self, rows):
        """Return the rows as the cells read them."""
        return self.stack.place(rows)

    def epoch(self, placed, order, rates):
        """One forward and one backward pass per rate in every module, but for what stays on its way."""
        batches = [
            Batch(self._start + i, placed, self.stack.rows(batch(order, i, len(rates))), float(rate))
            for i, rate in enumerate(rates)
        ]
        begin = time.perf_counter()
        try:
            with self.stack.training(self.epochs, min(len(b.rows) for b in batches)):
                for worker in self.workers:
                    worker.begin(batches, self._first, self._start)
                self._executor.run(self.workers)
        except Diverged:
            self._empty()
            return np.nan
        except BaseException:
            self._empty()
            raise
        finally:
            self.elapsed += time.perf_counter() - begin
        self.epochs += 1
        self._start += len(batches)
        if self.rule.drain:
            self._first = self._start
        return self._loss(batches) / len(order)

    def _loss(self, batches):
        """The sum of the rows' losses, added up as that of one module; layers pay where a batch comes by."""
        total, last = 0.0, self.workers[-1]
        for i, (b, loss) in enumerate(zip(batches, last.losses, strict=True)):
            squares = chain.from_iterable(worker.squares[i] for worker in self.workers if worker.squares)
            total += last.cell.optimizer.penalised(loss, len(b.rows), squares)
        return total

    def outputs(self, x):
        """Raw outputs of host rows, in their dtype."""
        return self.stack.outputs(x)

    def layers(self):
        """Return [(W, b), ...] of a plain network as copies."""
        return self.stack.layers()

    def arrays(self):
        """Return parameters and buffers of a torch network by name, as host arrays."""
        return self.stack.arrays()

    def snapshot(self):
        """Weights, optimisers and counters; batches on their way are not in it."""
        return {"cells": [cell.state() for cell in self.stack.cells], "epochs": self.epochs}

    def restore(self, snapshot):
        """Put a snapshot back, into an empty pipeline."""
        for cell, state in zip(self.stack.cells, snapshot["cells"], strict=True):
            cell.load(state)
        self._empty()
        self.epochs = snapshot["epochs"]

    def _empty(self):
        """Forget what is on its way between the modules, and in them."""
        for worker, channels in zip(self.workers, connected(len(self.workers)), strict=True):
            worker.channels = channels
            worker.clear()
        self._first = self._start

    def is_finite(self):
        """Whether all weights are numbers."""
        return all(cell.is_finite() for cell in self.stack.cells)

    def activation_bytes(self):
        """Bytes of activations that wait for their backward passes, at their most: of all modules together."""
        stored = int(sum(worker.peak_bytes for worker in self.workers))
        return {"stored": stored, "shared": 0, "exact": stored}

    def drain_always(self):
        """Empty the pipeline at the end of every epoch from here on."""
        self.rule = replace(self.rule, drain=True)
        for worker in self.workers:
            worker.rule = self.rule

    # ---- what happened ----

    def record(self):
        """Return what was measured of the modules, as fitted attributes."""
        workers = self.workers
        count = np.array([worker.n_backward for worker in workers])
        stale = np.array([worker.stale_updates for worker in workers])
        seconds = np.array([worker.seconds for worker in workers])
        return {
            "modules_": self.ranges,
            "staleness_": stale / np.maximum(count, 1),
            "weight_versions_": np.array([worker.peak_versions for worker in workers]),
            "module_seconds_": seconds,
            "utilisation_": seconds / max(self.elapsed, np.finfo(float).tiny),
            "module_activation_bytes_": np.array([worker.peak_bytes for worker in workers]),
            "timeline_": self._timeline(),
        }

    def _timeline(self):
        """The last operations as a structured array, in the order of their beginnings."""
        rows = [
            (k, op.kind, op.batch, op.begin, op.end, op.version)
            for k, worker in enumerate(self.workers)
            for op in worker.operations
        ]
        found = np.array(rows, dtype=TIMELINE_FIELDS)
        found = found[np.argsort(found["begin"], kind="stable")]
        if len(found):
            origin = found["begin"].min()
            found["begin"] -= origin
            found["end"] -= origin
        return found
