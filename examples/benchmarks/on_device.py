"""One call on a machine with a GPU: does the package work there, how exact is it, and how fast.

Every part runs in a process of its own and is killed at its budget; what it has found by then stays, and the others go
on. The JSON file is written anew after every row. All data is generated. Parts, in the order of their worth, with their
seconds (465 in all, imports included; ``--budget`` scales them):

| part | seconds | what it measures |
|---|---|---|
| machine | 15 | the device, its driver, clocks, versions; time until its first product |
| tests | 120 | the tests that are marked ``gpu``: counts, and every failure with its message |
| errors | 35 | QR and Gram by the CPU's error tests, device and CPU side by side; float32, TF32 and bfloat16 products |
| roofline | 55 | features + Gram over a measured square product, in float32, TF32, bfloat16 |
| fits | 75 | ClosedFormMLP and CPNet on 60,000 images of 784 pixels, the CPU on fewer rows |
| stream | 60 | BRMP, ClosedFormMLP and CPNet on 2,000,000 x 256 rows in blocks, the CPU on an eighth |
| epochs | 35 | DFA, layer-wise and decoupled epochs against a plain torch loop |
| executor | 30 | modules on streams of one device: equal losses, and seconds per epoch |
| memory | 40 | peaks of torch's allocator for the table of layer-wise memory |

The device is the first one that CUDA_VISIBLE_DEVICES leaves. Clocks are read after it has finished; a first run is not
counted; times are medians::

    python examples/benchmarks/on_device.py --json on_device.json
    python examples/benchmarks/on_device.py --device torch:cpu --quick --json quick.json
    python examples/benchmarks/on_device.py --parts errors roofline --budget 300 --json some.json
"""

import argparse
import os
import sys

from _common import environment, markdown_table, write_json
from _on_device_parts import Part, run_parts

PARTS = (
    Part("machine", "_on_device_machine", 15),
    Part("tests", "_on_device_tests", 120),
    Part("errors", "_on_device_errors", 35),
    Part("roofline", "_on_device_roofline", 55),
    Part("fits", "_on_device_fits", 75),
    Part("stream", "_on_device_stream", 60),
    Part("epochs", "_on_device_epochs", 35),
    Part("executor", "_on_device_executor", 30),
    Part("memory", "_on_device_memory", 40),
)
TOTAL = sum(part.seconds for part in PARTS)
COLUMNS = {
    "part": ("part", "s"),
    "budget, s": ("budget_s", ".0f"),
    "seconds": ("seconds", ".1f"),
    "rows": ("n_rows", "d"),
    "error": ("error", "s"),
}


def main():
    options = parse()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait for the device must not spin
    chosen = [part.scaled(options.budget / TOTAL) for part in PARTS if part.name in options.parts]
    settings = {"device": options.device, "quick": options.quick, "budget_s": options.budget}
    record = {"settings": settings | {"parts": [part.name for part in chosen]}, "environment": environment()}
    record["parts"] = {}
    together = options.quick and not options.device.startswith("cuda")  # imports are most of a quick run
    run_parts(chosen, settings, record["parts"], lambda: save(options, record), together)
    record["load_average_at_end"] = environment()["load_average"]
    save(options, record)
    print(markdown_table([_line(name, part) for name, part in record["parts"].items()], COLUMNS))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", choices=("cuda", "torch:cpu"), default="cuda", help="torch:cpu tries the script")
    add("--parts", nargs="+", choices=[part.name for part in PARTS], default=[part.name for part in PARTS])
    add("--budget", type=float, default=float(TOTAL), help="seconds of all parts together; scales each")
    add("--quick", action="store_true", help="small sizes: a smoke test, not a measurement")
    add("--json", metavar="PATH")
    return parser.parse_args()


def _line(name, part):
    """A part in the printed table; of a traceback the last line."""
    error = (part["error"] or "").strip().splitlines()[-1:] or [None]
    return {"part": name, "n_rows": len(part["rows"]), "error": error[0]} | {
        key: part[key] for key in ("budget_s", "seconds")
    }


def save(options, record):
    """Write what there is, if it is wanted."""
    if options.json:
        write_json(options.json, record)


if __name__ == "__main__":
    sys.exit(main())
