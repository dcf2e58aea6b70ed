"""How well losses that claim it withstand wrong labels: trains a network on handwritten digits of which a share has
a wrong label, and measures accuracy on digits with their true labels.

    python noisy_labels.py [--rate 0.4] [--epochs 60] [--seeds 5] [--output FOLDER]

Every method sees the same digits, wrong labels, first weights and batches for a seed. Nothing is tuned by method."""

import argparse
import pathlib
import time

import losskit
import numpy as np
from digits import CLASSES, PIXELS, ROOT, Network, batches, load, pyplot

FEATURES = 64


def uniform_noise(labels, rate, rng):
    """A share of the labels becomes one of the nine others."""
    wrong = rng.random(labels.size) < rate
    return np.where(wrong, (labels + rng.integers(1, CLASSES, labels.size)) % CLASSES, labels)


def pair_noise(labels, rate, rng):
    """A share of the labels becomes the next digit: confusions have a direction."""
    return np.where(rng.random(labels.size) < rate, (labels + 1) % CLASSES, labels)


class Classifier:
    """64-128-64-10; the 64 features may be cut short before the last layer (nested dropout)."""

    def __init__(self, rng, nested=False):
        self.body = Network([PIXELS, 128, FEATURES], rng)
        self.head = Network([FEATURES, CLASSES], rng)
        self.nested, self.keep = nested, FEATURES

    def logits(self, x, keep=None):
        features = np.maximum(self.body.forward(x), 0)
        self.mask = features > 0
        self.dropout = None
        if keep is not None:
            self.dropout = losskit.nested_dropout(features, keep)
            features = self.dropout.output
        return self.head.forward(features)

    def draw(self, rows, step):
        """How many features each sample keeps, in training."""
        if not self.nested:
            return None
        return losskit.nested_dropout_sample(rows=rows, channels=FEATURES, seed=step).keep

    def learn(self, gradient):
        gradient = self.head.backward(gradient)
        if self.dropout is not None:
            gradient = self.dropout.backward(gradient)["features"]
        self.body.backward(gradient * self.mask)

    def predict(self, x):
        keep = np.full(len(x), self.keep) if self.nested else None
        return self.logits(x, keep).argmax(1)

    def choose_keep(self, x, labels):
        """The number of features with the best accuracy on validation digits, whose labels are wrong as well."""
        if not self.nested:
            return
        accuracy = []
        for self.keep in range(1, FEATURES + 1):
            accuracy.append((self.predict(x) == labels).mean())
        self.keep = 1 + int(np.argmax(accuracy))


class Single:
    """One network under one loss of rows of logits."""

    def __init__(self, rng, rate, loss, nested=False, **options):
        self.network, self.loss, self.options = Classifier(rng, nested), loss, options
        self.networks = [self.network]

    def step(self, x, labels, number, epoch):
        logits = self.network.logits(x, self.network.draw(len(x), number))
        self.network.learn(self.loss.forward_backward(logits, labels, **self.options).gradients["logits"])


class CoTeaching:
    """Two networks; each learns from the samples whose loss is small in the other. The share of wrong labels is
    known to it."""

    def __init__(self, rng, rate, nested=False):
        self.networks = [Classifier(rng, nested), Classifier(rng, nested)]
        self.rate = rate

    def step(self, x, labels, number, epoch):
        results = []
        for which, network in enumerate(self.networks):
            logits = network.logits(x, network.draw(len(x), 2 * number + which))
            results.append(losskit.token_cross_entropy(logits, labels, reduction="none"))
        a, b = results
        # More is forgotten as the networks learn to tell right labels from wrong ones.
        forget = self.rate * min(1, epoch / 10)
        chosen = losskit.co_teaching(a.loss, b.loss, forget_rate=forget).backward()
        for network, result, gradient in zip(self.networks, results, (chosen["losses_a"], chosen["losses_b"])):
            network.learn(result.backward(gradient)["logits"])


METHODS = {
    "cross entropy": lambda rng, rate: Single(rng, rate, losskit.token_cross_entropy),
    "comp-sum, tau = 1.7": lambda rng, rate: Single(rng, rate, losskit.comp_sum_cross_entropy, tau=1.7),
    "LDR-KL": lambda rng, rate: Single(rng, rate, losskit.label_distributionally_robust),
    "ALDR-KL": lambda rng, rate: Single(rng, rate, losskit.label_distributionally_robust, adaptive=True),
    "nested dropout": lambda rng, rate: Single(rng, rate, losskit.token_cross_entropy, nested=True),
    "co-teaching": CoTeaching,
    "co-teaching, nested dropout": lambda rng, rate: CoTeaching(rng, rate, nested=True),
}
NOISES = {"uniform": uniform_noise, "pairs": pair_noise}


def train(method, noise, rate, epochs, seed):
    """Accuracy on clean test digits after each epoch, mean over the method's networks."""
    images, digits = load()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    images, digits = images[order], digits[order]
    test, valid = slice(0, 450), slice(450, 650)
    labels = noise(digits, rate, rng)
    x, y = images[650:], labels[650:]
    model = method(np.random.default_rng(seed + 1000), rate)
    curve, number = [], 0
    for epoch in range(epochs):
        for places in batches(rng, len(x), 32):
            model.step(x[places], y[places], number, epoch)
            number += 1
        for network in model.networks:
            network.choose_keep(images[valid], labels[valid])
        right = [(network.predict(images[test]) == digits[test]).mean() for network in model.networks]
        curve.append(100 * np.mean(right))
    return curve


def plot(curves, rate, path):
    figure, axes = pyplot().subplots(1, len(NOISES), figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, (noise, title) in zip(axes, (("uniform", "wrong labels: any other digit"), ("pairs", "wrong labels: the next digit"))):
        for color, name in enumerate(METHODS):
            mean, spread = curves[noise, name].mean(0), curves[noise, name].std(0)
            epochs = np.arange(1, len(mean) + 1)
            axis.plot(epochs, mean, color=f"C{color}", label=name)
            axis.fill_between(epochs, mean - spread, mean + spread, color=f"C{color}", alpha=0.12, linewidth=0)
        axis.set(title=title, xlabel="epoch", xlim=(1, len(mean)), ylim=(50, 100))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on clean test digits, %")
    axes[0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.12, 0.02))
    figure.suptitle(f"Handwritten digits, {100 * rate:.0f} % of the training labels wrong")
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rate", type=float, default=0.4, help="share of wrong labels")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/examples")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    start, curves, lines = time.monotonic(), {}, []
    for noise, corrupt in NOISES.items():
        for name, method in METHODS.items():
            runs = [train(method, corrupt, options.rate, options.epochs, seed) for seed in range(options.seeds)]
            curves[noise, name] = np.array(runs)
            last, mean = curves[noise, name][:, -1], curves[noise, name].mean(0)
            lines.append(f"{noise:<10}{name:<30}{last.mean():5.1f} ± {last.std():4.1f}    {mean.max():5.1f}, epoch {mean.argmax() + 1}")
            print(f"{lines[-1]}    {time.monotonic() - start:4.0f} s", flush=True)
    heading = f"{'noise':<10}{'method':<30}after epoch {options.epochs}   best mean over the epochs"
    (options.output / "noisy_labels.txt").write_text("\n".join([heading, *lines]) + "\n")
    plot(curves, options.rate, options.output / "noisy_labels.svg")
    print(f"\n{heading}\n" + "\n".join(lines))
    print(f"\nTable and plot: {options.output}/noisy_labels.{{txt,svg}}")


if __name__ == "__main__":
    main()
