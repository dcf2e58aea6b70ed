"""The library as a whole: registry, version, header, contexts, errors, large sizes."""

import ctypes
import glob
import mmap
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import losskit
from losskit import _library, _registry

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADER = os.path.join(ROOT, "include", "losskit.h")
KINDS = {"loss", "regulariser", "regularizer", "estimator", "metric", "operator", "sampler"}


def header():
    with open(HEADER, encoding="utf-8") as file:
        return file.read()


def test_version():
    text = header()
    numbers = [re.search(rf"#define LK_VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    assert losskit.version() == ".".join(numbers) == _registry.REGISTRY["version"] == losskit.__version__
    assert f'#define LK_VERSION_STRING "{losskit.version()}"' in text


def test_header_is_what_the_build_makes():
    built = glob.glob(os.path.join(ROOT, "target", "release", "build", "losskit-*", "out", "include", "losskit.h"))
    if not built:
        pytest.skip("no build folder")
    with open(max(built, key=os.path.getmtime), encoding="utf-8") as file:
        assert file.read() == header(), "build with LOSSKIT_UPDATE_HEADER=1 and commit include/losskit.h"


def test_header_has_every_function():
    text = header()
    for entry in losskit.entries().values():
        for function in entry.functions.values():
            declaration = re.search(rf"lk_status {function['symbol']}\(([^;]*)\);", text)
            names = [re.search(r"(\w+)$", part.strip())[1] for part in declaration[1].split(",")]
            assert names == [p["name"] for p in function["parameters"]]


def test_status_names_and_values():
    values = dict(re.findall(r"#define (LK_STATUS_\w+) (\d+)", header()))
    assert len(values) == 8
    for name, value in values.items():
        text = _library.status_string(int(value)).decode()
        assert text.replace(" ", "_").lower() in name.lower() or text in ("ok", "CUDA error", "internal error")
    assert _library.status_string(-5) and _library.status_string(12345)


def test_registry_makes_sense():
    names = list(losskit.entries())
    assert names and len(set(names)) == len(names)
    for entry in losskit.entries().values():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", entry.name)
        assert entry.kind in KINDS, entry.name
        assert entry.summary and not entry.summary.endswith(".") and entry.paper and entry.doc
        assert entry.outputs and entry.dims
        assert set(entry.devices) <= {"cpu", "cuda"} and "cpu" in entry.devices
        everything = [*entry.dims, *entry.inputs, *entry.options, *entry.outputs]
        inputs_and_options = [*entry.inputs, *entry.options]
        assert len(set(inputs_and_options)) == len(inputs_and_options), entry.name
        for name in everything:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{entry.name}: {name}"
        for name in inputs_and_options:
            assert name not in ("context", "grad_loss", "wanted"), f"{entry.name}: {name} is a name of the bindings"
        for part in [*entry.dims.values(), *entry.inputs.values(), *entry.options.values(), *entry.outputs.values()]:
            assert part.doc, f"{entry.name}: {part.name} has no documentation"
        assert ("backward" in entry.functions) == bool(entry.differentiable)


def test_every_entry_can_be_built_alone():
    """LOSSKIT_ENTRIES leaves out the files of all others."""
    declarations = glob.glob(os.path.join(ROOT, "src", "losses", "*", "*.toml"))
    names = {os.path.basename(path)[: -len(".toml")] for path in declarations}
    files = glob.glob(os.path.join(ROOT, "src", "losses", "*", "**", "*.rs"), recursive=True)
    assert names and files
    for path in files:
        own = set(path[: -len(".rs")].split(os.sep))
        with open(path, encoding="utf-8") as file:
            used = set(re.findall(r"\b(?:super|losses(?:::\w+)?)::(\w+)", file.read()))
        assert not (used & names) - own, path


def test_options_structs():
    """The layout that the bindings derive is the library's, and the defaults are those of the declaration."""
    for entry in losskit.entries().values():
        struct = entry.default_options()
        assert struct.struct_size == ctypes.sizeof(struct), entry.name
        for raw in _registry.ENTRIES[entry.name]["options"]:
            if raw["default"] is not None:
                assert entry.options[raw["name"]].default == raw["default"], f"{entry.name}: {raw['name']}"


def test_every_function_is_documented():
    for name in losskit.entries():
        function = getattr(losskit, name)
        for text in ("Args:", "Returns:", "Raises:", "Example::", "Source:"):
            assert text in function.__doc__, f"{name}: {text}"
        assert max(map(len, function.__doc__.splitlines())) <= 125, name
        assert "NULL" not in function.__doc__, name
        assert name in dir(losskit) and name in losskit.__all__


def test_examples_of_the_documentation_run():
    import doctest

    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failed = []
    for name in losskit.entries():
        for test in finder.find(getattr(losskit, name), name, module=False, globs={}):
            assert test.examples
            if runner.run(test).failed:
                failed.append(name)
    assert not failed


# Contexts


def test_contexts():
    with pytest.raises(ValueError, match="expected 'cpu', 'cuda' or 'cuda-emulated'"):
        losskit.Context("gpu")
    with pytest.raises(losskit.InvalidOption, match="num_threads"):
        losskit.Context("cpu", num_threads=100_000)
    with losskit.Context("cpu", num_threads=3) as context:
        context.check()
        with pytest.raises(losskit.InvalidArgument, match="CPU context"):
            context.set_stream(1)
    context.close()
    if "cuda" not in losskit.features() and "cuda-emulation" not in losskit.features():
        with pytest.raises(losskit.Unsupported, match="built without CUDA"):
            losskit.Context("cuda")


def test_context_functions_refuse_null():
    options = _library.ContextOptions()
    _library.context_options_init(ctypes.addressof(options))
    _library.context_options_init(0)
    assert options.struct_size == ctypes.sizeof(options)
    assert _library.context_create(0, 0) == 1 and b"'ctx'" in _library.last_error_message()
    assert _library.context_check(0) == 1 and b"'ctx'" in _library.last_error_message()
    assert _library.context_set_stream(0, 0) == 1 and b"'ctx'" in _library.last_error_message()
    _library.context_destroy(0)
    handle = ctypes.c_void_p(77)
    for size in (0, 3, 1 << 20):
        options.struct_size = size
        assert _library.context_create(ctypes.addressof(handle), ctypes.addressof(options)) == 2
        assert b"struct_size" in _library.last_error_message()
    assert handle.value == 77, "a failed call wrote its output"
    room = np.zeros(64, np.uint8)
    room[0] = 40
    assert _library.context_create(ctypes.addressof(handle), room.ctypes.data) == 0, "zero bytes of a later version"
    _library.context_destroy(handle)
    room[30] = 1
    assert _library.context_create(ctypes.addressof(handle), room.ctypes.data) == 2


def sample(rows=300, classes=1000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, classes), dtype=np.float32), rng.integers(0, classes, rows)


def test_many_contexts_do_not_leak_threads():
    z, y = sample()
    expected = losskit.token_cross_entropy(z, y).loss
    for _ in range(30):
        with losskit.Context("cpu", num_threads=4) as context:
            assert losskit.token_cross_entropy(z, y, context=context).loss == expected
    if os.path.isdir("/proc/self/task"):
        names = []
        for task in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{task}/comm") as file:
                    names.append(file.read())
            except OSError:
                pass
        assert sum(name.startswith("losskit") for name in names) <= 40


def test_a_context_is_shared_by_threads():
    context = losskit.Context("cpu", num_threads=2)
    problems = [sample(200 + 10 * i, 500, i) for i in range(6)]
    expected = [losskit.token_cross_entropy.forward_backward(z, y, context=context) for z, y in problems]
    failures = []

    def work(i):
        z, y = problems[i]
        for _ in range(20):
            got = losskit.token_cross_entropy.forward_backward(z, y, context=context)
            same = got.gradients["logits"].tobytes() == expected[i].gradients["logits"].tobytes()
            if got.loss != expected[i].loss or not same:
                failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(problems))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures


def test_error_messages_belong_to_their_thread():
    z, y = sample(4, 5)
    barrier = threading.Barrier(4)
    failures = []

    def work(i):
        for _ in range(200):
            barrier.wait()
            try:
                losskit.z_loss(z, y, a=-1.0 - i)
            except losskit.InvalidOption as error:
                if f"option 'a' is {-1 - i}," not in str(error):
                    failures.append((i, str(error)))
            else:
                failures.append((i, "accepted"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures


def test_a_good_call_keeps_the_last_message():
    z, y = sample(4, 5)
    with pytest.raises(losskit.InvalidOption):
        losskit.z_loss(z, y, a=-1.0)
    told = _library.last_error_message()
    losskit.z_loss(z, y)
    assert _library.last_error_message() == told != b""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("used", [False, True])
def test_a_forked_child_computes(used):
    """With a context that has threads, which the child does not inherit."""
    context = losskit.Context("cpu", num_threads=3)
    z, y = sample()
    expected = losskit.token_cross_entropy(z, y, context=losskit.Context("cpu", num_threads=1)).loss
    if used:
        assert losskit.token_cross_entropy(z, y, context=context).loss == expected
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if losskit.token_cross_entropy(z, y, context=context).loss == expected else 2
            context.close()
        finally:
            os._exit(code)
    for _ in range(300):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    assert losskit.token_cross_entropy(z, y, context=context).loss == expected


SCRIPT = """
import hashlib, numpy, losskit
rng = numpy.random.default_rng(0)
digest = hashlib.sha256()
for shape in ((700, 1000), (3, 50257), (5000, 17)):
    z, y = rng.standard_normal(shape, dtype=numpy.float32), rng.integers(0, shape[1], shape[0])
    for context in (losskit.Context("cpu", num_threads=n) for n in (1, 2, 5)):
        r = losskit.token_cross_entropy.forward_backward(z, y, label_smoothing=0.1, context=context)
        m = losskit.mse_loss.forward_backward(z, z[::-1], context=context)
        digest.update(r.loss.tobytes() + r.gradients["logits"].tobytes() + m.loss.tobytes() + m.gradients["pred"].tobytes())
print(digest.hexdigest())
"""


def test_same_bits_in_every_process():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LOSSKIT_LIBRARY": losskit.library_path()}
    runs = [subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True) for _ in range(3)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert len({run.stdout for run in runs}) == 1


def test_library_not_found(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LOSSKIT_LIBRARY": str(tmp_path / "no.so")}
    done = subprocess.run([sys.executable, "-c", "import losskit"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "ImportError: losskit: LOSSKIT_LIBRARY is" in done.stderr
    (tmp_path / "no.so").write_text("not a library")
    done = subprocess.run([sys.executable, "-c", "import losskit"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "not a losskit library that can be loaded" in done.stderr


# Sizes past 2^32


def zeros(count, dtype):
    """Zeros that take address space, but memory only where they are written."""
    size = count * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), dtype)


@pytest.mark.long
def test_more_than_2_32_elements_in_rows():
    classes = 1 << 17
    rows = (1 << 15) + 3
    z = zeros(rows * classes, np.float16).reshape(rows, classes)
    assert z.size > 2**32
    y = np.full(rows, classes - 1)
    y[0] = -100
    result = losskit.token_cross_entropy(z, y, reduction="none")
    assert result.loss[0] == 0 and np.allclose(result.loss[1:], np.log(classes), rtol=1e-6)


@pytest.mark.long
def test_more_than_2_32_classes_in_a_row():
    classes = 2**32 + 1000
    z = zeros(classes, np.float16).reshape(1, classes)
    z[0, classes - 2] = 3
    loss = losskit.token_cross_entropy(z, [classes - 2]).loss
    assert np.isclose(loss, np.log(classes - 1 + np.exp(3.0)) - 3, rtol=1e-6)


@pytest.mark.long
def test_rows_beyond_2_32_elements_by_their_stride():
    stride, classes, rows = 2**31 + 8, 100, 4
    room = zeros((rows - 1) * stride + classes, np.float32)
    z = np.lib.stride_tricks.as_strided(room, (rows, classes), (stride * 4, 4))
    dense = sample(rows, classes)[0]
    z[:] = dense
    y = np.arange(rows)
    for entry in (losskit.token_cross_entropy, losskit.z_loss, losskit.comp_sum_cross_entropy):
        one, two = entry(z, y, reduction="none"), entry(dense, y, reduction="none")
        assert one.loss.tobytes() == two.loss.tobytes()
        assert one.backward()["logits"].tobytes() == two.backward()["logits"].tobytes()


@pytest.mark.long
def test_more_than_2_32_elements():
    n = 2**32 + 77
    pred, target = zeros(n, np.float16), zeros(n, np.float16)
    pred[-1] = 3
    assert losskit.mse_loss(pred, target, reduction="sum").loss == 9
