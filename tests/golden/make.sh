#!/usr/bin/env bash
# Made the checkpoints in this folder: bash tests/golden/make.sh PATH-OF-NN
# They were written by the version before the manifest got its `Recipe`, and stay as they are: that they still resume is the
# proof that old checkpoints do. Run it again only for a new file format, which gets a folder of its own.
set -euo pipefail
nn=$(realpath "$1")
cd "$(dirname "$0")"
step=step-000000000096.safetensors
while read -r name options; do
  work=$(mktemp -d)
  # Checkpoints are thinned to what the disk keeps up with, so the run is slowed down, and repeated until it has this one.
  until [ -e "$work/runs/digits/checkpoints/$step" ]; do
    # shellcheck disable=SC2086 # the options are words
    (cd "$work" && NN_ISA=portable "$nn" train --quiet --epochs 3 --checkpoint-steps 48 --keep-checkpoints 100 $options)
  done
  cp "$work/runs/digits/checkpoints/$step" "$name.safetensors"
  hashes=$(grep -E -o '"(config_hash|params_sha256)": *"[0-9a-f]+"' "$work/runs/digits/summary.json" | grep -E -o '[0-9a-f]{64}' | xargs)
  echo "$name $hashes $options"
  rm -r "$work"
done <<'RUNS'
default --seed 1
momentum --hidden 12 --optimizer momentum --momentum 0.8 --schedule step --step-epochs 1 --step-factor 0.3 --warmup-steps 7
adamw --hidden 9,7 --activation relu --cost cross-entropy --optimizer adamw --weight-decay 0.02 --schedule cosine --cosine-floor 0.05
nesterov --hidden none --output softmax --cost cross-entropy --optimizer nesterov --batch-size 32 --shard-size 5 --seed 99
adam --hidden 8 --activation tanh --init xavier --optimizer adam --epsilon 1e-7 --beta1 0.85 --l2 0.25 --learning-rate 0.003
RUNS
