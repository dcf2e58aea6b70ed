"""What the correctness-aware loss does for calibration: a network learns handwritten digits, then a calibrator
learns a temperature for each image from other digits, and confidences are judged on a third part, as it is and
disturbed as the calibrator has never seen it.

    python calibration.py [--seeds 10] [--output FOLDER]

Four ways are compared: the network's own confidence; one temperature for all (Guo et al. 2017); a calibrator
trained with cross entropy; the same calibrator trained with the correctness-aware loss (Liu et al. 2024)."""

import argparse
import pathlib

import losskit
import numpy as np
from digits import CLASSES, PIXELS, ROOT, Network, batches, load, pyplot

TRAIN = 300  # digits for the network
COPIES = 4  # of each digit for the calibrator, with noise of their own
TOP = 4  # probabilities of each view that the calibrator sees


def shifted(images, rows, columns):
    grid = np.zeros((len(images), 8, 8), np.float32)
    source = images.reshape(-1, 8, 8)
    grid[:, max(rows, 0) : 8 + min(rows, 0), max(columns, 0) : 8 + min(columns, 0)] = source[
        :, max(-rows, 0) : 8 + min(-rows, 0), max(-columns, 0) : 8 + min(-columns, 0)
    ]
    return grid.reshape(-1, PIXELS)


VIEWS = [lambda x: shifted(x, 1, 0), lambda x: shifted(x, -1, 0), lambda x: shifted(x, 0, 1), lambda x: shifted(x, 0, -1)]


def noisy(images, rng):
    """Each image with noise of a strength of its own: what the calibrator learns from, and is tested on."""
    strength = rng.uniform(0, 0.5, (len(images), 1))
    return np.clip(images + strength * rng.standard_normal(images.shape), 0, 1).astype(np.float32)


def disturbances(rng):
    """Kinds of images that neither the network nor the calibrator has been trained on."""
    return {
        "missing pixels": lambda x: x * (rng.random(x.shape) > 0.3),
        "low contrast": lambda x: 0.25 + 0.35 * x,
        "inverted corner": lambda x: np.where((np.arange(PIXELS) % 8 < 4) & (np.arange(PIXELS) < 32), 1 - x, x),
    }


def softmax(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


class Calibrator:
    """Temperature of an image from the largest probabilities of it and of its shifted copies, as the paper has it:
    a wrong prediction is rarely kept when the image moves a little."""

    def __init__(self, rng, inputs):
        self.network = Network([inputs, 32, 1], rng, rate=3e-3, decay=1e-3)
        self.network.parameters[-2] *= 0.1

    def temperatures(self, features):
        self.raw = self.network.forward(features)[:, 0]
        return np.logaddexp(0, self.raw) + np.float32(0.05)

    def learn(self, gradient):
        slope = gradient / (1 + np.exp(-self.raw))
        self.network.backward(slope[:, None].astype(np.float32))


def features_of(network, images):
    """Logits, and the probabilities of the most likely classes in each view, in the order of the image itself."""
    logits = network.forward(images)
    top = np.argsort(-logits, 1, kind="stable")[:, :TOP]
    seen = [np.take_along_axis(softmax(network.forward(v(images)) if v else logits), top, 1) for v in [None, *VIEWS]]
    return logits, np.concatenate(seen, 1).astype(np.float32)


def correctness_aware(logits, temperatures, labels):
    """Loss, and its gradient with respect to the temperatures."""
    result = losskit.correctness_aware_calibration.forward_backward(logits, temperatures, labels, wanted=("temperatures",))
    return result.loss, result.gradients["temperatures"]


def cross_entropy(logits, temperatures, labels):
    scaled = logits / temperatures[:, None]
    result = losskit.token_cross_entropy.forward_backward(scaled, labels)
    return result.loss, -(result.gradients["logits"] * scaled).sum(1) / temperatures


def fit_calibrator(loss, logits, features, labels, seed, epochs=100):
    """Trained on three quarters; the epoch kept is the one with the least of the same loss on the last quarter."""
    rng = np.random.default_rng(seed)
    calibrator = Calibrator(rng, features.shape[1])
    count, best, kept = len(labels) * 3 // 4, np.inf, None
    for _ in range(epochs):
        for places in batches(rng, count, 64):
            temperatures = calibrator.temperatures(features[places])
            calibrator.learn(loss(logits[places], temperatures, labels[places])[1])
        value = loss(logits[count:], calibrator.temperatures(features[count:]), labels[count:])[0]
        if value < best:
            best, kept = value, [p.copy() for p in calibrator.network.parameters]
    calibrator.network.parameters = kept
    return calibrator


def one_temperature(logits, labels):
    """That of least cross entropy, to 1 % of it."""
    candidates = np.exp(np.arange(-2, 3, 0.01)).astype(np.float32)
    losses = [losskit.token_cross_entropy(logits / t, labels).loss for t in candidates]
    return candidates[int(np.argmin(losses))]


def judge(logits, temperatures, labels):
    """Confidence and correctness of each sample, from the library's own entry."""
    result = losskit.correctness_aware_calibration(logits, np.broadcast_to(np.float32(temperatures), len(labels)).copy(), labels)
    return result.confidence, result.correct


def run(seed):
    """{(kind of test, method): (confidence, correct)}"""
    images, digits = load()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    images, digits = images[order], digits[order]
    train, fit, test = slice(0, TRAIN), slice(TRAIN, 1000), slice(1000, None)
    network = Network([PIXELS, 128, 64, CLASSES], rng)
    for _ in range(100):
        for places in batches(rng, TRAIN, 32):
            logits = network.forward(images[train][places])
            network.backward(losskit.token_cross_entropy.forward_backward(logits, digits[train][places]).gradients["logits"])
    shown, answers = np.tile(images[fit], (COPIES, 1)), np.tile(digits[fit], COPIES)
    by_image = np.arange(len(shown)).reshape(COPIES, -1).T.ravel()  # the last quarter has images of its own
    logits, features = features_of(network, noisy(shown[by_image], rng))
    answers = answers[by_image]
    methods = {"network": None, "one temperature": one_temperature(logits, answers)}
    for name, loss in (("calibrator, cross entropy", cross_entropy), ("calibrator, correctness-aware", correctness_aware)):
        methods[name] = fit_calibrator(loss, logits, features, answers, seed)
    results = {}
    for kind, change in {"clean": lambda x: x, "noise": lambda x: noisy(x, rng), **disturbances(rng)}.items():
        logits, features = features_of(network, change(images[test]).astype(np.float32))
        for name, method in methods.items():
            temperatures = method.temperatures(features) if isinstance(method, Calibrator) else method or 1
            results[kind, name] = judge(logits, temperatures, digits[test])
    return results


def measures(confidence, correct):
    """In percent: calibration error, mean square of confidence - correctness, how well confidence ranks right
    predictions above wrong ones."""
    error = losskit.expected_calibration_error(confidence, correct).value
    brier = np.mean((confidence - correct) ** 2)
    both = 0 < correct.sum() < correct.size
    ranking = losskit.roc_auc(confidence, correct).value if both else np.nan
    return 100 * np.array([error, brier, ranking])


def plot(rows, pooled, path):
    kinds, methods = list(dict.fromkeys(k for k, _ in rows)), list(dict.fromkeys(m for _, m in rows))
    figure, axes = pyplot().subplots(1, 2, figsize=(12, 4.4), width_ratios=(1.7, 1), layout="constrained")
    width = 0.8 / len(methods)
    for color, name in enumerate(methods):
        errors = np.array([rows[kind, name][:, 0] for kind in kinds])
        x = np.arange(len(kinds)) + (color - (len(methods) - 1) / 2) * width
        axes[0].bar(x, errors.mean(1), width, yerr=errors.std(1), color=f"C{color}", label=name, error_kw={"lw": 0.8})
        confidence, correct = pooled[name]
        edges = np.linspace(0, 1, 11)
        bins = np.clip(np.digitize(confidence, edges) - 1, 0, 9)
        usable = [b for b in range(10) if (bins == b).sum() >= 50]
        axes[1].plot(
            [confidence[bins == b].mean() for b in usable],
            [correct[bins == b].mean() for b in usable],
            "o-", color=f"C{color}", label=name, ms=4,
        )
    axes[0].set_xticks(np.arange(len(kinds)), kinds)
    axes[0].set(ylabel="expected calibration error, %", title="By kind of test image (mean and deviation over splits)")
    axes[0].legend(fontsize=8)
    axes[0].grid(axis="y", alpha=0.3)
    axes[1].plot([0, 1], [0, 1], "k:", lw=1)
    axes[1].set(xlabel="confidence", ylabel="accuracy", title="All disturbed images", xlim=(0, 1), ylim=(0, 1))
    axes[1].grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/examples")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in range(options.seeds):
        runs.append(run(seed))
        print(f"split {seed + 1} of {options.seeds}", flush=True)
    rows = {key: np.array([measures(*results[key]) for results in runs]) for key in runs[0]}
    lines = [f"{'test images':<18}{'confidence of':<32}accuracy   calibration error   square error   AUC"]
    for (kind, name), values in rows.items():
        accuracy = 100 * np.mean([results[kind, name][1].mean() for results in runs])
        (error, brier, auc), spread = np.nanmean(values, 0), values[:, 0].std()
        lines.append(f"{kind:<18}{name:<32}{accuracy:6.1f} %   {error:6.1f} ± {spread:3.1f} %     {brier:7.2f} %     {auc:6.1f} %")
    pooled = {}
    for name in dict.fromkeys(m for _, m in rows):
        parts = [results[k, name] for results in runs for k, m in results if m == name and k not in ("clean", "noise")]
        pooled[name] = tuple(np.concatenate([part[i] for part in parts]) for i in (0, 1))
    (options.output / "calibration.txt").write_text("\n".join(lines) + "\n")
    plot(rows, pooled, options.output / "calibration.svg")
    print("\n" + "\n".join(lines))
    print(f"\nTable and plot: {options.output}/calibration.{{txt,svg}}")


if __name__ == "__main__":
    main()
