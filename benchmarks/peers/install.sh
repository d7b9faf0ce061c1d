#!/usr/bin/env bash
# Make the peers' environment: their packages alone in var/peers, put before the project's own
# packages when a peer runs. Does nothing when the list there is the one here.
#
#   benchmarks/peers/install.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=${VENV:-.venv}
list=benchmarks/peers/requirements.txt
cmp -s "$list" var/peers/requirements.txt && exit 0
rm -rf var/peers
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --target var/peers -r "$list"
cp "$list" var/peers/requirements.txt
echo "peers: ready in var/peers"
