"""An entry with its test file."""

import importlib.util
import os
from types import SimpleNamespace

import numpy as np

import losskit

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "entries")


class Subject:
    def __init__(self, name):
        self.name = name
        self.entry = losskit.entries()[name]
        path = os.path.join(FOLDER, f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"entries_{name}", path)
        self.file = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.file)
        self.first = next(iter(self.entry.outputs))
        self.options = getattr(self.file, "OPTIONS", {})
        self.samplers = getattr(self.file, "SAMPLERS", {})
        self.shapes = getattr(self.file, "SHAPES", None)
        self.alternatives = getattr(self.file, "ALTERNATIVES", ())
        if self.shapes:
            self.shapes = [self.entry.with_capacities(dims) for dims in self.shapes]
        self.examples = getattr(self.file, "EXAMPLES", [])

    def __repr__(self):
        return self.name

    def possible(self, dims, options):
        """Whether options make sense for a shape."""
        rule = getattr(self.file, "possible", None)
        return rule is None or bool(rule(dims, SimpleNamespace(**self.all_options(options))))

    def some_dims(self, rng, options, largest=9):
        """Dimensions of a small call that is possible."""
        for _ in range(200):
            if self.shapes:
                small = [s for s in self.shapes if max(s.values()) <= 40] or self.shapes
                dims = small[rng.integers(len(small))]
            else:
                dims = {d.name: int(max(rng.integers(1, largest), d.minimum)) for d in self.entry.dims.values()}
                dims = self.entry.with_capacities(dims, options)
            if self.possible(dims, options):
                return dict(dims)
        raise AssertionError(f"{self.name}: found no possible sizes")

    @property
    def tests(self):
        return {name: test for name, test in vars(self.file).items() if name.startswith("test_")}

    @property
    def float_inputs(self):
        return [i for i in self.entry.inputs.values() if i.type in ("float", "f32")]

    def all_options(self, options):
        """Defaults overlaid with `options`."""
        values = {o.name: o.default for o in self.entry.options.values()}
        values.update(options)
        return values

    def reduction(self, options):
        option = self.entry.reduction
        return options.get(option.name, option.default) if option else None

    def exact(self, inputs, precise=False, free=None):
        """Inputs as the reference takes them, with the dimensions that no input has."""
        kind = np.longdouble if precise else np.float64
        made = dict(free or {})
        for source in self.entry.inputs.values():
            value = inputs.get(source.name)
            if value is not None and source.type in ("float", "f32"):
                value = np.asarray(value).astype(kind)
            made[source.name] = value
        return SimpleNamespace(**made)

    def reference(self, x, options):
        """Outputs in the shape the library gives them, and the factor of the mean."""
        o = SimpleNamespace(**self.all_options(options))
        unreduced = self.file.reference(x, o)
        factor = self.factor(x, options, np.asarray(unreduced[self.first]))
        outputs = {}
        for name, value in unreduced.items():
            value = np.asarray(value)
            if self.entry.outputs[name].reduced and self.reduction(options) != "none":
                value = (value * self.weights(x, options)).sum() * factor
                if factor == 0:
                    value = np.zeros_like(value)
            outputs[name] = value
        return outputs

    def factor(self, x, options, loss):
        if self.reduction(options) != "mean":
            return 1.0
        o = SimpleNamespace(**self.all_options(options))
        count = self.file.count(x, o) if hasattr(self.file, "count") else loss.size
        return 1.0 / count if count else 0.0

    def weights(self, x, options):
        """Of the losses in the mean."""
        if self.reduction(options) != "mean" or not hasattr(self.file, "weight"):
            return 1.0
        return self.file.weight(x, SimpleNamespace(**self.all_options(options)))

    def scales(self, x, options, outputs):
        """Magnitudes that errors of outputs are measured against."""
        given = {}
        if hasattr(self.file, "scale"):
            o = SimpleNamespace(**self.all_options(options))
            given = self.file.scale(x, o)
        scales = {}
        for name, value in outputs.items():
            scale = given.get(name)
            if scale is None:
                scale = np.abs(value)
            else:
                scale = np.asarray(scale)
                if self.entry.outputs[name].reduced and self.reduction(options) != "none":
                    loss = scale
                    scale = (scale * self.weights(x, options)).sum() * self.factor(x, options, loss)
            scales[name] = np.maximum(scale, np.abs(value))
        return scales

    def upstream(self, x, options, grad_loss):
        """d objective / d unreduced first output."""
        o = SimpleNamespace(**self.all_options(options))
        loss = np.asarray(self.file.reference(x, o)[self.first])
        s = np.ones(loss.shape, loss.dtype) if grad_loss is None else np.broadcast_to(grad_loss, loss.shape).astype(loss.dtype)
        return s * self.weights(x, options) * self.factor(x, options, loss)

    def gradients(self, x, options, grad_loss):
        """Closed form, or None."""
        if not hasattr(self.file, "gradient"):
            return None
        o = SimpleNamespace(**self.all_options(options))
        return self.file.gradient(x, o, self.upstream(x, options, grad_loss))

    def differences(self, x, options, grad_loss, name, places=None):
        """Central differences of the reference, fourth order, at `places` of input `name` (all by default).
        Returns flat indices and derivatives."""
        value = getattr(x, name)
        places = np.arange(value.size) if places is None else places
        # The mean's divisor does not depend on a differentiable input.
        o = SimpleNamespace(**self.all_options(options))
        s = self.upstream(x, options, grad_loss)
        h = value.dtype.type(1e-4 if np.finfo(value.dtype).eps < 1e-18 else 1e-3)

        def objective(place, distance):
            moved = value.copy()
            moved.reshape(-1)[place] += distance
            moved = SimpleNamespace(**{**vars(x), name: moved})
            if hasattr(self.file, "surrogate"):
                losses = self.file.surrogate(moved, o, x)
            else:
                losses = self.file.reference(moved, o)[self.first]
            return (np.asarray(losses) * s).sum()

        slopes = []
        for place in places:
            near = objective(place, h) - objective(place, -h)
            far = objective(place, 2 * h) - objective(place, -2 * h)
            slopes.append((8 * near - far) / (12 * h))
        return places, np.array(slopes, value.dtype)

    def gradient_scales(self, x, options, grad_loss, gradients):
        """Magnitudes that errors of gradients are measured against."""
        if hasattr(self.file, "gradient_scale"):
            o = SimpleNamespace(**self.all_options(options))
            given = self.file.gradient_scale(x, o, self.upstream(x, options, grad_loss))
            return {name: np.maximum(given[name], np.abs(g)) for name, g in gradients.items()}
        scales = {}
        for name, g in gradients.items():
            g = np.abs(g)
            finite = np.where(np.isfinite(g), g, 0)
            if not self.entry.elementwise and g.ndim > 1 and g.size:
                finite = np.broadcast_to(finite.max(axis=tuple(range(1, g.ndim)), keepdims=True), g.shape)
            scales[name] = finite
        return scales


def subjects():
    """Names of the entries that have a test file."""
    return [name for name in losskit.entries() if os.path.isfile(os.path.join(FOLDER, f"{name}.py"))]
