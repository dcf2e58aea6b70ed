"""Barcodes of images and their induced matching from their definitions: boundary matrices over Z/2, reduced
column by column. For small images; knows nothing of how the library does it."""

import itertools

import numpy as np

ESSENTIAL = -1


class Filtration:
    """Cells by doubled coordinates (z, y, x; odd = extended), in the order in which they enter."""

    def __init__(self, image):
        self.image = image = np.asarray(image)
        flat = image.reshape(-1)
        shape = image.shape
        voxels = sorted(range(flat.size), key=lambda i: (-flat[i], i))
        rank = {voxel: r for r, voxel in enumerate(voxels)}
        cells = []
        for cell in itertools.product(*(range(2 * n - 1) for n in shape)):
            corners = itertools.product(*([c // 2, c // 2 + 1] if c % 2 else [c // 2] for c in cell))
            last = max((int(np.ravel_multi_index(c, shape)) for c in corners), key=rank.get)
            cells.append((rank[last], sum(c % 2 for c in cell), cell, last))
        cells.sort()
        self.cells = [cell for _, _, cell, _ in cells]
        self.place = {cell: i for i, cell in enumerate(self.cells)}
        self.voxel = {cell: last for _, _, cell, last in cells}

    def value(self, cell):
        return self.image.reshape(-1)[self.voxel[cell]]

    @staticmethod
    def dimension(cell):
        return sum(c % 2 for c in cell)

    @staticmethod
    def boundary(cell):
        faces = []
        for axis, c in enumerate(cell):
            if c % 2:
                faces += [cell[:axis] + (c + side,) + cell[axis + 1 :] for side in (-1, 1)]
        return faces


def reduce(columns, rows):
    """Pairs (birth cell, death cell): boundaries in the order of `columns`, pivots latest in `rows`."""
    owner, pairs = {}, []
    for cell in columns.cells:
        column = set(columns.boundary(cell))
        while column:
            pivot = max(column, key=rows.place.get)
            if pivot not in owner:
                owner[pivot] = column
                pairs.append((pivot, cell))
                break
            column = column ^ owner[pivot]
    return pairs


def bars(image):
    """(dimension, birth cell, death cell or None) of one image, and its filtration."""
    f = Filtration(image)
    if not f.cells:
        return [], f
    pairs = reduce(f, f)
    found = [(f.dimension(b), b, d) for b, d in pairs if f.value(b) != f.value(d)]
    paired = {c for pair in pairs for c in pair}
    found += [(f.dimension(c), c, None) for c in f.cells if c not in paired]
    return found, f


def barcode(image):
    """Outputs of cubical_persistence."""
    found, f = bars(image)
    rows = []
    for dimension, birth, death in found:
        voxel = ESSENTIAL if death is None else f.voxel[death]
        rows.append((dimension, -f.value(birth), f.voxel[birth], voxel, -np.inf if death is None else f.value(death)))
    rows.sort()
    return {
        "births": np.array([-r[1] for r in rows], float),
        "deaths": np.array([r[4] for r in rows], float),
        "dimensions": np.array([r[0] for r in rows], np.int64),
        "birth_voxels": np.array([r[2] for r in rows], np.int64),
        "death_voxels": np.array([r[3] for r in rows], np.int64),
        "count": np.array(len(rows)),
    }


def matching(pred, target):
    """Pairs of matched bars ((birth, death) voxels in pred, the same in target; death None for essential ones),
    and the unmatched ones of each."""
    sides = [bars(pred), bars(target)]
    both = Filtration(np.maximum(pred, target))
    matched, left, reached = [], [], []
    for found, f in sides:
        finite = {birth: death for _, birth, death in found if death is not None}
        to = {}
        for birth, death in reduce(both, f):
            if birth in finite and f.value(birth) > both.value(death):
                to[death] = birth
        reached.append(to)
        left.append(finite)
    voxels = lambda side, birth: (sides[side][1].voxel[birth], sides[side][1].voxel[left[side][birth]])  # noqa: E731
    for death, birth in reached[0].items():
        if death in reached[1]:
            other = reached[1][death]
            matched.append((voxels(0, birth), voxels(1, other)))
            del left[0][birth], left[1][other]
    unmatched = [[voxels(side, birth) for birth in left[side]] for side in (0, 1)]
    essential = [[(f.voxel[b], None) for _, b, d in found if d is None] for found, f in sides]
    matched += list(zip(*essential))
    return matched, unmatched
