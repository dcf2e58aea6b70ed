"""Every entry against its float64 reference, on every device there is."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest

import losskit
from harness.caller import Caller
from harness.cases import Case, _seed, large_case, option_cases, shape_cases, small_dims
from harness.compare import DTYPES, F32, GRADIENT, LOSS, assert_close, assert_near, assert_same
from harness.subject import Subject, subjects

REDUCED = bool(os.environ.get("LOSSKIT_TEST_REDUCED"))


@functools.cache
def subject(name):
    return Subject(name)


@functools.cache
def context(device):
    kind, _, threads = device.partition("-threads-")
    return losskit.Context(kind, num_threads=int(threads or 1))


def _devices():
    devices = ["cpu-threads-1"]
    if "cuda-emulation" in losskit.features():
        devices.append("cuda-emulated")
    if "cuda" in losskit.features():
        try:
            context("cuda")
            devices.append("cuda")
        except losskit.Error:
            pass
    return devices


DEVICES = _devices()
NAMES = subjects()
each_entry = pytest.mark.parametrize("name", NAMES)
each_device = pytest.mark.parametrize("device", DEVICES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def available(name, device):
    if device.split("-")[0] not in subject(name).entry.devices:
        pytest.skip(f"{name} is not available on {device}")
    return context(device)


def test_every_entry_has_a_test_file():
    missing = set(losskit.entries()) - set(NAMES)
    assert not missing, f"entries without a file in tests/entries: {', '.join(sorted(missing))}"


@each_entry
def test_every_option_is_tried(name):
    tried = set(subject(name).options)
    options = {o.name for o in subject(name).entry.options.values() if o.type != "reduction"}
    assert tried == options


@each_entry
def test_every_entry_has_a_worked_example(name):
    assert subject(name).examples


@each_entry
def test_closed_form_against_differences(name):
    """The gradient that the reference file states, against differences of its forward."""
    s = subject(name)
    if getattr(s.file, "SURROGATE", False):
        pytest.skip("the gradient is meant to be another than that of the output")
    if not hasattr(s.file, "gradient"):
        pytest.skip("gradients are compared with differences everywhere")
    with np.errstate(all="ignore"):
        for i, case in enumerate(option_cases(s, F32)):
            if i > 60:
                break
            if case.distribution not in ("normal", "offset"):
                continue  # the steps would be too large, or the reference not smooth
            x = s.exact(case.inputs, True, case.free)
            gradients = s.gradients(x, case.options, None)
            for wanted, closed in gradients.items():
                if getattr(x, wanted) is None:
                    continue
                places = case.rng.permutation(closed.size)[:6]
                _, slopes = s.differences(x, case.options, None, wanted, places)
                closed = np.asarray(closed).reshape(-1)[places]
                size = np.abs(gradients[wanted]).max()
                bad = np.abs(closed - slopes) > 1e-7 * size + 1e-12
                assert not bad.any(), f"{case}: {wanted}: closed form {closed[bad]}, differences {slopes[bad]}"


def check(case, ctx):
    """Forward, backward and the fused pass of a case."""
    s = case.subject
    function = getattr(losskit, s.name)
    x = s.exact(case.inputs, free=case.free)
    result = function(**case.arguments, context=ctx)
    expected = s.reference(x, case.options)
    scales = s.scales(x, case.options, expected)
    for name, output in s.entry.outputs.items():
        got = getattr(result, name)
        if output.type in ("float", "f32"):
            assert_close(got, expected[name], scales[name], LOSS, f"{case}: {name}")
        else:
            assert_same(got, np.asarray(expected[name]).astype(np.asarray(got).dtype), f"{case}: {name}")
    if not s.entry.differentiable:
        return
    grad_loss = None
    if case.seed % 3:
        shape = np.shape(getattr(result, s.first))
        grad_loss = np.asarray(case.rng.standard_normal(shape) * 3).astype(np.float32)
    gradients = result.backward(grad_loss)
    exact = s.gradients(x, case.options, grad_loss)
    if exact is None:
        check_differences(case, gradients, grad_loss)
    else:
        exact = {name: exact[name] for name in gradients}
        sizes = s.gradient_scales(x, case.options, grad_loss, exact)
        for name, g in gradients.items():
            assert_close(g, exact[name], sizes[name], GRADIENT, f"{case}: gradient of {name}")
    fused = function.forward_backward(**case.arguments, grad_loss=grad_loss, context=ctx)
    # The fused pass keeps between its sweeps what forward and backward hand over in f32 or compute again.
    same = assert_same if ctx.kind == "cpu" else assert_near
    for name in s.entry.outputs:
        same(getattr(fused, name), getattr(result, name), f"{case}: fused {name}")
    for name, g in gradients.items():
        if exact is not None:
            assert_close(fused.gradients[name], exact[name], sizes[name], GRADIENT, f"{case}: fused gradient of {name}")


def check_all(cases, ctx):
    """All of them, to report more than the first failure."""
    failures = []
    with np.errstate(all="ignore"):
        for case in cases:
            try:
                check(case, ctx)
            except (AssertionError, losskit.Error) as error:
                failures.append(f"{error}")
    assert not failures, f"{len(failures)} cases failed:\n" + "\n".join(failures[:10])


def check_differences(case, gradients, grad_loss):
    """Gradients at some places of each input, against differences."""
    s = case.subject
    x = s.exact(case.inputs, True, case.free)
    for name, g in gradients.items():
        places = case.rng.permutation(g.size)[:12]
        _, slopes = s.differences(x, case.options, grad_loss, name, places)
        largest = np.abs(g.astype(np.float64)).max(axis=tuple(range(1, g.ndim)), keepdims=True)
        size = np.broadcast_to(largest, g.shape).reshape(-1)[places]
        assert_close(g.reshape(-1)[places], slopes, size, GRADIENT, f"{case}: gradient of {name} at {places}")


@each_dtype
@each_device
@each_entry
def test_shapes(name, device, dtype):
    ctx = available(name, device)
    check_all(shape_cases(subject(name), DTYPES[dtype], every=3 if REDUCED else 1), ctx)


@each_dtype
@each_device
@each_entry
def test_options(name, device, dtype):
    ctx = available(name, device)
    check_all(option_cases(subject(name), DTYPES[dtype]), ctx)


@each_dtype
@each_device
@each_entry
def test_large(name, device, dtype):
    """Against the reference, and the same bits whatever the number of threads."""
    ctx = available(name, device)
    case = large_case(subject(name), DTYPES[dtype])
    with np.errstate(all="ignore"):
        check(case, ctx)
    if device != "cpu-threads-1":
        return
    function = getattr(losskit, name)
    fused = bool(subject(name).entry.differentiable)
    run = function.forward_backward if fused else function
    one = run(**case.arguments, context=ctx)
    for other in ("cpu-threads-2", "cpu-threads-3", "cpu-threads-2"):
        two = run(**case.arguments, context=context(other))
        for output in subject(name).entry.outputs:
            assert_same(getattr(one, output), getattr(two, output), f"{case}: {output} on {other}")
        for wanted in one.gradients or {}:
            assert_same(one.gradients[wanted], two.gradients[wanted], f"{case}: gradient of {wanted} on {other}")


@each_device
@each_entry
def test_worked_examples(name, device):
    s, ctx = subject(name), available(name, device)
    for example in s.examples:
        inputs = {}
        for source in s.entry.inputs.values():
            if source.name in example["inputs"]:
                kind = {"i64": np.int64, "u8": np.uint8}.get(source.type, np.float32)
                inputs[source.name] = np.asarray(example["inputs"][source.name], kind)
        options = example.get("options", {})
        free = {dim: example["dims"][dim] for dim in s.entry.free_dims}
        result = getattr(losskit, name)(**inputs, **options, **free, context=ctx)
        for output, value in example["outputs"].items():
            np.testing.assert_allclose(getattr(result, output), value, rtol=2e-6, atol=1e-6, err_msg=f"{name}: {output}")
        if "gradients" in example:
            gradients = result.backward()
            assert set(gradients) == set(example["gradients"])
            for wanted, value in example["gradients"].items():
                np.testing.assert_allclose(gradients[wanted], value, rtol=2e-6, atol=1e-6, err_msg=f"{name}: gradient of {wanted}")


def _own_tests():
    return [(name, test) for name in NAMES for test in subject(name).tests]


@each_dtype
@each_device
@pytest.mark.parametrize("name,test", _own_tests())
def test_of_the_entry(name, test, device, dtype):
    ctx = available(name, device)
    with np.errstate(all="ignore"):
        subject(name).tests[test](Caller(subject(name), ctx, DTYPES[dtype]))


# Edges that follow from the registry.


@each_device
@each_entry
def test_empty(name, device):
    """No rows, or no elements: loss 0, empty gradients."""
    s, ctx = subject(name), available(name, device)
    dims = dict(small_dims(s))
    first = next(iter(dims))
    if s.entry.dims[first].minimum > 0:
        pytest.skip(f"{first} is at least {s.entry.dims[first].minimum}")
    dims[first] = 0
    dims = s.entry.with_capacities(dims)
    for reduction in s.entry.reduction.values if s.entry.reduction else [None]:
        options = {s.entry.reduction.name: reduction} if reduction else {}
        case = Case(s, dims, F32, "normal", options, 1)
        result = getattr(losskit, name)(**case.arguments, context=ctx)
        for output in s.entry.outputs.values():
            value = getattr(result, output.name)
            whole = reduction == "none" or not output.reduced
            sizes = s.entry.values(dims, options)
            assert np.size(value) == (np.prod([e.size(sizes) for e in output.shape]) if whole else 1)
            if output.reduced:
                assert not np.any(value)
        for wanted, g in (result.backward() if s.entry.differentiable else {}).items():
            assert g.shape == case.inputs[wanted].shape


@each_device
@each_entry
def test_non_finite_values_stay_in_their_sample(name, device):
    s, ctx = subject(name), available(name, device)
    if not s.entry.reduction or getattr(s.file, "SAMPLES_DEPEND", False) or not s.entry.differentiable:
        pytest.skip("samples are not independent")
    function = getattr(losskit, name)
    options = {s.entry.reduction.name: "none"}
    for bad in (np.nan, np.inf):
        for source in s.float_inputs:
            # Only inputs with one part per sample.
            if [str(e) for e in source.shape[:1]] != [next(iter(s.entry.dims))]:
                continue
            case = Case(s, small_dims(s), F32, "normal", options, 7)
            if source.name not in case.inputs or (source.range and np.isinf(bad)):
                continue  # left out, or refused
            for labels in s.entry.inputs.values():
                if labels.index:
                    case.inputs[labels.name][:] = 0
            clean = function.forward_backward(**case.arguments, context=ctx)
            width = case.inputs[source.name][1].size
            case.inputs[source.name].reshape(-1)[width] = bad
            dirty = function.forward_backward(**case.arguments, context=ctx)
            loss = getattr(dirty, s.first)
            if np.isnan(bad):
                assert np.isnan(loss[1]).any(), f"{name}: a NaN in {source.name} vanished"
                of_rows = [g for g in dirty.gradients.values() if g.shape[:1] == loss.shape[:1]]
                assert any(np.isnan(g[1]).any() for g in of_rows), f"{name}: a NaN in {source.name} leaves gradients finite"
            others = np.arange(len(loss)) != 1
            assert_same(loss[others], getattr(clean, s.first)[others], f"{name}: rows beside a {bad} in {source.name}")
            for wanted, g in dirty.gradients.items():
                if g.shape[:1] == loss.shape[:1]:
                    assert_same(g[others], clean.gradients[wanted][others], f"{name}: gradient of {wanted} beside a {bad}")


def _labelled(name):
    s = subject(name)
    found = [i for i in s.entry.inputs.values() if i.index]
    if not found:
        pytest.skip("no labels")
    return s, found


@each_device
@each_entry
def test_ignored_rows(name, device):
    s, labels = _labelled(name)
    ctx = available(name, device)
    labels = [i for i in labels if i.ignore]
    if not labels or not s.entry.differentiable:
        pytest.skip("nothing is ignored")
    function = getattr(losskit, name)
    for reduction in s.entry.reduction.values if s.entry.reduction else [None]:
        options = {labels[0].ignore: -7, **({s.entry.reduction.name: reduction} if reduction else {})}
        case = Case(s, small_dims(s), F32, "normal", options, 3)
        for source in labels:
            case.inputs[source.name][:] = -7
        for source in s.float_inputs:
            if source.differentiable:
                case.inputs[source.name][1, ...] = np.nan
        result = function(**case.arguments, context=ctx)
        assert not np.any(getattr(result, s.first)), f"{name}: {reduction} of nothing but ignored rows"
        for wanted, g in result.backward().items():
            assert not g.any(), f"{name}: gradient of {wanted} with nothing but ignored rows"


@each_device
@each_entry
def test_labels_out_of_range(name, device):
    s, labels = _labelled(name)
    ctx = available(name, device)
    function = getattr(losskit, name)
    options = {s.entry.reduction.name: "none"} if s.entry.reduction else {}
    for source in labels:
        case = Case(s, small_dims(s), F32, "normal", options, 3)
        for i in s.entry.inputs.values():
            if i.index:
                case.inputs[i.name][:] = 0
        upper = source.index.size(s.entry.values(case.dims, {}))
        for bad in (upper, -1, 2**62, -(2**63)):
            labels = case.inputs[source.name]
            labels[...] = 0
            labels[(1,) + (0,) * (labels.ndim - 1)] = bad  # in the second sample
            if device.startswith("cpu"):
                row = labels[0].size
                with pytest.raises(losskit.InvalidLabel, match=rf"'{source.name}' has value {bad} in row {row}\b") as caught:
                    function(**case.arguments, context=ctx)
                assert isinstance(caught.value, (ValueError, IndexError)) and caught.value.status == 3
            else:
                result = function(**case.arguments, context=ctx)
                per_row = [o.name for o in s.entry.outputs.values() if o.shape and str(o.shape[0]) == str(source.shape[0])]
                for loss in [getattr(result, name) for name in per_row[:1]]:
                    assert np.isnan(loss[1]).all() and np.isfinite(np.delete(loss, 1, axis=0)).all()
                with pytest.raises(losskit.InvalidLabel):
                    ctx.check()
                ctx.check()
                if s.entry.differentiable:
                    for wanted, g in result.backward().items():
                        assert np.isfinite(g).all()
                        # Inputs with a row per label.
                        assert str(s.entry.inputs[wanted].shape[0]) != str(source.shape[0]) or not g[1].any()
                    with pytest.raises(losskit.InvalidLabel):
                        ctx.check()


ISAS = {"scalar": (), "avx2": ("avx2", "fma", "f16c"), "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl")}


def _processor():
    try:
        with open("/proc/cpuinfo") as info:
            return next(line for line in info if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return ()


@pytest.mark.skipif(REDUCED, reason="this is the reduced pass")
@pytest.mark.parametrize("isa", ISAS)
def test_reduced_pass_of_instruction_set(isa):
    if not set(ISAS[isa]) <= set(_processor()):
        pytest.skip(f"this processor has no {isa}")
    environment = {**os.environ, "LOSSKIT_ISA": isa, "LOSSKIT_TEST_REDUCED": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", __file__, "-k", "(test_shapes or test_large) and cpu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
