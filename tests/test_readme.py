"""README.md: its programs run and print what they say they print; its table of entries is the library's."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import losskit

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "scripts"))
import entry_table  # noqa: E402

with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
    README = file.read()


def programs(language):
    """Blocks of code that say what they print, and that."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [(block, said) for block in blocks if (said := re.findall(r"(?://|#) prints (.*)$", block, re.MULTILINE))]


@pytest.mark.parametrize("code, said", programs("c"))
def test_c(code, said, tmp_path):
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not shutil.which(compiler[0]):
        pytest.skip(f"{compiler[0]} was not found")
    (tmp_path / "program.c").write_text(code)
    (tmp_path / "liblosskit.so.0").symlink_to(losskit.library_path())
    command = [*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}/include", "-o", "program", "program.c"]
    command += [losskit.library_path(), f"-Wl,-rpath,{tmp_path}"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([tmp_path / "program"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.splitlines()) == (0, said)


@pytest.mark.parametrize("code, said", programs("python"))
def test_python(code, said):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LOSSKIT_LIBRARY": losskit.library_path()}
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.splitlines()) == (0, said), ran.stderr


def test_there_are_programs():
    assert programs("c") and programs("python")


def test_table_of_entries():
    assert entry_table.split(README)[1] == entry_table.table(), "run: python tests/scripts/entry_table.py --update"


def test_links():
    """Files of the repository that README.md points to are there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert os.path.exists(os.path.join(ROOT, target)), target
