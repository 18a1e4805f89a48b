"""How ``on_device.py`` runs its parts: processes of their own, a deadline each, rows taken as they come."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("_on_device_worker.py")
TAIL = 3000  # characters of a failed process's errors
GRACE = 5  # seconds for a killed process to go: one that hangs in a driver may not
_FOLDERS = re.compile(r"[^\s\"']*/(?:site-packages|dist-packages|lib/python3\.\d+)/")


@dataclass(frozen=True)
class Part:
    """A question: ``run(settings, emit)`` of a module answers it within so many seconds, imports included."""

    name: str
    module: str
    seconds: float

    def scaled(self, factor):
        """The same with another budget."""
        return replace(self, seconds=self.seconds * factor)


def run_parts(parts, settings, record, save, together=False):
    """Run all parts and put an entry for each into ``record``; ``save()`` is called after every row.

    ``together`` lets parts share a process, until one of them has to be killed.
    """
    parts = list(parts)
    while parts:
        done = _run_process(parts if together else parts[:1], settings, record, save)
        parts = parts[done:]


def _run_process(parts, settings, record, save):
    """Run parts in one process, until it fails; return how many have been dealt with."""
    request = {"parts": [[part.name, part.module, part.seconds] for part in parts], "settings": settings}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(WORKER), json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # what a part has started goes with it
        )
        lines = Lines(process.stdout)
        try:
            for done, part in enumerate(parts, 1):
                entry = record[part.name] = {"budget_s": part.seconds, "seconds": None, "error": None, "rows": []}
                is_alive = _follow(part, entry, lines, save)
                if not is_alive:
                    _kill(process)
                    _explain(entry, process, errors)
                save()
                if not is_alive:
                    return done
            return len(parts)
        finally:
            _kill(process)


def _follow(part, entry, lines, save):
    """Take a part's rows until it ends; whether its process lives on."""
    start, places = time.perf_counter(), {}
    save()
    try:
        while True:
            line = lines.next(start + part.seconds - time.perf_counter())
            if line is None:
                return False
            message = json.loads(line)
            if "end" in message:
                entry["error"] = message["error"] and cleaned(message["error"])
                return True
            _put(entry["rows"], places, message)
            save()
    except TimeoutError:
        entry["error"] = f"ran out of its {part.seconds:g} s"
        return False
    finally:
        entry["seconds"] = time.perf_counter() - start


def _put(rows, places, message):
    """Append a row, or put it in the place of the one with the same key."""
    key = message["key"]
    if key is not None and key in places:
        rows[places[key]] = message["row"]
        return
    if key is not None:
        places[key] = len(rows)
    rows.append(message["row"])


def _explain(entry, process, errors):
    """What is known of a process that was killed, or died."""
    if entry["error"] is None:
        code = process.returncode
        name = signal.Signals(-code).name if code and code < 0 else f"exit status {code}"
        entry["error"] = f"the process ended with {name}"
        entry["rc"] = code
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - TAIL))
    entry["stderr"] = cleaned(errors.read().decode(errors="replace"))


def _kill(process):
    """End a process and all that it has started."""
    if process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # one that closes its end by itself keeps its own status
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    process.stdout.close()


def cleaned(text):
    """A text without the folders of this machine."""
    return _FOLDERS.sub("", text.replace(f"{ROOT}{os.sep}", "").replace(str(ROOT), "."))


class Lines:
    """Lines of a pipe, with a deadline for each."""

    def __init__(self, pipe):
        self._pipe, self._buffer = pipe, b""

    def next(self, seconds):
        """Return the next line, or None at the end; TimeoutError after so many seconds."""
        deadline = time.perf_counter() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.perf_counter()
            if left <= 0 or not select.select([self._pipe], [], [], left)[0]:
                raise TimeoutError
            read = os.read(self._pipe.fileno(), 1 << 16)
            if not read:
                return None
            self._buffer += read
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line
