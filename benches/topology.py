"""Barcodes and Betti matching: against plain Python and gudhi, and how time and memory grow.

    cargo build --release
    source tests/scripts/venv.sh bench && pip install gudhi
    python benches/topology.py [--large]

Best wall-clock time of several calls where they are short, all threads (the peers use one); *bars* per voxel says
how hard an image is. The plain Python peer (support/plain_matching.py) does the same union-finds on lists; gudhi
is CubicalComplex(vertices=-image) with coefficients in Z/2, and its diagram must equal the library's.
"""

import argparse
import pathlib
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benches" / "support"), str(ROOT / "bindings" / "python")]

import losskit  # noqa: E402
import plain_matching  # noqa: E402
from losskit._context import needed_workspace  # noqa: E402

CONTEXT = losskit.Context("cpu")
RNG = np.random.default_rng(0)


def seconds(call):
    """Least time of calls in a second, and the result."""
    best, spent = np.inf, 0
    while spent < 1 and best > spent / 50:
        start = time.perf_counter()
        result = call()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
    return best, result


def smooth(shape, width):
    """Gaussian noise without fine structure."""
    grids = np.meshgrid(*[np.fft.fftfreq(n) for n in shape[:-1]], np.fft.rfftfreq(shape[-1]), indexing="ij")
    kernel = np.exp(-20 * width**2 * sum(k * k for k in grids))
    axes = tuple(range(len(shape)))
    field = np.fft.irfftn(np.fft.rfftn(RNG.standard_normal(shape)) * kernel, shape, axes=axes)
    return (field / field.std()).astype(np.float32)


def segmentations(shape):
    """Pairs as in training, from early to late, and the worst."""
    field = smooth(shape, 2.0)
    target = (field > 0).astype(np.float32)
    noisy = 1 / (1 + np.exp(-2 * field - 0.5 * RNG.standard_normal(shape)))
    yield "noisy prediction, 0/1 target", noisy.astype(np.float32), target
    yield "noise, 0/1 target", RNG.random(shape, np.float32), target
    yield "noise, noise", RNG.random(shape, np.float32), RNG.random(shape, np.float32)


def images(shape):
    yield "noise", RNG.standard_normal(shape).astype(np.float32)
    yield "smooth", smooth(shape, 1.0)


def workspace(name, *dims):
    entry = losskit.entries()[name]
    import ctypes

    options = entry.default_options()
    bytes_ = needed_workspace(entry.function("workspace_size"), CONTEXT._handle, ctypes.addressof(options), 0, dims)
    return bytes_ / 2**20


def matching(shapes):
    print("\nbetti_matching_loss, forward and backward")
    for shape in shapes:
        whole = (1,) * (4 - len(shape)) + shape
        for name, pred, target in segmentations(shape):
            p, t = (np.ascontiguousarray(a).reshape(whole) for a in (pred, target))
            ours, result = seconds(lambda: losskit.betti_matching_loss.forward_backward(p, t, context=CONTEXT))
            line = f"  {' x '.join(map(str, shape)):15} {name:30} {1e3 * ours:9.1f} ms  workspace {workspace('betti_matching_loss', *whole):7.0f} MiB"
            if shape == (256, 256):
                flat = [a.reshape(-1).tolist() for a in (pred, target)]
                plain, (loss, *_) = seconds(lambda: plain_matching.loss_and_gradient(*flat, *shape))
                assert np.isclose(loss, result.loss, rtol=1e-6)
                line += f"  plain Python {1e3 * plain:.0f} ms, {plain / ours:.0f} times as long"
            print(line, flush=True)


def persistence(shapes, peer_voxels):
    print("\ncubical_persistence")
    try:
        import gudhi
    except ImportError:
        gudhi = None
    for shape in shapes:
        whole = (1,) * (3 - len(shape)) + shape
        for name, image in images(shape):
            ours, result = seconds(lambda: losskit.cubical_persistence(image.reshape(whole), context=CONTEXT))
            room = workspace("cubical_persistence", *whole, 2 * image.size)
            line = f"  {' x '.join(map(str, shape)):15} {name:8} {1e3 * ours:9.1f} ms  {result.count / image.size:.3f} bars  workspace {room:7.0f} MiB"
            if gudhi and image.size <= peer_voxels:

                def theirs():
                    complex_ = gudhi.CubicalComplex(vertices=-image)
                    complex_.compute_persistence(homology_coeff_field=2, min_persistence=0)
                    return complex_

                peer, complex_ = seconds(theirs)
                found = []
                for d in range(len(shape)):
                    ends = complex_.persistence_intervals_in_dimension(d).reshape(-1, 2)
                    found += [(d, -b, -e) for b, e in ends if b != e]
                same = sorted(found) == sorted(zip(*(a.tolist() for a in (result.dimensions, result.births, result.deaths))))
                line += f"  gudhi {1e3 * peer:.0f} ms, {peer / ours:.1f} times as long, " + ("same diagram" if same else "OTHER DIAGRAM")
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", action="store_true", help="2048 x 2048 and 128^3 for gudhi too; minutes")
    large = parser.parse_args().large
    matching([(256, 256), (512, 512), (1024, 1024), (2048, 2048), (32,) * 3, (64,) * 3, (128,) * 3])
    persistence([(256, 256), (1024, 1024), (2048, 2048), (32,) * 3, (64,) * 3, (128,) * 3], 1 << (23 if large else 20))


if __name__ == "__main__":
    main()
