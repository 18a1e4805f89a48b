"""Files of values: what goes in comes out bit for bit, nothing else comes out, and a file is whole or not there."""

import dataclasses
import json
import os
import pickle
import stat

import numpy as np
import pytest

from sklearn_analytic.io import read_state, write_state
from sklearn_analytic.linalg import NormalEquations

VALUES = {
    "none": None,
    "numbers": [0, -1, 1 << 80, 0.1, 1e-310, float("inf"), -float("inf"), True],
    "nan": float("nan"),
    "text": 'ä\u0000\U0001f600 "quoted"',
    "nested": {"a": ({"b": []}, (), {}), "array": "a key like ours", "tuple": 1, "value": "x"},
    "arrays": [np.arange(6.0).reshape(2, 3), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3))],
    "dtypes": [np.ones(2, dtype) for dtype in ("f4", "f8", "i8", "u8", "u1", "?", "<U3", "S2", "c16")],
    "scalars": [np.float32(0.1), np.int64(-5), np.uint64(1 << 63), np.bool_(True), np.str_("s")],
    "strings": np.array(["long name", "b", ""], dtype=object),
    "strings_2d": np.array([["a", "b"]], dtype=object),
}


def assert_same(a, b):
    assert type(a) is type(b) or isinstance(a, np.generic) or isinstance(b, np.generic), (type(a), type(b))
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes() if a.dtype != object else a.tolist() == b.tolist()
        assert a.flags.f_contiguous == b.flags.f_contiguous
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, two in zip(a, b, strict=True):
            assert_same(one, two)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert a == b or (a != a and b != b)


@pytest.mark.parametrize("name", VALUES)
def test_round_trip(name, tmp_path):
    write_state(tmp_path / "s.npz", VALUES[name], {"made": "here"})
    tree, about = read_state(tmp_path / "s.npz")
    assert_same(VALUES[name], tree)
    assert about == {"made": "here"}


def test_round_trip_of_a_statistic(rng, tmp_path):
    from sklearn_analytic.backend import get_backend

    X = rng.standard_normal((20, 3))
    statistic = NormalEquations.from_rows(X, X[:, :1], None, get_backend("cpu"))
    write_state(tmp_path / "s.npz", {"it": statistic}, {})
    tree, _ = read_state(tmp_path / "s.npz")
    assert_same(dataclasses.asdict(statistic), dataclasses.asdict(tree["it"]))


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A value of another package."""

    x: int = 0


@pytest.mark.parametrize(
    "value",
    [{1, 2}, Foreign(), lambda: 0, b"bytes", np.array([object()], dtype=object), {1: 2}, object, 1j],
    ids=["set", "foreign", "function", "bytes", "objects", "integer_keys", "class", "complex"],
)
def test_what_has_no_place_is_refused_and_the_old_file_stays(value, tmp_path):
    path = tmp_path / "s.npz"
    write_state(path, "old", {})
    with pytest.raises(TypeError, match="cannot be written to a file of statistics"):
        write_state(path, {"x": value}, {})
    assert read_state(path)[0] == "old"
    assert os.listdir(tmp_path) == ["s.npz"]


@pytest.mark.parametrize("place", ["numpy.savez", "os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failed_writing_leaves_the_old_file_and_no_litter(place, error, exists, tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    if exists:
        write_state(path, "old", {})

    def fail(*args, **kwargs):
        raise error("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(place, fail)
        with pytest.raises(error, match="no space left"):
            write_state(path, "new", {})
    assert os.listdir(tmp_path) == (["s.npz"] if exists else [])
    if exists:
        assert read_state(path)[0] == "old"


def test_half_a_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    write_state(path, "old", {})

    def half(file, **arrays):
        file.write(b"PK half of an archive")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", half)
        with pytest.raises(OSError, match="no space"):
            write_state(path, "new", {})
    assert os.listdir(tmp_path) == ["s.npz"]
    assert read_state(path)[0] == "old"


def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    (tmp_path / "plain").write_text("")
    write_state(tmp_path / "s.npz", 1, {})
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "s.npz")]
    assert modes[0] == modes[1]


def test_a_name_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_state("state", 1, {})
    assert os.listdir(tmp_path) == ["state"]
    assert read_state("state")[0] == 1


def write_header(path, **changes):
    """A file with a header of one's own."""
    header = {"format": 1, "about": {}, "tree": None} | changes
    np.savez(path, header=np.array(json.dumps(header)))


def truncated(path):
    write_state(path, np.arange(1000.0), {})
    path.write_bytes(path.read_bytes()[:-200])


def flipped(path):
    write_state(path, np.arange(1000.0), {})
    data = bytearray(path.read_bytes())
    data[data.index(b"a0.npy") + 3000] ^= 0xFF
    path.write_bytes(bytes(data))


DAMAGE = {
    "truncated": truncated,
    "flipped_bit": flipped,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "npy": lambda path: (np.save(path.with_suffix(".npy"), np.arange(3)), path.with_suffix(".npy").rename(path)),
    "no_header": lambda path: np.savez(path, x=np.arange(3)),
    "pickled_member": lambda path: np.savez(path, header=np.array([{"a": 1}], dtype=object)),
    "no_json": lambda path: np.savez(path, header=np.array("{")),
    "no_tree": lambda path: np.savez(path, header=np.array('{"format": 1, "about": {}}')),
    "no_member": lambda path: write_header(path, tree={"array": "a7"}),
    "odd_node": lambda path: write_header(path, tree={"what": 1}),
    "no_module": lambda path: write_header(path, tree={"value": "sklearn_analytic.nothing:X", "fields": {}}),
    "no_field": lambda path: write_header(
        path, tree={"value": "sklearn_analytic.linalg._normal:NormalEquations", "fields": {"x": 1}}
    ),
    "foreign_value": lambda path: write_header(path, tree={"value": "tests.io.test_state_file:Foreign", "fields": {}}),
    "foreign_call": lambda path: write_header(path, tree={"value": "os:system", "fields": {"command": "true"}}),
    "no_dataclass": lambda path: write_header(path, tree={"value": "sklearn_analytic:BRMPRegressor", "fields": {}}),
    "function": lambda path: write_header(
        path, tree={"value": "sklearn_analytic.io._state_file:write_state", "fields": {}}
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_or_foreign_file_is_a_clear_error(how, tmp_path):
    path = tmp_path / "s.npz"
    DAMAGE[how](path)
    with pytest.raises(ValueError, match=r"s\.npz is no file of statistics, or is damaged"):
        read_state(path)


def test_a_later_format_is_named(tmp_path):
    write_header(tmp_path / "s.npz", format=2, tree={"of": "the future"})
    with pytest.raises(ValueError, match="has format 2; this version reads format 1"):
        read_state(tmp_path / "s.npz")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "s.npz")
    with pytest.raises(FileNotFoundError):
        write_state(tmp_path / "nowhere" / "s.npz", 1, {})


def test_the_file_is_an_ordinary_archive(tmp_path):
    """The layout that the documentation promises."""
    write_state(tmp_path / "s.npz", {"a": np.arange(3), "b": (1,)}, {"made": "here"})
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["a0", "header"]
        header = json.loads(str(file["header"]))
    assert header == {
        "format": 1,
        "about": {"made": "here"},
        "tree": {"dict": {"a": {"array": "a0"}, "b": {"tuple": [1]}}},
    }
