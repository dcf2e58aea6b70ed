#!/usr/bin/env bash
# Builds and installs losskit into build/prefix, builds this example against it as a program of its own, and
# runs it. Needs Rust, a C++ compiler and Python 3. Options are passed on: --noise 0.2 --seeds 3 ...
set -eu
cd "$(dirname "$0")/../../../.."
source tests/scripts/venv.sh build
here=bindings/cpp/examples/digits

cmake -S . -B build/cmake -G Ninja -DCMAKE_INSTALL_LIBDIR=lib \
  -DLOSSKIT_CARGO_TARGET_DIR="$PWD/target" >/dev/null
cmake --build build/cmake
cmake --install build/cmake --prefix build/prefix >/dev/null

mkdir -p build/digits
cmake -S $here -B build/digits/cmake -G Ninja -DCMAKE_PREFIX_PATH="$PWD/build/prefix" >/dev/null
cmake --build build/digits/cmake
build/digits/cmake/digits $here/digits.csv build/digits "$@"
