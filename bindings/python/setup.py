"""Puts the native library into the wheel: the file LOSSKIT_LIBRARY names, or what the repository has built."""

import ctypes
import os
import shutil
import sys
import sysconfig

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = {"darwin": "liblosskit.dylib", "win32": "losskit.dll"}.get(sys.platform, "liblosskit.so")


def library():
    path = os.environ.get("LOSSKIT_LIBRARY") or os.path.join(HERE, "..", "..", "target", "release", NAME)
    if not os.path.isfile(path):
        raise SystemExit(f"losskit: {path} is not a file; build it, or set LOSSKIT_LIBRARY to where it is")
    return os.path.abspath(path)


def version():
    loaded = ctypes.CDLL(library())
    loaded.lk_version.restype = ctypes.c_char_p
    return loaded.lk_version().decode()


class Build(build_py):
    def run(self):
        super().run()
        folder = os.path.join(self.build_lib, "losskit", "lib")
        os.makedirs(folder, exist_ok=True)
        shutil.copy(library(), os.path.join(folder, NAME))


class Wheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False  # it goes where compiled packages go

    def get_tag(self):
        platform = self.plat_name if self.plat_name_supplied else sysconfig.get_platform()
        return "py3", "none", platform.replace("-", "_").replace(".", "_")


setup(version=version(), cmdclass={"build_py": Build, "bdist_wheel": Wheel})
