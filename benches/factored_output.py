"""A training step of a large output layer: factored_spherical_output, its state in place, beside the dense layer
with a log-softmax in torch (forward, gradients, SGD update). Both take turns in one process.

    python benches/factored_output.py                       # 793471 classes of width 512, 128 rows: 7 GB
    python benches/factored_output.py --classes 100000
"""

import argparse
import ctypes
import time

import losskit
import torch
from losskit import _library, _registry
from losskit._options import Options

STATE = ("v", "u", "omega", "q", "wsum", "u_inv")


class Factored:
    """The C function on state of its own, every output over its input."""

    def __init__(self, weight, rows, context, kind="spherical", rate=0.1):
        classes, d = weight.shape
        entry = _registry.entry("factored_spherical_output")
        eye = torch.eye(d)
        # Sums by f64, in parts: the weights in f64 would be twice their memory.
        q, wsum = torch.zeros(d, d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
        for part in weight.split(8192):
            part = part.double()
            q += part.T @ part
            wsum += part.sum(0)
        self.state = {"v": weight, "u": eye, "omega": torch.zeros(d), "q": q.float(), "wsum": wsum.float(), "u_inv": eye.clone()}
        self.loss, self.losses = torch.zeros(1), torch.zeros(rows)
        self.grad_hidden, self.condition = torch.zeros(rows, d), torch.zeros(1)
        options = {**{o.name: o.default for o in entry.options.values()}, "kind": kind, "learning_rate": rate}
        self.options, _, self._struct = Options(entry).make(*options.values())
        self.function, self.context = entry.function("forward"), context
        self.names = [p["name"] for p in entry.functions["forward"]["parameters"]]
        self.sizes = {"rows": rows, "classes": classes, "d": d}
        size = ctypes.c_size_t()
        query = entry.function("workspace_size")
        _library.check(query(context._handle, self.options, 0, rows, classes, d, ctypes.addressof(size)))
        self.workspace = torch.empty(size.value, dtype=torch.uint8)

    def __call__(self, hidden, labels):
        given = {"hidden": hidden, "labels": labels, "loss": self.loss, "losses": self.losses, "grad_hidden": self.grad_hidden}
        given |= {"condition": self.condition, "workspace": self.workspace, **self.state}
        given |= {f"{name}_next": tensor for name, tensor in self.state.items()}
        plain = {"ctx": self.context._handle, "opts": self.options, "dtype": 0, "workspace_bytes": self.workspace.nbytes, **self.sizes}
        _library.check(self.function(*(plain[n] if n in plain else given[n].data_ptr() for n in self.names)))


class Dense:
    def __init__(self, weight, rate=0.1):
        self.weight, self.rate = weight.requires_grad_(), rate

    def __call__(self, hidden, labels):
        hidden = hidden.detach().requires_grad_()
        self.weight.grad = None
        loss = torch.nn.functional.cross_entropy(hidden @ self.weight.T, labels)
        loss.backward()
        with torch.no_grad():
            self.weight -= self.rate * self.weight.grad


def timed(call, *arguments):
    wall, processor = time.perf_counter(), time.process_time()
    call(*arguments)
    return time.perf_counter() - wall, time.process_time() - processor


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=793_471)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    weight = torch.empty(chosen.classes, chosen.width).normal_(0, chosen.width**-0.5)
    dense = Dense(weight.clone())
    context = losskit.Context("cpu", num_threads=chosen.threads)
    factored = Factored(weight, chosen.rows, context)
    times = {"factored": [], "dense": []}
    for _ in range(chosen.rounds + 1):
        hidden = torch.empty(chosen.rows, chosen.width).normal_()
        labels = torch.randint(0, chosen.classes, (chosen.rows,))
        # The short one several times: one of them is hard to time.
        steps = [timed(factored, hidden, labels) for _ in range(5)]
        times["factored"].append(min(steps))
        times["dense"].append(timed(dense, hidden, labels))
    best = {}
    for name, pairs in times.items():
        wall, processor = (sorted(values[1:])[len(values) // 2 - 1] for values in zip(*pairs))
        best[name] = min(pairs[1:])[0]
        print(f"{name}: median {1e3 * wall:.2f} ms a step, {1e3 * processor:.2f} ms of processor time; best {1e3 * best[name]:.2f} ms")
    print(f"{best['dense'] / best['factored']:.1f} times faster; loss {factored.loss.item():.5f}, condition {factored.condition.item():.4g}")


if __name__ == "__main__":
    main()
