"""Where figures come from."""

import datetime
import os
import platform

import losskit
import torch
from losskit import _library

from .timing import processors

#: Processors that other programs may use during a case; torch's times suffer beyond.
DISTURBED = 0.15


def _first(path, key):
    try:
        with open(path) as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith(key))
    except (OSError, StopIteration):
        return None


def _caches():
    folder = "/sys/devices/system/cpu/cpu0/cache"
    sizes = {}
    for index in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        try:
            level, size = (open(f"{folder}/{index}/{name}").read().strip() for name in ("level", "size"))
        except OSError:
            continue
        sizes[f"L{level}"] = size
    return ", ".join(f"{level} {size}" for level, size in sizes.items() if level != "L1")


def instructions():
    """The widest vectors that the library uses here."""
    flags = set((_first("/proc/cpuinfo", "flags") or "").split())
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "AVX-512"
    return "AVX2" if {"avx2", "fma", "f16c"} <= flags else None


def describe():
    memory = _first("/proc/meminfo", "MemTotal")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "processors": processors(),
        "instructions": instructions(),
        "caches": _caches(),
        "memory_gib": round(int(memory.split()[0]) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "losskit": losskit.__version__ if hasattr(losskit, "__version__") else _library.version().decode(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def sentence(machine):
    caches = f" ({machine['caches']})" if machine["caches"] else ""
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    vectors = f" with {machine['instructions']}" if machine["instructions"] else ""
    return (
        f"{machine['processor']}{vectors}{caches}, {machine['processors']} processors{memory}, {machine['system']}; losskit "
        f"{machine['losskit']}, torch {machine['torch']}; {machine['date']}"
    )
