"""Times on a machine that does other things too: contestants take turns."""

import concurrent.futures
import ctypes
import math
import os
import time

import torch

#: Calls shorter than this are repeated within one sample.
_SAMPLE = 0.01
#: Calls shorter than this have threads awake and memory mapped before they are timed.
_WARM = 1.0
#: Between looks at whether the threads of the last contestant are asleep.
_PAUSE = 0.002


def processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def settle():
    """Lets the threads of the last contestant go to sleep: torch's spin for some milliseconds, and would hold up the
    next."""
    for _ in range(20):
        start = time.process_time()
        time.sleep(_PAUSE)
        if time.process_time() - start < _PAUSE / 4:
            break


def take_turns(contestants, rounds, budget):
    """Seconds per call, as a list of samples for each of `contestants` (functions by name). One that would need
    more than `budget` seconds for its samples gets fewer, but three."""
    plan = {}
    for name, call in contestants.items():
        call()
        start = time.perf_counter()
        call()
        once = max(time.perf_counter() - start, 1e-7)
        repeats = max(1, math.ceil(_SAMPLE / once))
        plan[name] = repeats, once < _WARM, max(min(3, rounds), min(rounds, int(min(budget / (repeats * once), rounds))))
    samples = {name: [] for name in contestants}
    for turn in range(rounds):
        for name, call in contestants.items():
            repeats, warms, count = plan[name]
            if turn * count // rounds == (turn + 1) * count // rounds:
                continue
            settle()
            if warms:
                call()
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            samples[name].append((time.perf_counter() - start) / repeats)
    return samples


class Others:
    """How many processors the programs beside this one, and other guests of the machine, keep busy."""

    def __init__(self):
        self._start = self._now()

    @staticmethod
    def _now():
        own = sum(os.times()[:4])
        try:
            with open("/proc/stat") as file:
                user, nice, system, _, _, interrupts, soft, stolen = map(int, file.readline().split()[1:9])
        except OSError:
            return time.perf_counter(), own, None
        busy = user + nice + system + interrupts + soft + stolen
        return time.perf_counter(), own, busy / os.sysconf("SC_CLK_TCK")

    def share(self):
        """Since this was made; None where the system does not tell."""
        (then, own_then, busy_then), (now, own, busy) = self._start, self._now()
        return None if busy is None else max(0.0, (busy - busy_then - (own - own_then)) / (now - then))


def wait_until_quiet(limit):
    """Waits until others leave the processors alone, for `limit` seconds at most."""
    start = time.perf_counter()
    while time.perf_counter() - start < limit:
        others = Others()
        time.sleep(0.5)
        if (others.share() or 0) < 0.1:
            break


class Copy:
    """Copies that move `bytes_` bytes, reading half and writing half. The best of them is what the machine can
    do with as much memory."""

    def __init__(self, bytes_):
        self._half = half = max(64, bytes_ // 2)
        self._from, self._to = torch.ones(half, dtype=torch.uint8), torch.ones(half, dtype=torch.uint8)
        self._pool = concurrent.futures.ThreadPoolExecutor(processors())
        share = -(-half // processors() // 64) * 64
        self._parts = [(at, min(share, half - at)) for at in range(0, half, share)]

    def _move(self, part):
        at, size = part
        ctypes.memmove(self._to.data_ptr() + at, self._from.data_ptr() + at, size)

    def one_thread(self):
        self._move((0, self._half))

    def by_threads(self):
        list(self._pool.map(self._move, self._parts))

    def by_torch(self):
        self._to.copy_(self._from)


def _status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def extra_memory(call, expected=0):
    """Bytes of memory in use at most during a call, beyond those before it and `expected` new ones; None where
    the system does not tell."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = _status("VmRSS")
        call()
        return max(0, _status("VmHWM") - before - expected)
    except (OSError, StopIteration):
        return None
