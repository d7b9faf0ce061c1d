#!/usr/bin/env bash
# Make the environment: a venv with one lock installed and the project itself, editable.
#
#   requirements/install.sh [LOCK]        LOCK: dev (default), cpu, serve or gpu
#
# Settings by environment: VENV (default .venv), PYTHON (default: the first of python3.11, python3,
# python3.12, python3.13 that is new enough), TORCH (a requirement, wheel or URL of a torch to use
# instead of the CPU build that is looked for), UV_COMPILE_BYTECODE (compile while installing, not
# behind this script). Does nothing when the stamp in the venv matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock_name=${1:-dev}
lock=requirements/$lock_name.txt
venv=${VENV:-.venv}
stamp=$venv/.installed
log=$venv/install.log

say() { printf 'env: %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The reason a tool gave, in one line: its last line that speaks of an error, else its last line.
reason() { { grep -iE 'error|cause' "$log" | tail -n 1; tail -n 1 "$log"; } | sed -n '1s/^ *//p'; }

# Run a step silently; when it fails, say so with its reason and how to mend it.
step() { # what, remedy, command...
    local what=$1 remedy=$2 start=$SECONDS
    shift 2
    "$@" >"$log" 2>&1 </dev/null || die "$what failed: $(reason) ($remedy; log: $log)"
    say "$what ($((SECONDS - start)) s)"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11 or newer found; install one, or name it: make env PYTHON=/path/to/python3.11"
}

# Where pip would take a CPU build of torch from (only such a build is versioned +cpu), or nothing.
find_cpu_torch() {
    "$venv/bin/pip" install --quiet --dry-run --ignore-installed --no-deps --report - \
        "torch==$1+cpu" 2>>"$log" </dev/null |
        "$venv/bin/python" -c \
            'import json, sys; print(json.load(sys.stdin)["install"][0]["download_info"]["url"])' \
            2>>"$log" || true
}

install_torch() {
    local version url registry='is the package registry reachable?'
    local -a uv_install=("$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps)
    version=$(pin torch)
    if [[ -n ${TORCH:-} ]]; then
        step "torch from TORCH" "give TORCH a requirement, wheel or URL" "${uv_install[@]}" "$TORCH"
        return
    fi
    url=$(find_cpu_torch "$version")
    if [[ -n $url ]]; then
        step "torch $version, CPU build" "$registry" "${uv_install[@]}" "torch @ $url"
    else
        step "torch $version, CPU build" "no CPU build of torch $version can be reached; \
give one: make env TORCH=path/to/torch.whl" "${uv_install[@]}" --torch-backend cpu "torch==$version"
    fi
}

# Compile what the first commands need, on a core that idles meanwhile: PyTorch's thousands of
# modules, the re-ranker's loops, the rest. It goes on behind this script, and nothing waits for it.
compile_behind() {
    local packages
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # shellcheck disable=SC2016 # the inner shell's variables
    nohup nice -n 19 bash -c '
        "$1" -m compileall -q "$2"/torch "$2"/torchrec
        "$1" -m serving.feed.rerank.warm
        "$1" -m compileall -q "$2"/ray "$2"
    ' behind "$venv/bin/python" "$packages" >/dev/null 2>&1 </dev/null &
}

pin() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" "$lock"; }

[[ -f $lock ]] || die "no lock $lock; there are: $(cd requirements && echo *.txt)"
fingerprint=$(cat "$lock" pyproject.toml requirements/install.sh | sha256sum | cut -d' ' -f1)
fingerprint="$fingerprint $lock_name $PWD ${TORCH:-}"
if [[ -x $venv/bin/python && $(cat "$stamp" 2>/dev/null) == "$fingerprint" ]]; then
    say "$venv is up to date"
    exit 0
fi

rm -f "$stamp"
if [[ ! -x $venv/bin/pip || $(cat "$venv/.place" 2>/dev/null) != "$PWD" ]]; then
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv module; install it (Debian and Ubuntu: apt install python3-venv)"
    rm -rf "$venv"
    mkdir -p "$venv"
    say "making $venv with $("$python" --version) (everything is installed into it, nothing outside)"
    step "venv" "is the disk full?" "$python" -m venv "$venv"
    printf '%s' "$PWD" >"$venv/.place"
fi

# A cache that cannot be written is done without.
cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/uv}
mkdir -p "$cache" 2>/dev/null && [[ -w $cache ]] || export UV_NO_CACHE=1
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-120}

tools=$(sed -n 's/^\(uv\|setuptools\)==\([^ ;]*\).*/\1==\2/p' requirements/dev.txt | xargs)
# shellcheck disable=SC2086 # two words on purpose
step "installer: $tools" "is the package registry reachable?" \
    "$venv/bin/pip" install --quiet --no-deps --disable-pip-version-check $tools
if grep -q '^fbgemm-gpu-cpu==' "$lock"; then
    install_torch
fi
step "$(grep -c '^[a-z].*==' "$lock") packages of $lock" "is the package registry reachable?" \
    "$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps -r "$lock"
step "qianmian itself, editable" "see the log" \
    "$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps --no-build-isolation -e .
[[ -n ${UV_COMPILE_BYTECODE:-} ]] || compile_behind
printf '%s' "$fingerprint" >"$stamp"
say "ready: $venv/bin/qianmian --help"
