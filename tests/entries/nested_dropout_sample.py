"""nested_dropout_sample: numbers of channels from Philox."""

import numpy as np

from harness.linear import draws


def reference(x, o):
    u = (draws(o.seed, o.offset, x.rows).astype(np.float64) + 0.5) / 2.0**32
    k = u * x.channels if o.distribution == "uniform" else np.log(u) / np.log1p(-o.rate)
    return {"keep": np.minimum(1 + np.floor(k), x.channels).astype(np.int64)}


OPTIONS = {
    "distribution": ["uniform", "geometric"],
    "rate": [0.1, 0.9, 1e-3],
    "seed": [0, 7, 2**64 - 3],
    "offset": [0, 2**32 - 1, 2**64 - 2],
}
SHAPES = [{"rows": rows, "channels": channels} for rows, channels in ((1, 1), (2, 7), (3, 512), (4, 2), (5, 100), (127, 64), (129, 2048), (1025, 33), (50_003, 768))]

EXAMPLES = [
    {
        "inputs": {},
        "dims": {"rows": 4, "channels": 8},
        # The words are 6627e8d5, e169c58d, bc57ac4c, 9b00dbd8.
        "outputs": {"keep": [4, 8, 6, 5]},
    }
]


def test_words_of_the_example(call):
    assert [hex(int(w)) for w in draws(0, 0, 4)] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


def test_distributions(call):
    """Frequencies within five standard deviations."""
    n, channels = 100_000, 10
    keep = call(rows=n, channels=channels, seed=3).keep
    assert np.abs(np.bincount(keep, minlength=11)[1:] - n / 10).max() < 5 * np.sqrt(n / 10)
    keep = call(rows=n, channels=channels, seed=3, distribution="geometric", rate=0.3).keep
    p = 0.3 * 0.7 ** np.arange(10)
    p[-1] = 0.7**9
    assert (np.abs(np.bincount(keep, minlength=11)[1:] - n * p) < 5 * np.sqrt(n * p)).all()


def test_many_channels_and_small_rates(call):
    keep = call(rows=100, channels=2**62, seed=1).keep
    assert (keep > 0).all() and (keep <= 2**62).all() and len(set(keep.tolist())) == 100
    assert (call(rows=9, channels=5, distribution="geometric", rate=1e-300).keep == 5).all()
