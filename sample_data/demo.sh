#!/bin/sh
# The main job on the files of this folder: `make demo`. Outputs go to demo/; a second run finds them up to date.
set -eu
cd "$(dirname "$0")/.."
mkdir -p demo
run() { printf '\n$ %s\n' "$*"; "$@"; }

run relrep embed sample_data/images --encoder pca --dim 16 -o demo/images.h5
run relrep anchor sample_data/a.h5 -n 300 --strategy per-class -o demo/anchors.h5
run relrep project sample_data/a.h5 --anchors demo/anchors.h5 --center -o demo/a.rel.h5
run relrep project sample_data/b.h5 --anchors demo/anchors.h5 --center -o demo/b.rel.h5
run relrep compare demo/a.rel.h5 demo/b.rel.h5 --split test --metric cosine,jaccard --k 10 --format table
run relrep compare sample_data/a.h5 sample_data/b.h5 --anchors demo/anchors.h5 --center \
    --split test --metric cosine,jaccard,cka --format table
run relrep stitch sample_data/a.h5 sample_data/b.h5 --anchors demo/anchors.h5 --format table --method absolute,relative,orthogonal,ridge --similarity euclidean --standardize-columns
