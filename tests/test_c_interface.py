"""What the C functions of every entry promise about memory: strides, in place, absent buffers, saved state."""

import functools
import itertools

import numpy as np
import pytest

import losskit
from harness.compare import assert_near, assert_same
from harness.raw import RawCall, message
from harness.subject import Subject
from test_entries import DEVICES, context

NAMES = list(losskit.entries())
DEVICES = [d for d in DEVICES if d != "cuda"]
pytestmark = [pytest.mark.parametrize("device", DEVICES), pytest.mark.parametrize("name", NAMES)]
DTYPES = (0, 1, 2)


def calls(name, device, **more):
    """Valid calls in all dtypes and reductions, of several sizes."""
    entry = losskit.entries()[name]
    if device.split("-")[0] not in entry.devices:
        pytest.skip(f"{name} is not available on {device}")
    reduction = entry.reduction
    subject = Subject(name)
    shapes = []
    for sizes in ((5, 19), (2, 1), (3, 70), (1, 1500)):
        dims = dict(zip(entry.dims, itertools.cycle(sizes)))
        if len(entry.dims) == 1:
            dims = {next(iter(entry.dims)): sizes[0] * sizes[1]}
        shapes.append(dims)
    if subject.shapes:
        shapes = sorted(subject.shapes, key=lambda dims: np.prod(list(dims.values())))[:4]
    shapes = [dims for dims in shapes if subject.possible(dims, {})]
    for dtype, dims in itertools.product(DTYPES, shapes):
        for value in reduction.values if reduction else [None]:
            options = {reduction.name: value} if reduction else {}
            yield entry, dict(dims=dims, dtype=dtype, context=context(device), options=options, seed=len(dims) + dtype, **more)


def run(entry, which, arguments, absent=(), **changed):
    call = RawCall(entry, which, absent=absent, **arguments)
    status = call(**changed)
    assert status == 0, message()
    return call


def written(call):
    return [b.name for b in call.buffers.values() if b.written and call.arguments[call.place[b.name]]]


def same(device, name):
    """How equal results must be that are computed in different ways: on the CPU to the bit."""
    amplified = getattr(Subject(name).file, "AMPLIFIED", 1)
    return assert_same if device.startswith("cpu") else functools.partial(assert_near, amplified=amplified)


def test_writes_only_its_outputs(name, device):
    for entry, arguments in calls(name, device):
        for which in set(entry.functions) - {"workspace_size"}:
            call = run(entry, which, arguments)
            assert call.only_outputs_changed(), f"{which} {arguments}: wrote outside its outputs"


def test_absent_outputs(name, device):
    """Leaving an output out changes no other."""
    for entry, arguments in calls(name, device):
        for which in set(entry.functions) - {"workspace_size"}:
            full = run(entry, which, arguments)
            names = written(full)
            for absent in [(n,) for n in names] + [tuple(names)]:
                call = run(entry, which, arguments, absent=absent)
                assert call.only_outputs_changed()
                for other in set(names) - set(absent):
                    assert_same(call.view(other), full.view(other), f"{which} {arguments}: {other} without {absent}")


def test_backward_without_saved(name, device):
    for entry, arguments in calls(name, device):
        if not entry.saved or not entry.differentiable:
            pytest.skip("nothing is saved")
        one = run(entry, "backward", arguments)
        two = run(entry, "backward", arguments, absent=("saved",))
        for gradient in written(one):
            same(device, name)(one.view(gradient), two.view(gradient), f"{arguments}: {gradient} without saved")


def test_absent_upstream_gradient_is_one(name, device):
    for entry, arguments in calls(name, device):
        if not entry.differentiable:
            pytest.skip("no gradient")
        one = RawCall(entry, "backward", **arguments)
        one.view("grad_loss")[:] = 1
        assert one() == 0
        two = run(entry, "backward", arguments, absent=("grad_loss",))
        for gradient in written(one):
            assert_same(one.view(gradient), two.view(gradient), f"{arguments}: {gradient}")


def test_in_place(name, device):
    """A gradient written over its input, state over the state before."""
    for entry, arguments in calls(name, device):
        for which in set(entry.functions) - {"workspace_size"}:
            apart = run(entry, which, arguments)
            places = {b.name: b.of for b in apart.buffers.values() if b.role == "gradient" and entry.inputs[b.of].in_place}
            outputs = [entry.outputs[b.name] for b in apart.buffers.values() if b.role == "output"]
            places |= {output.name: output.in_place for output in outputs if output.in_place}
            for chosen in [[g] for g in places] + ([list(places)] if len(places) > 1 else []):
                call = RawCall(entry, which, **arguments)
                changed = {gradient: call.address(places[gradient]) for gradient in chosen}
                assert call(**changed) == 0, message()
                assert call.only_outputs_changed(also=[places[g] for g in chosen])
                for gradient in chosen:
                    assert_same(call.view(places[gradient]), apart.view(gradient), f"{which} {arguments}: {gradient} in place")
                for other in set(written(apart)) - set(chosen):
                    assert_same(call.view(other), apart.view(other), f"{which} {arguments}: {other} with {chosen} in place")


def test_row_stride(name, device):
    """Rows apart in memory, NaN between them, against dense rows; the gaps of the gradient stay."""
    entry = losskit.entries()[name]
    strided = [i for i in entry.inputs.values() if i.stride]
    if not strided:
        pytest.skip("no row stride")
    for (entry, arguments), extra in zip(calls(name, device), itertools.cycle((1, 13, 16))):
        for which in set(entry.functions) - {"workspace_size"}:
            dense = run(entry, which, arguments)
            sizes = {i.name: [extent.size(entry.values(arguments["dims"], {})) for extent in i.shape] for i in strided}
            strides = {n: s[-1] + extra for n, s in sizes.items()}
            call = RawCall(entry, which, strides=strides, **arguments)
            gaps = {}
            for b in call.buffers.values():
                source = b.name if b.role == "input" else b.of
                view = call.view(b.name)
                if source not in strides:
                    if b.role not in ("output", "gradient", "saved_out"):
                        view[:] = dense.view(b.name)
                    continue
                rows, columns = sizes[source]
                inside = (np.arange(view.size) % strides[source]) < columns
                gaps[b.name] = inside
                if b.role == "input":
                    view[:] = np.float32(np.nan)
                    view[inside] = dense.view(b.name)
            call.snapshot = call.arena.copy()
            assert call() == 0, message()
            assert call.only_outputs_changed(), f"{which} {arguments}"
            for b in call.buffers.values():
                if not b.written:
                    continue
                got = call.view(b.name)
                if b.name in gaps:
                    before = call.snapshot[b.start : b.end].view(got.dtype)[~gaps[b.name]]
                    assert got[~gaps[b.name]].tobytes() == before.tobytes(), f"{which} {arguments}: wrote between rows"
                    got = got[gaps[b.name]]
                same(device, name)(got, dense.view(b.name), f"{which} {arguments}: {b.name} with strides {strides}")


def test_same_bits_every_time(name, device):
    for entry, arguments in calls(name, device):
        for which in set(entry.functions) - {"workspace_size"}:
            one, two = (run(entry, which, arguments) for _ in range(2))
            assert one.arena.tobytes() == two.arena.tobytes()


def test_buffers_only_aligned_to_their_element(name, device):
    """Pointers need no more alignment than their element's."""
    for entry, arguments in calls(name, device):
        for which in set(entry.functions) - {"workspace_size"}:
            one = run(entry, which, arguments)
            two = RawCall(entry, which, **arguments)
            changed = {}
            for b in two.buffers.values():
                # There is room for one more element before the next guard ends.
                two.arena[b.start + b.itemsize : b.end + b.itemsize] = two.arena[b.start : b.end].copy()
                if two.arguments[two.place[b.name]]:
                    changed[b.name] = two.address(b.name) + b.itemsize
            assert two(**changed) == 0, message()
            for output in written(one):
                b = two.buffers[output]
                got = two.arena[b.start + b.itemsize : b.end + b.itemsize].view(two.kind(b))
                same(device, name)(got, one.view(output), f"{which} {arguments}: {output} at a shifted address")
