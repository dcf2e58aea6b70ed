#!/usr/bin/env bash
# Installs losskit with cargo and with CMake, compares the two trees, and builds and runs programs against
# the installed tree, after moving it. Everything happens in build/consumers.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
source tests/scripts/venv.sh build || exit 1
export CC=${CC:-cc} CXX=${CXX:-c++}
strict="-Wall -Wextra -pedantic -Werror"
here=tests/consumers
work=build/consumers
target=${CARGO_TARGET_DIR:-$root/target}
rm -rf "$work" && mkdir -p "$work/bin" || exit 1
passed=0 failed=0

check() {
  local name=$1
  shift
  if "$@" >"$work/log.txt" 2>&1; then
    echo "ok      $name"
    passed=$((passed + 1))
  else
    echo "FAILED  $name"
    sed 's/^/        /' "$work/log.txt" | tail -40
    failed=$((failed + 1))
  fi
}
fails() { ! "$@"; }
both() { "$1" && "$2"; }

cargo_install() {
  CARGO_TARGET_DIR=$target cargo run --release --locked --bin losskit-install -- --prefix "$work/cargo-prefix"
}
# The build says so where a committed header is not what the declarations give.
headers_as_declared() { ! cargo_install 2>&1 | grep 'out of date'; }
cmake_install() {
  cmake -S . -B "$work/cmake" -G Ninja -DCMAKE_INSTALL_LIBDIR=lib -DLOSSKIT_CARGO_TARGET_DIR="$target" &&
    cmake --build "$work/cmake" && cmake --install "$work/cmake" --prefix "$work/cmake-prefix"
}
# File by file: kind, permissions, name, where a link points, contents.
tree() {
  (cd "$1" && find . -mindepth 1 -printf '%y %m %p %l\n' | sort && find . -type f -exec sha256sum {} + | sort -k 2)
}
same_trees() { diff <(tree "$work/cargo-prefix") <(tree "$work/cmake-prefix"); }
no_machine_paths() { ! grep -rIl -e "$root" "$prefix/include" "$prefix/lib/cmake" "$prefix/lib/pkgconfig"; }

alone() { # HEADER COMPILER OPTION...
  local header=$1
  shift
  echo "#include <$header>" | "$@" $strict -I "$prefix/include" -fsyntax-only -
}
c_program() { # PACKAGE NAME
  $CC -std=c99 $strict -o "$work/bin/$2" "$here/c99/consumer.c" $(pkg-config --cflags --libs "$1") -lm &&
    LD_LIBRARY_PATH=$prefix/lib "$work/bin/$2"
}
cmake_program() { # SOURCE NAME OPTION...
  local source=$1 name=$2
  shift 2
  cmake -S "$here/$source" -B "$work/$name" -G Ninja "$@" && cmake --build "$work/$name"
}
needs_library() { readelf -d "$1" | grep -q 'liblosskit.so.0'; }

check "cargo: losskit-install" cargo_install
check "the committed headers are as declared" headers_as_declared
check "cargo: a wrong argument is refused" fails "$target/release/losskit-install" --prefx x
check "cmake: build and install" cmake_install
check "both give the same tree" same_trees
# What follows sees a tree that was moved: nothing in it may depend on where it was installed.
mv "$work/cargo-prefix" "$work/moved" && prefix=$root/$work/moved && rm -rf "$work/cmake-prefix"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
check "the installed files name no path of this machine" no_machine_paths

check "losskit.h alone, C99" alone losskit.h "$CC" -std=c99 -x c
check "losskit.h alone, C++11" alone losskit.h "$CXX" -std=c++11 -x c++
check "losskit.hpp alone, C++17" alone losskit.hpp "$CXX" -std=c++17 -x c++
check "losskit.hpp alone, C++20" alone losskit.hpp "$CXX" -std=c++20 -x c++
check "losskit.hpp alone, C++17 without exceptions" alone losskit.hpp "$CXX" -std=c++17 -fno-exceptions -x c++

check "C99 program, pkg-config, shared" c_program losskit c-shared
check "C99 program, pkg-config, static" c_program losskit-static c-static
check "the static program needs no liblosskit.so" fails needs_library "$work/bin/c-static"
check "the shared program needs liblosskit.so.0" needs_library "$work/bin/c-shared"

check "C++17 program, find_package" cmake_program cpp17 cpp17 -DCMAKE_PREFIX_PATH="$prefix"
check "  runs, shared" "$work/cpp17/with_shared"
check "  runs, static" "$work/cpp17/with_static"
check "  the static one needs no liblosskit.so" fails needs_library "$work/cpp17/with_static"
check "find_package refuses another version" fails cmake -S "$here/cpp17/version" -B "$work/version" -G Ninja \
  -DCMAKE_PREFIX_PATH="$prefix"
check "C++17 program, add_subdirectory" cmake_program subdirectory subdirectory \
  -DLOSSKIT_CARGO_TARGET_DIR="$target"
check "  runs, shared and static" both "$work/subdirectory/with_shared" "$work/subdirectory/with_static"

check "the digits example builds" cmake_program ../../bindings/cpp/examples/digits digits \
  -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_FLAGS=-Werror
check "  runs" "$work/digits/digits" bindings/cpp/examples/digits/digits.csv "$work/digits" --epochs 2 --seeds 1

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
