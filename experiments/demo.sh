#!/bin/sh
# The whole road on a simulated brain, as a user would type it. `make demo` runs this.
set -eu
BIN=${BIN:-.venv/bin}
PATH="$(cd "$BIN" && pwd):$PATH"
unset NEUROTEACH_DATABASE NEUROTEACH_STORE NEUROTEACH_SCHEMA
export NEUROTEACH_HOME="${DEMO:-$PWD/.demo}/home"
figures="${DEMO:-$PWD/.demo}/figures"
scale=${SCALE:-small}

say() { printf '\n\033[1m%s\033[0m\n' "$1" >&2; }

neuroteach database start
trap 'neuroteach database stop' EXIT

say "1. A simulated scan of visual cortex: no animal was involved in anything below."
neuroteach simulate --name simulated --images 2000
say "2. A task: scikit-learn's handwritten digits at 32 x 32 pixels."
neuroteach import images digits
say "3. An experiment: no teacher, the denoised brain, and its shuffled control."
neuroteach experiment add experiments/demo.toml --scale "$scale"
say "4. Fit the denoiser, make the teachers, train the networks, test them under noise."
neuroteach populate --experiment demo --scale "$scale"

say "Results, read back from the database"
neuroteach results similarity --experiment demo --scale "$scale"
neuroteach results noise --experiment demo --scale "$scale"
mkdir -p "$figures"
neuroteach figure similarity -o "$figures/similarity.png" --experiment demo --scale "$scale"
neuroteach figure noise -o "$figures/noise.png" --experiment demo --scale "$scale"
