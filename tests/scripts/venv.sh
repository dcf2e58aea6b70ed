#!/usr/bin/env bash
# Usage: source tests/scripts/venv.sh GROUP...
# Makes build/venv hold the Python packages of tests/scripts/requirements-GROUP.txt and puts it on PATH. With
# the group cuda, LOSSKIT_NVCC is the nvcc of those packages, unless it is set.
losskit_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
losskit_venv=$losskit_root/build/venv
[ -x "$losskit_venv/bin/python" ] || python3 -m venv "$losskit_venv" || return 1
for group in "$@"; do
  wanted=$losskit_root/tests/scripts/requirements-$group.txt
  stamp=$losskit_venv/installed-$group.txt
  if ! cmp -s "$wanted" "$stamp"; then
    echo "installing $group packages into build/venv"
    "$losskit_venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" || return 1
    cp "$wanted" "$stamp"
  fi
  if [ "$group" = cuda ] && [ -z "${LOSSKIT_NVCC:-}" ]; then
    LOSSKIT_NVCC=$(echo "$losskit_venv"/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
    export LOSSKIT_NVCC
  fi
done
export PATH="$losskit_venv/bin:$PATH"
