"""Times and memory on a CUDA device."""

import math

import torch

#: Calls shorter than this are repeated within one sample.
_SAMPLE = 2.0
#: A sample has so many calls at most: a queue of launches that is full would be timed instead.
_CALLS = 200


def _milliseconds(call, repeats):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def take_turns(contestants, rounds, budget):
    """Milliseconds per call, as a list of samples for each of `contestants` (functions by name), between two events
    on the stream. One that would need more than `budget` milliseconds gets fewer samples, but three."""
    plan = {}
    for name, call in contestants.items():
        call()
        once = max(_milliseconds(call, 3), 1e-3)
        repeats = max(1, min(_CALLS, math.ceil(_SAMPLE / once)))
        plan[name] = repeats, max(min(3, rounds), min(rounds, int(budget / (repeats * once))))
    samples = {name: [] for name in contestants}
    for turn in range(rounds):
        for name, call in contestants.items():
            repeats, count = plan[name]
            if turn * count // rounds != (turn + 1) * count // rounds:
                call()
                samples[name].append(_milliseconds(call, repeats))
    return samples


class Copy:
    """A copy within the device's memory that moves `bytes_` bytes, reading half and writing half."""

    def __init__(self, bytes_):
        half = max(64, bytes_ // 2)
        self._from, self._to = (torch.ones(half, dtype=torch.uint8) for _ in range(2))

    def __call__(self):
        self._to.copy_(self._from)


def extra_memory(call, expected=0):
    """Bytes that torch allocates at most during a call, beyond those before it and `expected` new ones."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return max(0, torch.cuda.max_memory_allocated() - before - expected)


def sentence(losskit_version, date):
    properties = torch.cuda.get_device_properties(0)
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    return f"{properties.name}, {memory}; losskit {losskit_version}, torch {torch.__version__}; {date}"
