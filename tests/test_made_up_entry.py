"""The Python package on an entry that has everything a declaration can have, with C functions made up here."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

import losskit
from losskit import _functions, _library, _registry

INPUTS = [
    {"name": "queue", "type": "float", "shape": ["m", "d"], "optional": True, "stride": True, "doc": "older samples"},
    {"name": "x", "type": "float", "shape": ["rows", "d"], "differentiable": True, "stride": True, "doc": "samples"},
    {"name": "mask", "type": "u8", "shape": ["rows"], "doc": "which count"},
    {"name": "state", "type": "f32", "shape": ["2*d", 3], "doc": "moving averages"},
    {"name": "bias", "type": "float", "shape": ["d"], "optional": True, "differentiable": True, "doc": "shift; NULL for none"},
    {"name": "groups", "type": "i64", "shape": ["rows"], "optional": True, "doc": "group ids"},
]
OPTIONS = [
    {"name": "reach", "type": "float", "default": None, "range": "(0, inf]", "also": [-1.0], "doc": "how far"},
    {"name": "steps", "type": "int", "default": 3, "min": 1, "max": 9, "doc": "how often"},
    {"name": "exact", "type": "bool", "default": True, "doc": "whether"},
    {"name": "mode", "type": "enum", "default": "near", "values": ["far", "near"], "doc": "which way"},
    {"name": "reduction", "type": "reduction", "default": "sum", "doc": "sum adds up"},
]
OUTPUTS = [
    {"name": "loss", "type": "f32", "shape": ["rows"], "reduced": True, "doc": "the loss"},
    {"name": "output", "type": "float", "shape": ["rows", "k"], "doc": "what became of x"},
    {"name": "total", "type": "f32", "shape": [], "doc": "of all"},
    {"name": "places", "type": "i64", "shape": ["rows"], "doc": "where"},
]


def parameters(which):
    made = [("ctx", "context"), ("opts", "options"), ("dtype", "dtype")]
    made += [(name, "dim") for name in ("rows", "d", "m", "k")]
    if which == "workspace_size":
        return [{"name": n, "role": r} for n, r in [*made, ("bytes", "bytes")]]
    made = [{"name": n, "role": r} for n, r in made]
    made += [{"name": f"{n}_stride", "role": "stride", "of": n} for n in ("queue", "x")]
    made += [{"name": i["name"], "role": "input"} for i in INPUTS]
    if which == "backward":
        made += [{"name": "saved", "role": "saved_in"}]
    if which != "forward":
        made += [{"name": "grad_loss", "role": "grad_loss"}]
    if which != "backward":
        made += [{"name": o["name"], "role": "output"} for o in OUTPUTS]
    if which == "forward":
        made += [{"name": "saved", "role": "saved_out"}]
    if which != "forward":
        made += [{"name": f"grad_{n}", "role": "gradient", "of": n} for n in ("x", "bias")]
    return made + [{"name": "workspace", "role": "workspace"}, {"name": "workspace_bytes", "role": "workspace_bytes"}]


@pytest.fixture(params=[True, False], ids=["fused", "apart"])
def made_up(request, monkeypatch):
    functions = {w: {"symbol": w, "parameters": parameters(w)} for w in ("forward", "backward", "workspace_size")}
    if request.param:
        functions["forward_backward"] = {"symbol": "both", "parameters": parameters("forward_backward")}
    raw = {
        "name": "made_up", "kind": "loss", "family": "none", "summary": "Made up", "paper": "Nobody, 2000", "doc": "Text.\n",
        "elementwise": False, "saved": ["rows", 2], "workspace": ["cuda"], "devices": ["cpu"], "options_init": "init", "functions": functions,
        "dims": [{"name": n, "min": 0, "doc": f"size {n}"} for n in ("rows", "d", "m", "k")],
        "inputs": INPUTS, "options": OPTIONS, "outputs": OUTPUTS,
    }
    calls = []

    class Init:
        def __call__(self, address):
            struct = entry.options_struct.from_address(address)
            struct.struct_size, struct.reach, struct.steps = ctypes.sizeof(struct), np.inf, 3
            struct.exact, struct.mode, struct.reduction = 1, 1, 2

    entry = _registry.Entry.__new__(_registry.Entry)
    monkeypatch.setattr(_library, "LIBRARY", SimpleNamespace(init=Init()))
    entry.__init__(raw)

    def function(which):
        names = [p["name"] for p in parameters(which)]

        def call(*arguments):
            assert len(arguments) == len(names)
            given = dict(zip(names, arguments))
            struct = entry.options_struct.from_address(given["opts"])
            given["opts"] = {name: getattr(struct, name) for name, _ in struct._fields_}
            if given.get("loss"):
                ctypes.c_float.from_address(given["loss"]).value = 7
            if given.get("total"):
                ctypes.c_float.from_address(given["total"]).value = 8
            if which != "forward" and given.get("grad_x"):
                ctypes.c_float.from_address(given["grad_x"]).value = 9
            calls.append((which, given))
            return 0

        return call

    monkeypatch.setattr(entry, "function", function)
    monkeypatch.setitem(_registry._made, "made_up", entry)
    function_ = _functions.make("made_up")
    function_.calls = calls
    return function_


X = np.arange(12, dtype=np.float32).reshape(3, 4)
STATE = np.zeros((8, 3), np.float32)
MASK = np.array([True, False, True])


def test_forward_and_backward(made_up):
    result = made_up(X, MASK, STATE, k=5)
    which, given = made_up.calls[-1]
    assert which == "forward"
    assert [given[n] for n in ("dtype", "rows", "d", "m", "k", "queue_stride", "x_stride")] == [0, 3, 4, 0, 5, 0, 0]
    assert given["queue"] == given["bias"] == given["groups"] == 0 and given["x"] == X.ctypes.data
    assert given["mask"] == MASK.ctypes.data and given["saved"]
    assert given["opts"] == {"struct_size": 40, "reach": np.inf, "steps": 3, "exact": 1, "mode": 1, "reduction": 2}
    assert result.loss == 7 and type(result.loss) is np.float32 and result.total == 8 and result.total.shape == ()
    assert result.output.shape == (3, 5) and result.output.dtype == np.float32 and result.places.dtype == np.int64
    gradients = result.backward()
    which, again = made_up.calls[-1]
    assert which == "backward" and list(gradients) == ["x"] and gradients["x"][0, 0] == 9
    assert again["saved"] == given["saved"] and again["grad_loss"] == 0 and again["grad_bias"] == 0
    with pytest.raises(ValueError, match="wanted has 'bias', which was not given"):
        result.backward(wanted="bias")


def test_everything_given(made_up):
    half = X.astype(np.float16)
    queue = np.zeros((6, 9), np.float16)[:, 2:6]
    result = made_up.forward_backward(
        half, MASK.astype(np.uint8), STATE, queue, half[0], np.array([1, 2, 3], np.int32), k=2, reach=-1, steps=9,
        exact=False, mode="far", reduction="none", grad_loss=[1, 2, 3], wanted=("bias",),
    )
    given = [g for w, g in made_up.calls if w.startswith("forward")][-1]
    assert [given[n] for n in ("dtype", "rows", "d", "m", "k", "queue_stride", "x_stride")] == [1, 3, 4, 6, 2, 9, 0]
    assert given["queue"] == queue.ctypes.data and given["bias"] and given["groups"]
    options = given["opts"]
    assert (options["reach"], options["steps"], options["exact"], options["mode"], options["reduction"]) == (-1, 9, 0, 0, 0)
    assert result.loss.shape == (3,) and result.output.dtype == np.float16
    assert list(result.gradients) == ["bias"] and result.gradients["bias"].dtype == np.float16


@pytest.mark.parametrize(
    "change,error,text",
    [
        ({"k": None}, TypeError, "k is None, expected an integer"),
        ({"k": -1}, ValueError, "k is -1, expected at least 0"),
        ({"state": np.zeros((7, 3), np.float32)}, ValueError, r"state has shape \(7, 3\), expected \(2\*d, 3\) = \(8, 3\)"),
        ({"state": np.zeros((8, 3))}, TypeError, "state has dtype float64, expected float32"),
        ({"mask": np.zeros(3, np.int32)}, TypeError, "mask has dtype int32, expected bool or uint8"),
        ({"queue": np.zeros((6, 5), np.float32)}, ValueError, r"queue has shape \(6, 5\)"),
        ({"queue": np.zeros(6, np.float32)}, ValueError, r"queue has shape \(6,\)"),
        ({"bias": np.zeros(4, np.float16)}, TypeError, "bias has dtype float16, expected float32"),
        ({"groups": np.zeros(3, np.float32)}, TypeError, "groups has dtype float32, expected an integer type"),
        ({"exact": 2}, ValueError, "option 'exact' is 2, expected True or False"),
        ({"exact": "yes"}, TypeError, "option 'exact' is 'yes', expected True or False"),
        ({"mode": "nearr"}, ValueError, "Did you mean 'near'"),
    ],
)
def test_complaints(made_up, change, error, text):
    with pytest.raises(error, match=text):
        made_up(**{"x": X, "mask": MASK, "state": STATE, "k": 5, **change})


def test_missing(made_up):
    with pytest.raises(TypeError, match="missing 1 required argument: 'k'"):
        made_up(X, MASK, STATE)
    with pytest.raises(TypeError, match="missing 3 required arguments: 'mask', 'state' and 'k'"):
        made_up(X)


def test_documentation(made_up):
    text = made_up.__doc__
    for part in ("k (int)", "x (array of float32", "steps (int, optional): How often. At least 1 and at most 9. Default: 3"):
        assert part in text
    assert "None for none" in text and "Default: inf" in text and "In (0, inf] or -1" in text
    assert "k=" in text.partition("Example::")[2]
    assert str(made_up.__signature__).startswith("(x, mask, state, queue=None, bias=None, groups=None, *, k, reach=inf, steps=3")
