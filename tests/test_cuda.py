"""A real CUDA device, which the emulation cannot speak for: streams, graphs, sizes. Skipped without one, or without
torch for CUDA, which holds the memory here."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import losskit.torch  # noqa: E402
from harness.cases import Case, small_dims  # noqa: E402
from harness.compare import F32  # noqa: E402
from harness.subject import Subject  # noqa: E402

if "cuda" not in losskit.features() or not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

NAMES = [name for name, entry in losskit.entries().items() if "cuda" in entry.devices]
each_entry = pytest.mark.parametrize("name", NAMES)


class Call:
    """An entry on tensors of the device, forward and backward."""

    def __init__(self, name):
        subject = Subject(name)
        self.entry, self.function = subject.entry, getattr(losskit.torch, name)
        self.case = Case(subject, small_dims(subject), F32, "normal", {}, 5)
        self.inputs = {key: torch.from_numpy(np.array(value)).cuda() for key, value in self.case.inputs.items()}
        for wanted in self.entry.differentiable:
            if wanted in self.inputs:
                self.inputs[wanted].requires_grad_()

    def __call__(self):
        outputs = self.function(**self.inputs, **self.case.free)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [self.inputs[name] for name in self.entry.differentiable if name in self.inputs]
        gradients = torch.autograd.grad(outputs[0].sum(), wanted) if wanted else ()
        return [tensor.detach() for tensor in (*outputs, *gradients)]


def same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two):
        assert a.dtype == b.dtype and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


@each_entry
def test_same_from_run_to_run_and_on_other_streams(name):
    call = Call(name)
    first = call()
    same(first, call())
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        other = call()
    torch.cuda.synchronize()
    same(first, other)


@each_entry
def test_captured_into_a_graph(name):
    """A call that allocated device memory or waited would break the capture. The graph computes on what the inputs
    are when it runs."""
    call = Call(name)
    if not call.inputs:
        pytest.skip("nothing to change")
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        expected = [tensor.clone() for tensor in call()]
    torch.cuda.synchronize()
    kept = {key: tensor.detach().clone() for key, tensor in call.inputs.items()}
    with torch.no_grad():
        for tensor in call.inputs.values():
            tensor.zero_()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        captured = call()
    with torch.no_grad():
        for key, tensor in call.inputs.items():
            tensor.copy_(kept[key])
    torch.cuda.synchronize()
    graph.replay()
    torch.cuda.synchronize()
    same(captured, expected)


def test_more_than_2_32_elements():
    """Every row is one of eight, so that a few tell of all."""
    rows, classes = 134_400, 32_000
    if torch.cuda.get_device_properties(0).total_memory < 40 << 30:
        pytest.skip("needs 40 GiB of device memory")
    few = 3 * torch.randn(8, classes, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    few = few.half().requires_grad_()
    labels = torch.arange(8, device="cuda") * 4000 + 17
    expected = losskit.torch.token_cross_entropy(few, labels, reduction="none")
    (gradient,) = torch.autograd.grad(expected.sum(), few)
    logits = few.detach().repeat(rows // 8, 1).requires_grad_()
    assert logits.numel() > 2**32
    loss = losskit.torch.token_cross_entropy(logits, labels.repeat(rows // 8), reduction="none")
    (found,) = torch.autograd.grad(loss.sum(), logits)
    assert bool((loss.view(-1, 8) == expected).all())
    assert bool((found.view(-1, 8, classes) == gradient).all())


def test_more_than_2_32_pairs():
    n = (1 << 32) + 4099
    if torch.cuda.get_device_properties(0).total_memory < 60 << 30:
        pytest.skip("needs 60 GiB of device memory")
    pred = torch.ones(n, dtype=torch.float16, device="cuda")
    pred[-3:] = 3
    pred.requires_grad_()
    loss = losskit.torch.mse_loss(pred, torch.zeros_like(pred), reduction="sum")
    loss.backward()
    assert loss.item() == float(np.float32(n + 24))
    assert pred.grad[:5].tolist() == [2] * 5 and pred.grad[-5:].tolist() == [2, 2, 6, 6, 6]
