"""Betti matching of planes in plain Python: the union-finds that the library does, on lists. A peer for
`topology.py`, and a reference for images too large for boundary matrices."""

NEIGHBOURS = 4


class Order:
    """Voxels by falling value and rising index; `rank` has a border of `outside` around the image."""

    def __init__(self, values, height, width):
        self.height, self.width, self.pitch = height, width, width + 1
        n = height * width
        order = sorted(range(n), key=lambda i: -values[i])
        first = self.pitch + 1
        where = [first + (i // width) * self.pitch + i % width for i in range(n)]
        self.outside = n
        self.rank = rank = [n] * (first + height * self.pitch + self.pitch + 1)
        self.voxel, self.at = order, [where[i] for i in order]
        for r, p in enumerate(self.at):
            rank[p] = r
        self.value = [values[i] for i in order]


def find(parent, x):
    while parent[x] != x:
        parent[x] = x = parent[parent[x]]
    return x


def components(order, merged):
    """`merged(elder, younger, last)` for every edge that joins components."""
    rank, parent, pitch = order.rank, list(range(len(order.at))), order.pitch
    for last, p in enumerate(order.at):
        own = last
        for q in (p - pitch, p - 1, p + 1, p + pitch):
            other = rank[q]
            if other < last:
                other = find(parent, other)
                if other != own:
                    elder, younger = (own, other) if own < other else (other, own)
                    parent[younger] = elder
                    own = elder
                    merged(elder, younger, last)


def squares(order):
    """Rank of the last voxel of each square, by its upper left position."""
    rank, pitch = order.rank, order.pitch
    last = [max(rank[m], rank[m + 1], rank[m + pitch], rank[m + pitch + 1]) for m in range(len(rank) - pitch - 1)]
    return last + [order.outside] * (pitch + 2)


def loops(order, last, merged):
    """`merged(elder, younger, rank)` for every edge, from the last on, that joins squares or the outside."""
    rank, pitch, outside = order.rank, order.pitch, order.outside
    out = len(last) - 1
    parent = [m if last[m] != outside else out for m in range(len(last))]
    at = order.at
    for r in range(len(at) - 1, -1, -1):
        p = at[r]
        for q, base, back in ((p + pitch, p, 1), (p + 1, p, pitch), (p - 1, p - 1, pitch), (p - pitch, p - pitch, 1)):
            if rank[q] < r:
                a, b = find(parent, base), find(parent, base - back)
                if a != b:
                    if (last[a], a) < (last[b], b):
                        a, b = b, a
                    parent[b] = a
                    merged(a, b, r)


def loss_and_gradient(pred, target, height, width):
    """Of one plane, from flat lists."""
    l, g = Order(pred, height, width), Order(target, height, width)
    both = Order([max(a, b) for a, b in zip(pred, target)], height, width)
    gradient = [0.0] * len(pred)
    loss = (l.value[0] - g.value[0]) ** 2
    gradient[l.voxel[0]] += 2 * (l.value[0] - g.value[0])
    matched, unmatched = 1, 0

    def match(of_l, of_g):
        nonlocal loss, matched
        matched += 1
        for a, b in zip(of_l, of_g):
            d = l.value[a] - g.value[b]
            loss += d * d
            gradient[l.voxel[a]] += 2 * d

    def leave(order, bar):
        nonlocal loss, unmatched
        unmatched += 1
        d = order.value[bar[0]] - order.value[bar[1]]
        loss += d * d / 2
        if order is l:
            gradient[l.voxel[bar[0]]] += d
            gradient[l.voxel[bar[1]]] -= d

    deaths = []
    for order in (l, g):
        of_births = {}

        def died(elder, younger, last, value=order.value, of_births=of_births):
            if value[younger] != value[last]:
                of_births[younger] = last

        components(order, died)
        deaths.append(of_births)
    eldest_l, eldest_g = ([order.rank[p] for p in both.at] for order in (l, g))

    def joined(elder, younger, last):
        births = []
        for eldest in (eldest_l, eldest_g):
            a, b = eldest[elder], eldest[younger]
            eldest[elder] = min(a, b)
            births.append(max(a, b))
        value = both.value[last]
        if births[0] in deaths[0] and births[1] in deaths[1] and l.value[births[0]] > value and g.value[births[1]] > value:
            match((births[0], deaths[0].pop(births[0])), (births[1], deaths[1].pop(births[1])))

    components(both, joined)
    for order, of_births in zip((l, g), deaths):
        for bar in of_births.items():
            leave(order, bar)

    last_both, waiting = squares(both), {}
    for order in (l, g):
        last, latest = squares(order), list(range(len(last_both)))

        def joined(elder, younger, rank, order=order, last=last, latest=latest):
            stays, dies = latest[elder], latest[younger]
            if (last_both[stays], stays) < (last_both[dies], dies):
                stays, dies = dies, stays
            latest[elder] = stays
            bar = (rank, last[younger])
            if order.value[bar[0]] == order.value[bar[1]]:
                return
            if not order.value[rank] > both.value[last_both[dies]]:
                leave(order, bar)
            elif order is l:
                waiting[dies] = bar
            elif dies in waiting:
                match(waiting.pop(dies), bar)
            else:
                leave(order, bar)

        loops(order, last, joined)
    for bar in waiting.values():
        leave(l, bar)
    return loss, gradient, matched, unmatched
