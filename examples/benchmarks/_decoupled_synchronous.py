"""Suite "synchronous" of ``decoupled.py``: exact gradients in a pipeline of two processes, against delayed ones."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _common import median
from _dfa_common import Suite, finished, torch_or_skip
from _dfa_workers import POOLS, in_fresh_process

NETWORKS = {"8 x 512, batch 256": {"width": 512, "batch_size": 256, "batches": 20}}
QUICK = {"8 x 32, batch 32": {"width": 32, "batch_size": 32, "batches": 5}}
TIMEOUT = 120  # seconds, of one job
PEERS = ("torch backprop, 1 process", "torch fdg, 2 threads", "compiled backprop, 1 thread", "compiled fdg, 2 threads")
KINDS = ("GPipe", "1F1B", "interleaved zero bubble", "ZBV zero bubble")
PIPELINES = {f"{kind}, {m} micro-batches": (kind, m) for m in (4, 8, 32) for kind in KINDS}
CONTENDERS = (*PEERS, *PIPELINES)
COLUMNS = {
    "contender": ("contender", "s"),
    "gradients": ("gradients", "s"),
    "ms per batch": ("ms", ".2f"),
    "speed-up to torch backprop": ("speedup", ".2f"),
    "to compiled backprop": ("to_compiled", ".2f"),
    "largest gap of a gradient": ("gradient_gap", ".1e"),
    "gap of the loss": ("loss_gap", ".1e"),
}


def jobs(options):
    """Rounds over all contenders, so that a slow minute hits all alike."""
    for network in options.only:
        for number in range(options.repeats):
            for contender in options.contenders:
                yield {"network": network, "contender": contender, "round": number}


def run(job, options):
    """One contender in processes of its own."""
    torch_or_skip(1)
    task = (NETWORKS | QUICK)[job["network"]] | {"depth": 8, "samples": 3}
    if job["contender"] in PIPELINES:
        kind, m = PIPELINES[job["contender"]]
        return [in_two_processes(task | {"schedule": kind, "micro_batches": m})]
    script = str(Path(__file__).with_name("_decoupled_workers.py"))
    return [in_fresh_process("peer", task | {"contender": job["contender"]}, 2, script)]


def in_two_processes(task):
    """The answer of the first rank; the last line of the errors of the first rank that fails."""
    script, answers = str(Path(__file__).with_name("_decoupled_ranks.py")), []
    variables = os.environ | dict.fromkeys(POOLS, "1") | {"GLOO_SOCKET_IFNAME": "lo", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory() as folder:
        request = {"task": task, "meeting": str(Path(folder) / "meeting"), "timeout": TIMEOUT}
        commands = [[sys.executable, script, json.dumps(request | {"rank": rank})] for rank in range(2)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": variables}
        ranks = [subprocess.Popen(command, **pipes) for command in commands]
        try:
            answers = [rank.communicate(timeout=TIMEOUT) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
    for rank, (_, errors) in zip(ranks, answers, strict=True):
        if rank.returncode:
            raise RuntimeError(last_error(errors) or f"exit status {rank.returncode}")
    return json.loads(answers[0][0].splitlines()[-1])


def last_error(text):
    """The last line that names an exception."""
    lines = [line for line in text.strip().splitlines() if "Error" in line]
    return lines[-1] if lines else text.strip()[-200:]


def summarise(rows):
    """Medians over rounds."""
    rows = finished(rows)
    kinds = list(dict.fromkeys((row["network"], row["contender"]) for row in rows))
    seconds = {
        kind: median(row["seconds"] for row in rows if (row["network"], row["contender"]) == kind) for kind in kinds
    }
    return [_line(kind, rows, seconds) for kind in kinds]


def _line(kind, rows, seconds):
    mine = [row for row in rows if (row["network"], row["contender"]) == kind]
    plain, compiled = (seconds.get((kind[0], name)) for name in (PEERS[0], PEERS[2]))
    gaps = {key: [row[key] for row in mine if row.get(key) is not None] for key in ("gradient_gap", "loss_gap")}
    return {
        "network": kind[0],
        "contender": kind[1],
        "gradients": "delayed" if "fdg" in kind[1] else "exact",
        "ms": 1000 * seconds[kind],
        "speedup": plain and plain / seconds[kind],
        "to_compiled": compiled and compiled / seconds[kind],
    } | {key: max(values, default=None) for key, values in gaps.items()}


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(NETWORKS),
    quick_names=tuple(QUICK),
    contenders=CONTENDERS,
    quick_contenders=(PEERS[0], PEERS[1], "1F1B, 4 micro-batches"),
    defaults={"repeats": 2},
    quick={"repeats": 1},
    note=(
        "Two processes or two threads, one thread of torch or BLAS each, Adam; wall time, medians of rounds. Pipelines "
        "are those of torch.distributed.pipelining over gloo on one machine; the zero-bubble ones have two stages in "
        "each process. Gaps are to the gradient and the loss of one process on the whole batch."
    ),
)
