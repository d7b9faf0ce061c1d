#!/usr/bin/env bash
# Make the peers' environment: their packages alone in var/peers, put before the project's own
# packages when a peer runs. Does nothing when the list there is the one here; one at a time, and
# what is there stays until the new one is whole.
#
#   benchmarks/peers/install.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=${VENV:-.venv}
list=benchmarks/peers/requirements.txt
mkdir -p var
exec 9>var/peers.lock
flock 9
cmp -s "$list" var/peers/requirements.txt && exit 0
rm -rf var/peers.new
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --target var/peers.new -r "$list"
cp "$list" var/peers.new/requirements.txt
rm -rf var/peers
mv var/peers.new var/peers
echo "peers: ready in var/peers"
