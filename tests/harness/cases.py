"""Inputs: shapes, distributions and option values of an entry."""

import itertools
import zlib

import numpy as np

from .compare import F16, F32

#: Around every vector width and unroll, primes, beyond the blocks that rows are read in.
COLUMNS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33, 47, 64, 67, 127, 129, 257, 1023, 1025, 2503, 4099]
ROWS = [3, 1, 5, 2, 7, 4]
#: Enough for several threads, and more elements than one block of any skeleton.
LARGE_1D = 262_147
LARGE_2D = (37, 8209)
DISTRIBUTIONS = ["normal", "heavy", "offset", "constant", "extreme", "tiny"]


def floats(rng, shape, distribution, dtype, within=None):
    """Float input of a distribution, in range for the type and in the interval that its declaration gives."""
    largest = 6e4 if dtype == F16 else 1e30
    if distribution == "normal":
        values = 3 * rng.standard_normal(shape)
    elif distribution == "heavy":
        values = np.clip(3 * rng.standard_t(1.5, shape), -3e4, 3e4)
    elif distribution == "offset":
        values = 1e4 + rng.standard_normal(shape) * 4
    elif distribution == "constant":
        values = np.full(shape, -2.75)
    elif distribution == "extreme":
        values = rng.choice([-largest / 1e2 if dtype == F16 else -500, -88.5, -20, -1e-6, 0, 1e-6, 1, 20, 88.5, 300], shape)
    else:
        values = 1e-5 * rng.standard_normal(shape)
    if within:
        low, high = (float(end) for end in within[1:-1].split(","))
        # Both ends are open as far as values go: a type with few bits must not round onto one.
        low, high = low + 0.01, min(high, largest) - 0.01 * (high < largest)
        values = np.clip(np.abs(values) if low >= 0 else values, low, high)
    return values.astype(np.float32).astype(dtype)


class Case:
    """Inputs and options of one call."""

    def __init__(self, subject, dims, dtype, distribution, options, seed, absent=()):
        self.subject, self.dims, self.dtype = subject, dims, dtype
        self.distribution, self.options, self.seed = distribution, options, seed
        rng = np.random.default_rng(seed)
        self.inputs = {}
        given = [name for name in subject.alternatives if name not in absent]
        absent = [*absent, *given[1:]]
        sizes = subject.entry.values(dims, options)
        for source in subject.entry.inputs.values():
            shape = tuple(extent.size(sizes) for extent in source.shape)
            sampler = subject.samplers.get(source.name)
            if source.name in absent:
                continue
            if source.type in ("float", "f32"):
                kind = dtype if source.type == "float" else F32
                values = sampler(rng, shape, distribution, sizes) if sampler else floats(rng, shape, distribution, kind, source.range)
                self.inputs[source.name] = np.asarray(values).astype(np.float32).astype(kind)
            elif sampler:
                self.inputs[source.name] = np.asarray(sampler(rng, shape, distribution, sizes))
            elif source.index:
                labels = rng.integers(0, max(source.index.size(sizes), 1), shape)
                if source.ignore and labels.size > 1:
                    labels[rng.random(shape) < 0.2] = subject.all_options(options)[source.ignore]
                self.inputs[source.name] = labels
            elif source.type == "u8":
                self.inputs[source.name] = rng.integers(0, 2, shape).astype(np.uint8)
            else:
                self.inputs[source.name] = rng.integers(0, 4, shape)
        self.rng = rng
        self.free = {name: dims[name] for name in subject.entry.free_dims}

    @property
    def arguments(self):
        """Of the Python function."""
        return {**self.inputs, **self.options, **self.free}

    def __repr__(self):
        given = [name for name, i in self.subject.entry.inputs.items() if i.optional and name in self.inputs]
        return (
            f"{self.subject.name} {self.dims} {self.dtype} {self.distribution} {self.options} seed={self.seed}"
            + (f" with {', '.join(given)}" if given else "")
        )


def _seed(*parts):
    return zlib.crc32(repr(parts).encode())


def usual_shapes(subject):
    names = list(subject.entry.dims)
    if len(names) == 1:
        return [{names[0]: n} for n in COLUMNS + [5001, 20_011]]
    shapes = []
    for i, columns in enumerate(COLUMNS):
        sizes = [ROWS[(i + j) % len(ROWS)] for j in range(len(names) - 1)] + [columns]
        shapes.append(dict(zip(names, sizes)))
    return shapes


def option_sets(subject, limit=40):
    """Every value of every option at least once, and every pair of values where there are few."""
    names = list(subject.options)
    sets = [{}]
    sets += [{name: value} for name in names for value in subject.options[name]]
    product = list(itertools.product(*(subject.options[name] for name in names)))
    rng = np.random.default_rng(1)
    if len(product) > limit:
        product = [product[i] for i in rng.choice(len(product), limit, replace=False)]
    sets += [dict(zip(names, values)) for values in product]
    unique = {repr(sorted(s.items(), key=str)): s for s in sets}
    return list(unique.values())


def _reductions(subject):
    option = subject.entry.reduction
    return [{option.name: value} for value in ("none", "mean", "sum")] if option else [{}]


def _absences(subject):
    """Subsets of the optional inputs to leave out."""
    optional = [i.name for i in subject.entry.inputs.values() if i.optional and i.name not in subject.alternatives]
    if subject.alternatives:
        others = [tuple(set(subject.alternatives) - {name}) for name in reversed(subject.alternatives)]
        return [(*o, *a) for a in [(), *((name,) for name in optional)] for o in others]
    if len(optional) <= 3:
        return [c for n in range(len(optional) + 1) for c in itertools.combinations(optional, n)]
    return [tuple(optional), ()] + [(name,) for name in optional]


def possible(cases):
    """Without the cases that the entry's file says make no sense."""
    for case in cases:
        if case.subject.possible(case.dims, case.options):
            yield case


def shape_cases(subject, dtype, every=1):
    """All shapes, with distributions, options and reductions in rotation."""
    return possible(_shape_cases(subject, dtype, every))


def _shape_cases(subject, dtype, every):
    options, reductions, absences = option_sets(subject), _reductions(subject), _absences(subject)
    for i, dims in enumerate((subject.shapes or usual_shapes(subject))[::every]):
        chosen = {**options[(i * 7) % len(options)], **reductions[i % len(reductions)]}
        yield Case(
            subject, dims, dtype, DISTRIBUTIONS[i % len(DISTRIBUTIONS)], chosen, _seed("shape", subject.name, i),
            absences[(i // 2) % len(absences)],
        )
        # And as it is used most.
        yield Case(subject, dims, dtype, "normal", reductions[(i + 1) % len(reductions)], _seed("plain", subject.name, i), absences[-1])


def small_dims(subject):
    sizes = (3, 5, 4, 2, 6, 7)
    if subject.shapes:
        return min(subject.shapes, key=lambda dims: abs(np.prod(list(dims.values())) - 15))
    if len(subject.entry.dims) == 1:
        return {next(iter(subject.entry.dims)): 11}
    return dict(zip(subject.entry.dims, sizes))


def option_cases(subject, dtype):
    """All option values, reductions and distributions on a small shape."""
    return possible(_option_cases(subject, dtype))


def _option_cases(subject, dtype):
    reductions, absences = _reductions(subject), _absences(subject)
    dims = {name: size + 8 if i == len(subject.entry.dims) - 1 else size for i, (name, size) in enumerate(small_dims(subject).items())}
    if subject.shapes:
        dims = small_dims(subject)
    sets = option_sets(subject)
    rounds = max(1, -(-len(DISTRIBUTIONS) * len(reductions) // len(sets)))
    for turn in range(rounds):
        for i, options in enumerate(sets):
            k = i + turn * len(sets)
            yield Case(
                subject, dims, dtype, DISTRIBUTIONS[k % len(DISTRIBUTIONS)],
                {**options, **reductions[(k + k // len(DISTRIBUTIONS)) % len(reductions)]},
                _seed("option", subject.name, k), absences[(k // 3) % len(absences)],
            )


def large_case(subject, dtype, options=None):
    """Enough work for several threads."""
    names = list(subject.entry.dims)
    if subject.shapes:
        dims = max(subject.shapes, key=lambda d: np.prod([float(v) for v in d.values()]))
    elif len(names) == 1:
        dims = {names[0]: LARGE_1D}
    else:
        dims = dict(zip(names, (LARGE_2D[0],) + (2,) * (len(names) - 2) + (LARGE_2D[1],)))
    return Case(subject, dims, dtype, "normal", options or {}, _seed("large", subject.name))
