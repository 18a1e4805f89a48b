"""The process that does parts of ``on_device.py``: it sends rows as JSON lines, and says where it was when it hung."""

import faulthandler
import importlib
import json
import os
import sys
import traceback
import warnings

_NOTICE = 0.5  # seconds before the end at which all threads say where they are


def main():
    """Do the parts that the first argument asks for, one after the other."""
    request = json.loads(sys.argv[1])
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no row

    def send(message):
        channel.write(json.dumps(message, default=lambda value: value.item()) + "\n")
        channel.flush()

    def emit(row, key=None):
        send({"row": row, "key": key})

    for name, module, seconds in request["parts"]:
        faulthandler.dump_traceback_later(max(seconds - _NOTICE, seconds / 2), exit=False)
        send({"end": name, "error": _outcome(module, request["settings"], emit)})
        faulthandler.cancel_dump_traceback_later()


def _outcome(module, settings, emit):
    """The traceback of a part that fails, None of one that does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence and condition: rows say what came of it
            importlib.import_module(module).run(settings, emit)
    except BaseException:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    main()
