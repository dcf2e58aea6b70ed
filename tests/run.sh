#!/usr/bin/env bash
# Builds losskit and runs every test. Needs Rust, a C++ compiler, Python 3 with venv, and the package
# registries crates.io and PyPI. Everything it makes is in build/ and target/; logs are in build/tests.
# The last line is the sum: "N passed, 0 failed". The exit status is 0 if nothing failed.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

work=build/tests
kernels="--features cuda,cuda-emulation --target-dir target/cuda" # apart, so that neither build undoes the other
bytes_per_entry=100000
passed=0 failed=0 skipped=0 began=$SECONDS summary=()

section() {
  title=$1 start=$SECONDS
  printf '\n==== %s\n\n' "$title"
}

record() { # PASSED FAILED SKIPPED
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
  summary+=("$(printf '%-58s %5d passed %3d failed %3d skipped %5d s' "$title" "$1" "$2" "$3" $((SECONDS - start)))")
}

finish() {
  printf '\n==== Summary\n\n'
  printf '%s\n' "${summary[@]}"
  printf '\n%d skipped, %d s in all\n%d passed, %d failed\n' "$skipped" $((SECONDS - began)) "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}

# One check. The command says itself what is wrong.
check() { # TITLE COMMAND...
  section "$1"
  shift
  if "$@"; then record 1 0 0; else record 0 1 0; fi
}

# A step that everything after it needs.
need() { # TITLE COMMAND...
  local before=$failed
  check "$@"
  [ "$failed" -eq "$before" ] || finish
}

# Sum of "N WORD" in the result lines of a log: those of cargo, and the last line of the others.
count() { # LOG WORD
  { grep '^test result:' "$1" || tail -n 1 "$1"; } |
    grep -oE "[0-9]+ $2" | awk '{ n += $1 } END { print n + 0 }'
}

# A command that counts its own tests. One that ends badly, or has run nothing, has failed.
suite() { # TITLE LOG COMMAND...
  local log=$work/$2.log good bad status=0
  section "$1"
  shift 2
  "$@" 2>&1 | tee "$log" || status=1
  good=$(count "$log" passed)
  bad=$(($(count "$log" failed) + $(count "$log" error)))
  if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$good" -eq 0 ]; }; then bad=1; fi
  record "$good" "$bad" "$(($(count "$log" skipped) + $(count "$log" ignored)))"
}

tools() {
  local missing=0 tool
  for tool in cargo python3 "${CC:-cc}" "${CXX:-c++}" nm strip; do
    command -v "$tool" >/dev/null || { echo "$tool was not found" && missing=1; }
  done
  [ "$missing" -eq 0 ] && cargo --version && "${CXX:-c++}" --version | head -n 1 && python3 --version
}

packages() { source tests/scripts/venv.sh build cuda test; }

cpu_build() { cargo build --release --locked; }

kernel_build() { cargo build --release --locked --lib $kernels; }

# The machinery's own tests, which no entry takes part in: a build of one is made much sooner than one of all.
rust_tests() {
  LOSSKIT_ENTRIES=token_cross_entropy cargo test --release --locked --lib --features cuda-emulation --target-dir target/cuda
}

size() {
  local bytes entries=(src/losses/*/*.toml)
  local max_bytes=$((bytes_per_entry * ${#entries[@]}))
  strip -o "$work/liblosskit.so" target/release/liblosskit.so || return 1
  bytes=$(stat -c %s "$work/liblosskit.so")
  echo "liblosskit.so for the CPU has $bytes bytes when stripped; the limit is $max_bytes."
  [ "$bytes" -lt "$max_bytes" ]
}

inlined() { # LIBRARY
  local left
  left=$(nm -C "$1" | grep core_arch | grep -v '::xsave::_xgetbv')
  if [ -z "$left" ]; then
    echo "All SIMD intrinsics in $1 are inlined."
    return 0
  fi
  echo "$left"
  echo "These SIMD intrinsics are functions of their own in $1. Something that calls them is not"
  echo "#[inline(always)] (a closure, as a rule), so it was compiled without the instruction set it is for: the"
  echo "results are right, and the code may be 50 times slower. See the head of src/cpu/simd/mod.rs."
  return 1
}

python_tests() { # LIBRARY TEST...
  local library=$PWD/$1
  shift
  LOSSKIT_LIBRARY=$library python -m pytest -q -rs --numprocesses auto --dist worksteal "$@"
}

# As on a processor without AVX2.
without_simd() { LOSSKIT_ISA=scalar python_tests "$1" tests/test_entries.py -k "cpu-threads-1 and not test_large"; }

mkdir -p "$work" || exit 1
need "Tools" tools
need "Python packages" packages
need "Library for the CPU" cpu_build
check "Size of the library" size
check "SIMD code of the library" inlined target/release/liblosskit.so
suite "Installing, C and C++ programs, digits example" consumers bash tests/consumers/run.sh
check "Examples in Python" bash bindings/python/examples/run.sh --quick
suite "Python on the library for the CPU" python-cpu python_tests target/release/liblosskit.so \
  tests/test_library.py tests/test_python.py tests/test_readme.py
suite "Python, every entry without SIMD" python-scalar without_simd target/release/liblosskit.so
need "Library with CUDA kernels and emulated device" kernel_build
check "SIMD code of the library with kernels" inlined target/cuda/release/liblosskit.so
suite "Rust" rust rust_tests
suite "Python, every entry on every device, bad calls" python python_tests target/cuda/release/liblosskit.so tests
finish
