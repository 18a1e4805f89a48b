"""Reading ahead in a thread, so that the disk works while the processor does."""

import queue
import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _End:
    """The last item: the stream is over, or failed with ``error``."""

    error: BaseException | None = None


def prefetched(blocks, n_ahead):
    """Yield what the generator ``blocks`` yields, read by a thread at most ``n_ahead`` blocks ahead.

    With 0 the caller's thread reads. At most ``n_ahead + 2`` blocks exist: those that wait, one being read and one in
    use. An error of the reader is raised at its place in the order. The reader stops when the consumer does.
    """
    if n_ahead == 0:
        yield from blocks
        return
    waiting, stop = queue.Queue(maxsize=n_ahead), threading.Event()
    reader = threading.Thread(target=_read, args=(blocks, waiting, stop), daemon=True, name="read-ahead")
    reader.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
            del item  # or the block in use and the one before would both be held
        if item.error is not None:
            error, item = item.error, None  # or the traceback would hold the error, and blocks with it
            raise error
    finally:
        stop.set()
        reader.join()


def _read(blocks, waiting, stop):
    """Put blocks until they end, fail, or nobody wants them any more."""
    try:
        with closing(blocks):  # a generator lets go of its file
            for block in blocks:
                if not _put(waiting, block, stop):
                    break
                del block
        end = _End()
    except BaseException as error:  # it belongs to the consumer, whatever it is
        end = _End(error)
    _put(waiting, end, stop)


def _put(waiting, item: Any, stop):
    """Put an item unless the consumer has gone; return whether it was taken."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
