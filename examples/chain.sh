#!/usr/bin/env bash
# examples/chain.sh [BIN] [OUT]: one adapter through three trainings, each going on from the one before.
#   1. continued pre-training: the small model of examples/data reads a few dozen stories
#   2. supervised fine-tuning: it learns to answer
#   3. preference training (DPO): it learns which end of a story is liked, held to what stage 2 made of it
# Every stage trains the same tensors (--expect-trainable), its loss must fall, and its run.json names the run before:
# inspect --verify-run follows the chain. BIN: folder of the programs (build/release/bin). OUT: build/chain.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
bin=${1:-build/release/bin} out=${2:-build/chain}
[[ $bin == /* || -x $bin/finetune ]] || bin=$here/$bin
[[ $out == /* ]] || out=$PWD/$out
data=examples/data template=examples/data/story-chat.jinja
common=(--model "$data/stories260K" --quiet --overwrite --expect-trainable 46240)

stage() {    # NAME, then the options of the run
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    "$bin/finetune" "${common[@]}" --output "$out/$name" "$@" | grep -E '^(adapter |group |proof|saved|reference)' || true
    [[ -f $out/$name/run.json ]] || { echo "chain: $name did not end" >&2; exit 1; }
}
stage 1-pretraining --task text --data $data/stories.jsonl --rank 8 --epochs 6 --batch 4 --lr 3e-3
stage 2-answers --adapter "$out/1-pretraining" --data $data/conversations.jsonl --template $template --epochs 12 --batch 8 \
    --lr 5e-3
stage 3-preference --adapter "$out/2-answers" --task dpo --reference start --data $data/story-pairs.jsonl --epochs 3 \
    --batch 4 --lr 5e-4

printf '\n== The chain\n'
field() { sed -n "s/.*\"$2\": \([^,]*\).*/\1/p" <<<"$1"; }
for name in 1-pretraining 2-answers 3-preference; do
    first=$(field "$(head -n 1 "$out/$name/metrics.jsonl")" loss) last=$(field "$(tail -n 1 "$out/$name/metrics.jsonl")" loss)
    printf '%-14s loss %.4f to %.4f\n' "$name" "$first" "$last"
    awk -v a="$first" -v b="$last" 'BEGIN { exit !(b < a) }' || { echo "chain: the loss of $name did not fall" >&2; exit 1; }
    "$bin/inspect" --verify-run "$out/$name" | grep -E 'adapter_model|adapter before|WRONG' | cut -c 1-100
done
