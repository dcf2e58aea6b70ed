#!/usr/bin/env bash
# Builds losskit and runs both examples with it: tables and plots are left in build/examples. Needs Rust, a C
# compiler and Python 3; a few minutes. --quick only shows that they run.
set -eu
cd "$(dirname "$0")/../../.."
source tests/scripts/venv.sh test example
cargo build --release --locked
export LOSSKIT_LIBRARY=$PWD/target/release/liblosskit.so PYTHONPATH=$PWD/bindings/python
# Matrices this small gain nothing from threads.
export OPENBLAS_NUM_THREADS=1
noisy=() calibration=()
if [ "${1:-}" = --quick ]; then
  noisy=(--epochs 2 --seeds 1 --output build/examples/quick) calibration=(--seeds 1 --output build/examples/quick)
fi
python bindings/python/examples/noisy_labels.py "${noisy[@]}"
python bindings/python/examples/calibration.py "${calibration[@]}"
