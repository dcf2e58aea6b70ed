"""Handwritten digits, and a small network in numpy that learns them. What the training makes of the logits is the
affair of losskit: a network gets the gradient at its output and passes it on."""

import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
PIXELS, CLASSES = 64, 10


def load():
    """Images [1797, 64] in [0, 1] and which digit each is. For source and licence see ../../cpp/examples/digits."""
    table = np.loadtxt(ROOT / "bindings/cpp/examples/digits/digits.csv", delimiter=",", dtype=np.int64)
    return (table[:, :PIXELS] / 16).astype(np.float32), table[:, PIXELS]


class Network:
    """Layers of ReLU units and one of logits, trained with Adam."""

    def __init__(self, widths, rng, rate=1e-3, decay=0.0):
        self.parameters, self.rate, self.decay, self.steps = [], rate, decay, 0
        for inputs, outputs in zip(widths, widths[1:]):
            scale = np.sqrt(2 / inputs)
            self.parameters.append((scale * rng.standard_normal((inputs, outputs))).astype(np.float32))
            self.parameters.append(np.zeros(outputs, np.float32))
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self.parameters]

    def forward(self, x):
        """What the last layer gives; keeps what backward needs."""
        self.values = [x]
        for k in range(0, len(self.parameters), 2):
            if k:
                x = np.maximum(x, 0)
                self.values.append(x)
            x = x @ self.parameters[k] + self.parameters[k + 1]
        return x

    def backward(self, gradient):
        """One step of Adam, from the gradient at what forward gave; returns the gradient at its input."""
        gradients = []
        for k in reversed(range(0, len(self.parameters), 2)):
            value = self.values[k // 2]
            gradients += [gradient.sum(0), value.T @ gradient]
            gradient = gradient @ self.parameters[k].T
            if k:
                gradient *= value > 0
        self.steps += 1
        for p, (first, second), g in zip(self.parameters, self.moments, reversed(gradients)):
            first += 0.1 * (g - first)
            second += 0.001 * (g * g - second)
            size = np.sqrt(second / (1 - 0.999**self.steps)) + 1e-8
            p -= self.rate * (first / (1 - 0.9**self.steps) / size + self.decay * p)
        return gradient


def batches(rng, count, size):
    """Places of the samples of each batch, in random order."""
    order = rng.permutation(count)
    return [order[start : start + size] for start in range(0, count, size)]


def pyplot():
    """matplotlib's, for plots as SVG that are the same in every run."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "losskit"})
    import matplotlib.pyplot

    return matplotlib.pyplot
