"""Features between partitions: where they wait changes nothing, and no file outlives its cache."""

import errno
import os

import numpy as np
import pytest

from sklearn_analytic.layerwise import feature_cache as _feature_cache
from sklearn_analytic.layerwise.feature_cache import CACHES, FileCache, HalfCache
from sklearn_analytic.layerwise.file_rows import FileRows
from tests.checks import assert_close

# float16 has eleven bits
TOLERANCE = {"memory": 0, "memmap": 0, "float16": 2.0**-10, None: 0}


@pytest.fixture
def x(rng):
    return rng.standard_normal((50, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(_feature_cache, "_BLOCK_ENTRIES", 40)


def doubled(h):
    """A layer of other width; every row by itself, so that blocks change no bit."""
    return np.hstack([2 * h, np.abs(h[:, :1])]).astype(h.dtype)


@pytest.mark.parametrize("name", CACHES)
def test_features_are_those_of_the_layers(x, tmp_path, name):
    cache = CACHES[name](x, tmp_path)
    assert len(cache) == 50 and cache.take(np.array([3, 1])).dtype == np.float32
    np.testing.assert_array_equal(cache.take(np.array([3, 1])), x[[3, 1]])
    expected = x
    for _ in range(3):
        cache.advance(doubled)
        expected = doubled(expected)
        found = cache.take(np.array([7, 0, 7, 49]))
        assert found.dtype == np.float32 and len(cache) == 50
        bound = TOLERANCE[name] * np.abs(expected).max()
        assert np.abs(found - expected[[7, 0, 7, 49]]).max() <= bound
        assert np.abs(cache.take(slice(10, 20)) - expected[10:20]).max() <= bound
    cache.close()


@pytest.mark.parametrize("name", CACHES)
def test_some_rows_go_on(x, tmp_path, name):
    cache, kept = CACHES[name](x, tmp_path), np.arange(0, 50, 2)
    cache.restrict(kept)
    assert len(cache) == 25
    np.testing.assert_array_equal(cache.take(slice(None)), x[kept])
    cache.advance(doubled)
    cache.restrict(np.array([4, 9, 20]))
    cache.advance(doubled)
    assert len(cache) == 3 and sum(len(range(3)[rows]) for rows in cache.blocks()) == 3
    expected = doubled(doubled(x[[8, 18, 40]]))
    assert_close(cache.take(np.arange(3)), expected, "float32" if name != "float16" else "float16")
    assert_close(cache.take(np.array([2])), expected[2:], "float32" if name != "float16" else "float16")
    cache.close()


@pytest.mark.parametrize("name", CACHES)
def test_blocks_cover_all_rows_once(x, tmp_path, name):
    cache = CACHES[name](x, tmp_path)
    blocks = cache.blocks()
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate([np.arange(50)[rows] for rows in blocks]), np.arange(50))


@pytest.mark.parametrize("name", CACHES)
def test_the_inputs_are_neither_copied_nor_changed(x, tmp_path, name):
    x.flags.writeable = False
    before = x.copy()
    cache = CACHES[name](x, tmp_path)
    assert cache._x is x
    cache.restrict(np.arange(10))
    cache.advance(doubled)
    cache.close()
    np.testing.assert_array_equal(x, before)


def test_only_memory_is_in_memory(x):
    assert [name for name, kind in CACHES.items() if kind(x).in_memory] == ["memory"]
    assert CACHES["memory"](x).take(slice(None)) is x


def test_half_floats_take_half_the_memory_and_refuse_large_features(x):
    cache = HalfCache(x)
    cache.advance(doubled)
    assert cache._x.dtype == np.float16
    before = cache.take(slice(None))
    with pytest.raises(ValueError, match=r"cache='float16' holds features up to 65504, but a layer put out .*memmap"):
        cache.advance(lambda h: h * np.float32(1e5))
    np.testing.assert_array_equal(cache.take(slice(None)), before)


def test_features_live_in_the_file_alone(x, tmp_path):
    cache = FileCache(x, tmp_path)
    assert os.listdir(tmp_path) == []
    cache.advance(doubled)
    (name,) = os.listdir(tmp_path)
    assert name.startswith("features-") and (tmp_path / name).stat().st_size == 50 * 7 * 4
    assert isinstance(cache._x, FileRows)
    found = cache.take(slice(None))
    assert type(found) is np.ndarray and found.flags.writeable
    buffer = np.zeros((3, 7), np.float32)
    cache.fill(np.array([4, 5, 1]), buffer)
    np.testing.assert_array_equal(buffer, found[[4, 5, 1]])
    cache.advance(doubled)
    assert len(os.listdir(tmp_path)) == 1 and os.listdir(tmp_path) != [name]  # the old file is gone
    cache.close()
    cache.close()
    assert os.listdir(tmp_path) == []


def test_the_system_chooses_the_folder(x, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cache = FileCache(x)
    cache.advance(doubled)
    assert len(os.listdir(tmp_path)) == 1
    cache.close()


class FullDisk:
    """A file object on a disk that takes a few writes."""

    def __init__(self, file, n_writes):
        self._file, self._left = file, n_writes

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self._file.close()

    def write(self, data):
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)


@pytest.mark.parametrize("n_writes", [0, 2])
def test_a_full_disk_is_an_error_with_advice(x, tmp_path, monkeypatch, n_writes):
    cache = FileCache(x, tmp_path)
    cache.advance(doubled)
    before, files = cache.take(slice(None)), os.listdir(tmp_path)
    real = os.fdopen
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda *arguments: FullDisk(real(*arguments), n_writes))
        with pytest.raises(OSError, match=r"need 1,600 bytes in .*TMPDIR.*cache='float16', 'memory' or None") as caught:
            cache.advance(doubled)
    assert caught.value.errno == errno.ENOSPC and str(tmp_path) in str(caught.value)
    assert os.listdir(tmp_path) == files
    np.testing.assert_array_equal(cache.take(slice(None)), before)
    cache.advance(doubled)  # there is space again
    np.testing.assert_array_equal(cache.take(slice(None)), doubled(before))
    cache.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["memory", "float16", "memmap"])  # without a cache, layers run when rows are taken
def test_an_error_in_a_layer_leaves_the_cache_as_it_was(x, tmp_path, name, error):
    cache, calls = CACHES[name](x, tmp_path), []
    cache.advance(doubled)
    before, files = cache.take(np.arange(50)), os.listdir(tmp_path)

    def failing(h):
        calls.append(1)
        if len(calls) == 3:
            raise error
        return h

    with pytest.raises(error):
        cache.advance(failing)
    assert len(calls) == 3 and os.listdir(tmp_path) == files
    np.testing.assert_array_equal(cache.take(np.arange(50)), before)
    cache.close()
    assert os.listdir(tmp_path) == []
