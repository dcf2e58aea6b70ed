"""The Python package: what it takes, what it returns, how it complains."""

import inspect
import timeit

import ml_dtypes
import numpy as np
import pytest

import losskit

rng = np.random.default_rng(0)
Z = rng.standard_normal((4, 7), dtype=np.float32)
Y = np.array([1, 6, 0, 3])
ce = losskit.token_cross_entropy


def test_results():
    result = ce(Z, Y)
    assert type(result.loss) is np.float32 and result.gradients is None
    assert repr(result).startswith("token_cross_entropy(loss=")
    gradients = result.backward()
    assert list(gradients) == ["logits"] and gradients["logits"].shape == Z.shape and gradients["logits"].dtype == np.float32
    each = ce(Z, Y, reduction="none")
    assert each.loss.shape == (4,) and each.loss.dtype == np.float32
    fused = ce.forward_backward(Z, Y)
    assert fused.loss == result.loss and fused.gradients["logits"].tobytes() == gradients["logits"].tobytes()
    assert fused.backward()["logits"].tobytes() == gradients["logits"].tobytes()
    assert "gradients={'logits': array(" in repr(fused)
    assert losskit.mse_loss(np.float32(3), np.float32(1)).loss == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_gradients_have_the_type_of_their_input(dtype):
    result = ce.forward_backward(Z.astype(dtype), Y)
    assert result.loss.dtype == np.float32 and result.gradients["logits"].dtype == dtype


def test_arguments_by_place_and_name():
    w = np.ones(7, np.float32)
    one = ce(Z, Y, w, label_smoothing=0.1).loss
    assert one == ce(logits=Z, labels=Y, class_weights=w, label_smoothing=0.1).loss == ce(Z, Y, label_smoothing=0.1).loss
    assert ce(Z, Y, label_smoothing=np.float32(0.5)).loss == ce(Z, Y, label_smoothing=0.5).loss


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.uint64])
def test_labels_of_other_integer_types(kind):
    assert ce(Z, Y.astype(kind)).loss == ce(Z, Y).loss


def test_lists_and_other_arrays():
    expected = ce(Z, Y).loss
    assert ce(Z.tolist(), Y.tolist()).loss == expected

    class Dlpack:
        def __dlpack__(self, **arguments):
            return Z.__dlpack__(**arguments)

        def __dlpack_device__(self):
            return Z.__dlpack_device__()

    class Array:
        def __array__(self, dtype=None, copy=None):
            return Z

    class Sub(np.ndarray):
        pass

    for logits in (Dlpack(), Array(), Z.view(Sub)):
        assert ce(logits, Y).loss == expected


def test_memory_layouts():
    expected = ce.forward_backward(Z, Y)
    wide = np.full((4, 20), np.nan, np.float32)
    room = np.zeros(Z.nbytes + 1, np.uint8)
    misaligned = room[1:].view(np.float32).reshape(Z.shape)
    read_only = Z.copy()
    read_only.flags.writeable = False
    layouts = [np.asfortranarray(Z), wide[:, 3:10], wide[:, ::2][:, :7], misaligned, Z[::-1][::-1], read_only]
    for z in layouts:
        if z.flags.writeable:
            z[...] = Z
        for result in (ce.forward_backward(z, Y), ce(z, Y)):
            assert result.loss == expected.loss
            gradients = result.gradients or result.backward()
            assert np.ascontiguousarray(gradients["logits"]).tobytes() == expected.gradients["logits"].tobytes()
    labels = np.zeros((4, 2), np.int64)[:, 0]
    labels[:] = Y
    assert ce(Z, labels).loss == expected.loss
    a, b = rng.standard_normal((2, 6, 5), dtype=np.float32)
    assert losskit.mse_loss(a.T, b.T).loss == losskit.mse_loss(a.T.copy(), b.T.copy()).loss


def test_strided_rows_are_not_copied():
    """Rows apart in memory of which a copy would take more than there is."""
    wide = np.zeros((3, 1000), np.float32)
    view = wide[:, :10]
    result = ce(view, [1, 2, 3])
    before = result.backward()["logits"].copy()
    view[0, 0] = 5  # seen by the next backward: it reads the caller's memory
    assert (result.backward()["logits"] != before).any()


@pytest.mark.parametrize(
    "call,error,text",
    [
        (lambda: ce(Z.astype(float), Y), TypeError, "logits has dtype float64, expected float32, float16 or bfloat16; convert"),
        (lambda: ce(Z, Y, np.ones(7)), TypeError, "class_weights has dtype float64, expected float32, float16 or bfloat16"),
        (lambda: ce(Z, Y, np.ones(7, np.float16)), TypeError, "class_weights has dtype float16, expected float32 as the other"),
        (lambda: ce(Z.astype(int), Y), TypeError, "logits has dtype int64"),
        (lambda: ce(Z, Y.astype(float)), TypeError, "labels has dtype float64, expected an integer type"),
        (lambda: ce(Z, Y > 2), TypeError, "labels has dtype bool, expected an integer type"),
        (lambda: ce(Z, np.array([2**63] * 4, np.uint64)), losskit.InvalidArgument, "too large for int64"),
        (lambda: ce(Z, Y[:3]), ValueError, r"labels has shape \(3,\), expected \(rows,\) = \(4,\)"),
        (lambda: ce(Z, Y[:, None]), ValueError, r"labels has shape \(4, 1\), expected \(rows,\) = \(4,\)"),
        (lambda: ce(Z[0], Y), ValueError, r"logits has shape \(7,\), expected \(rows, classes\)"),
        (lambda: ce(Z, Y, Z[0, :3]), ValueError, r"class_weights has shape \(3,\), expected \(classes,\) = \(7,\)"),
        (lambda: losskit.mse_loss(Z, Z[0]), ValueError, r"target has shape \(7,\), expected that of pred, \(4, 7\)"),
        (lambda: ce(Z), TypeError, r"token_cross_entropy\(\) missing 1 required argument: 'labels'"),
        (lambda: ce(), TypeError, r"missing 2 required arguments: 'logits' and 'labels'"),
        (lambda: ce(Z, Y, None, 0.1), TypeError, "positional arguments"),
        (lambda: ce(Z, Y, logits=Z), TypeError, "multiple values for argument 'logits'"),
        (lambda: ce(Z, lables=Y), TypeError, "unexpected keyword argument 'lables'. Did you mean 'labels'?"),
        (lambda: ce(Z, Y, xyz=1), TypeError, "unexpected keyword argument 'xyz'; it takes logits, labels"),
        (lambda: ce.forward_backward(Z, Y, grad_los=1), TypeError, "unexpected keyword argument 'grad_los'"),
        (lambda: ce(object(), Y), TypeError, "logits is a object, expected an array of float32"),
        (lambda: ce(Z, Y, label_smoothing=1.5), losskit.InvalidOption, r"option 'label_smoothing' is 1.5, expected a value in \[0, 1\]"),
        (lambda: ce(Z, Y, label_smoothing=float("nan")), losskit.InvalidOption, "option 'label_smoothing' is NaN"),
        (lambda: ce(Z, Y, label_smoothing="0.1"), TypeError, "option 'label_smoothing' is '0.1', expected a number"),
        (lambda: ce(Z, Y, label_smoothing=[0.1]), TypeError, "expected a number"),
        (lambda: ce(Z, Y, ignore_index=0.5), TypeError, "option 'ignore_index' is 0.5, expected an integer"),
        (lambda: ce(Z, Y, ignore_index=2**64), losskit.InvalidOption, "expected a 64-bit integer"),
        (lambda: ce(Z, Y, reduction="avg"), losskit.InvalidOption, "option 'reduction' is 'avg', expected 'none', 'mean' or 'sum'"),
        (lambda: ce(Z, Y, reduction="Mean"), losskit.InvalidOption, "Did you mean 'mean'?"),
        (lambda: ce(Z, Y + 5), losskit.InvalidLabel, "'labels' has value 11 in row 1"),
        (lambda: ce(Z[:, :0], Y), losskit.InvalidArgument, "'classes' is 0, expected at least 1"),
        (lambda: ce(Z, Y).backward(np.ones(4, np.float32)), ValueError, r"grad_loss has shape \(4,\), expected \(\)"),
        (lambda: ce(Z, Y, reduction="none").backward(1.0), ValueError, r"grad_loss has shape \(\), expected \(4,\)"),
        (lambda: ce(Z, Y).backward("x"), TypeError, "grad_loss cannot be taken as float32"),
        (lambda: ce(Z, Y).backward(wanted=("labels",)), ValueError, "wanted has 'labels', expected names among 'logits'"),
    ],
)
def test_complaints(call, error, text):
    with pytest.raises(error, match=text.replace("?", r"\?")) as caught:
        call()
    assert not isinstance(caught.value, losskit.Error) or caught.value.status in range(1, 8)


def test_wanted():
    result = losskit.mse_loss(Z, Z + 1)
    both = result.backward()
    assert list(both) == ["pred", "target"]
    for name in both:
        for wanted in (name, (name,), [name]):
            only = result.backward(wanted=wanted)
            assert list(only) == [name] and only[name].tobytes() == both[name].tobytes()
    assert result.backward(wanted=()) == {}
    assert list(losskit.mse_loss.forward_backward(Z, Z, wanted="target").gradients) == ["target"]


def test_upstream_gradients():
    result = ce(Z, Y, reduction="none")
    one = result.backward(np.array([1, 2, 0, -1.0], np.float32))["logits"]
    assert np.array_equal(one, result.backward([1, 2, 0, -1])["logits"])
    assert np.array_equal(one, result.backward(np.array([1, 2, 0, -1.0]))["logits"])
    assert not one[2].any()
    mean = ce(Z, Y)
    assert np.array_equal(mean.backward(2)["logits"], mean.backward(np.float32(2))["logits"])
    assert np.array_equal(mean.backward(2)["logits"], mean.backward(np.full(1, 2.0))["logits"])


def test_signatures():
    assert str(inspect.signature(losskit.z_loss)) == "(logits, labels, *, a=0.1, b=10.0, ignore_index=-100, reduction='mean', context=None)"
    parameters = inspect.signature(ce.forward_backward).parameters
    assert parameters["class_weights"].default is None and "grad_loss" in parameters and "wanted" in parameters


def test_entries():
    entry = losskit.entries()["token_cross_entropy"]
    assert list(entry.inputs) == ["logits", "labels", "class_weights"] and entry.differentiable == ("logits",)
    assert entry.options["label_smoothing"].default == 0.0 and entry.options["reduction"].values == ("none", "mean", "sum")
    assert list(entry.outputs) == ["loss"] and entry.kind == "loss" and entry.family == "classification"
    assert "Scaling Laws" in entry.paper and entry.summary


def test_many_option_values():
    """The structs of old option values are let go, not those in use."""
    results = [ce(Z, Y, z_weight=i * 1e-3) for i in range(200)]
    for i in (0, 77, 199):
        again = ce(Z, Y, z_weight=i * 1e-3)
        assert again.loss == results[i].loss
        assert again.backward()["logits"].tobytes() == results[i].backward()["logits"].tobytes()


def test_a_closed_context():
    context = losskit.Context("cpu")
    context.close()
    with pytest.raises(losskit.InvalidArgument, match="'ctx' is NULL"):
        ce(Z, Y, context=context)


def test_calls_are_cheap():
    """A few microseconds; the bound only catches a gross slip on a busy machine."""
    z, y = Z[:1], Y[:1]
    assert min(timeit.repeat(lambda: ce(z, y), number=200, repeat=5)) / 200 < 100e-6
