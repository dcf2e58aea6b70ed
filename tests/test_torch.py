"""losskit.torch against torch itself. Skipped where torch is not installed."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import losskit.torch  # noqa: E402
from harness.subject import Subject  # noqa: E402
from torch.nn import functional as F  # noqa: E402

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FEATURES = losskit.features()
CONTEXTS = [None] + (["cuda-emulated"] if "cuda-emulation" in FEATURES else [])
CONTEXTS += ["cuda"] if "cuda" in FEATURES and torch.cuda.is_available() else []
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_context = pytest.mark.parametrize("kind", CONTEXTS, ids=str)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    yield
    torch.set_default_device("cpu")


def make(kind):
    """How to ask for a device; tensors that are made afterwards lie there."""
    torch.set_default_device("cuda" if kind == "cuda" else "cpu")
    return {"context": losskit.Context(kind)} if kind == "cuda-emulated" else {}


def generator_of(seed):
    return torch.Generator(device=torch.get_default_device()).manual_seed(seed)


def tensors(*shape, dtype=torch.float32, seed=0, grad=True):
    generator = generator_of(seed)
    return (3 * torch.randn(*shape, generator=generator)).to(dtype).requires_grad_(grad)


def close(got, expected, dtype, scale=None):
    """f32 to rounding, half types to one unit of the type."""
    got, expected = got.detach().double(), expected.detach().double()
    scale = expected.abs() if scale is None else scale
    unit = {torch.float32: 1e-6, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}[dtype]
    assert got.shape == expected.shape
    assert bool(((got - expected).abs() <= unit * scale + 1e-7).all()), (got - expected).abs().max()


@each_context
@each_dtype
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(kind, dtype, reduction, smoothing, weighted):
    place = make(kind)
    z = tensors(17, 33, dtype=dtype)
    y = torch.randint(0, 33, (17,), generator=generator_of(1))
    y[3] = y[9] = -100
    w = (torch.rand(33) * 2).to(dtype) if weighted else None
    loss = losskit.torch.token_cross_entropy(z, y, w, label_smoothing=smoothing, reduction=reduction, **place)
    exact_z = z.detach().double().requires_grad_()
    exact = F.cross_entropy(exact_z, y, None if w is None else w.double(), reduction=reduction, label_smoothing=smoothing)
    assert loss.dtype == torch.float32
    close(loss, exact, torch.float32)
    upstream = torch.rand(loss.shape) + 0.5
    loss.backward(upstream)
    exact.backward(upstream.double())
    assert z.grad.dtype == dtype
    close(z.grad, exact_z.grad, dtype, exact_z.grad.abs().amax(dim=1, keepdim=True))


@each_context
def test_ignore_index(kind):
    place = make(kind)
    z, y = tensors(5, 7), torch.tensor([0, 1, 2, 1, 6])
    loss = losskit.torch.token_cross_entropy(z, y, ignore_index=1, **place)
    close(loss, F.cross_entropy(z.double(), y, ignore_index=1), torch.float32)


@each_context
@each_dtype
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_mse_loss(kind, dtype, reduction):
    place = make(kind)
    a, b = tensors(3, 4, 5, dtype=dtype), tensors(3, 4, 5, dtype=dtype, seed=1)
    loss = losskit.torch.mse_loss(a, b, reduction=reduction, **place)
    exact_a, exact_b = (t.detach().double().requires_grad_() for t in (a, b))
    exact = F.mse_loss(exact_a, exact_b, reduction=reduction)
    close(loss, exact, torch.float32)
    loss.sum().backward()
    exact.sum().backward()
    close(a.grad, exact_a.grad, dtype)
    close(b.grad, exact_b.grad, dtype)


@each_context
@each_dtype
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_bce_with_logits(kind, dtype, reduction, weighted):
    place = make(kind)
    z = tensors(9, 21, dtype=dtype)
    t = torch.rand(9, 21).to(dtype).requires_grad_()
    w, q = ((torch.rand(9, 21) * 2).to(dtype), (torch.rand(21) * 3).to(dtype)) if weighted else (None, None)
    loss = losskit.torch.bce_with_logits(z, t, w, q, reduction=reduction, **place)
    exact_z, exact_t = (x.detach().double().requires_grad_() for x in (z, t))
    exact = F.binary_cross_entropy_with_logits(
        exact_z, exact_t, None if w is None else w.double(), reduction=reduction, pos_weight=None if q is None else q.double()
    )
    close(loss, exact, torch.float32)
    loss.sum().backward()
    exact.sum().backward()
    size = exact_z.grad.abs().max()
    close(z.grad, exact_z.grad, dtype, size)
    close(t.grad, exact_t.grad, dtype, exact_t.grad.abs().max())


@pytest.mark.parametrize("name", list(losskit.entries()))
def test_same_as_numpy(name):
    """Bit for bit, forward and backward; and against differences of the float64-free forward itself."""
    entry = losskit.entries()[name]
    rng = np.random.default_rng(0)
    subject = Subject(name)
    dims = subject.some_dims(rng, {}, 12)
    sizes = entry.values(dims, {})
    inputs = {}
    for source in entry.inputs.values():
        shape = tuple(extent.size(sizes) for extent in source.shape)
        if source.name in subject.samplers:
            drawn = np.asarray(subject.samplers[source.name](rng, shape, "normal", sizes))
            inputs[source.name] = drawn.astype(np.float32) if source.type in ("float", "f32") else drawn
        elif source.type in ("float", "f32"):
            inputs[source.name] = rng.random(shape, dtype=np.float32)
        else:
            inputs[source.name] = rng.integers(0, source.index.size(sizes) if source.index else 2, shape)
            if source.type == "u8":
                inputs[source.name] = inputs[source.name].astype(np.uint8)
    free = {dim: dims[dim] for dim in entry.free_dims}
    expected = getattr(losskit, name)(**inputs, **free)
    given = {k: torch.from_numpy(v.copy()) for k, v in inputs.items()}
    for wanted in entry.differentiable:
        given[wanted].requires_grad_()
    got = getattr(losskit.torch, name)(**given, **free)
    outputs = got if isinstance(got, tuple) else (got,)
    for output, tensor in zip(entry.outputs, outputs):
        assert tensor.detach().numpy().tobytes() == np.asarray(getattr(expected, output)).tobytes()
    if entry.differentiable:
        outputs[0].sum().backward()
        for wanted, gradient in expected.backward().items():
            assert given[wanted].grad.numpy().tobytes() == gradient.tobytes()


def test_gradients_against_differences():
    z, y = tensors(4, 9), torch.tensor([0, 3, 8, 2])
    for name in ("token_cross_entropy", "z_loss", "comp_sum_cross_entropy"):
        function = getattr(losskit.torch, name)
        z.grad = None
        function(z, y, reduction="sum").backward()
        direction = torch.randn(4, 9, generator=generator_of(3))
        step = 2.0**-6
        with torch.no_grad():
            rise = function(z + step * direction, y, reduction="sum") - function(z - step * direction, y, reduction="sum")
        slope = (z.grad * direction).sum()
        assert abs(rise / (2 * step) - slope) < 2e-3 * (1 + abs(slope))


def test_row_stride_without_a_copy():
    wide = tensors(6, 50, grad=False)
    z = wide[:, :37].requires_grad_()
    y = torch.arange(6)
    loss = losskit.torch.token_cross_entropy(z, y)
    loss.backward()
    dense = z.detach().clone().requires_grad_()
    other = losskit.torch.token_cross_entropy(dense, y)
    other.backward()
    assert loss.item() == other.item() and torch.equal(z.grad, dense.grad)
    far = tensors(6, 500, grad=False)[:, ::2].requires_grad_()
    losskit.torch.token_cross_entropy(far, y).backward()
    assert far.grad.shape == far.shape


def test_trains():
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 5)
    optimiser = torch.optim.SGD(model.parameters(), 0.5)
    x = torch.randn(64, 8)
    y = (x @ torch.randn(8, 5)).argmax(dim=1)
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        loss = losskit.torch.token_cross_entropy(model(x), y, label_smoothing=0.05, z_weight=1e-4)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_mistakes():
    z, y = tensors(4, 5), torch.arange(4)
    call = losskit.torch.token_cross_entropy
    with pytest.raises(TypeError, match="logits has dtype torch.float64, expected float32, float16 or bfloat16"):
        call(z.double(), y)
    with pytest.raises(TypeError, match="class_weights has dtype torch.float16, expected torch.float32"):
        call(z, y, torch.ones(5, dtype=torch.float16))
    with pytest.raises(ValueError, match=r"labels has shape \(3,\), expected \(rows,\) = \(4,\)"):
        call(z, y[:3])
    with pytest.raises(TypeError, match="labels has dtype torch.float32, expected an integer type"):
        call(z, y.float())
    with pytest.raises(TypeError, match="Did you mean 'label_smoothing'"):
        call(z, y, label_smothing=0.1)
    with pytest.raises(TypeError, match="missing 1 required argument: 'labels'"):
        call(z)
    with pytest.raises(losskit.Error, match="class_weights requires a gradient"):
        call(z, y, torch.ones(5, requires_grad=True))
    with pytest.raises(losskit.InvalidLabel):
        call(z, y + 3)
    loss = call(z, y)
    with torch.no_grad():
        z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert call(z, y.int()).item() == call(z, y).item()


def test_no_graph_without_gradients():
    z = tensors(4, 5, grad=False)
    assert not losskit.torch.token_cross_entropy(z, torch.arange(4)).requires_grad
    with torch.no_grad():
        assert not losskit.torch.token_cross_entropy(tensors(4, 5), torch.arange(4)).requires_grad


@each_context
def test_an_entry_without_inputs(kind):
    place = make(kind)
    if kind == "cuda":  # no tensor says so
        place["context"] = losskit.Context(kind)
    keep = losskit.torch.nested_dropout_sample(rows=100, channels=16, seed=3, **place)
    assert keep.dtype == torch.int64 and keep.shape == (100,)
    assert keep.tolist() == losskit.nested_dropout_sample(rows=100, channels=16, seed=3).keep.tolist()
    x = tensors(100, 16)
    losskit.torch.nested_dropout(x, keep, **place).sum().backward()
    assert x.grad.sum(dim=1).tolist() == keep.tolist()
