#!/bin/sh
# What a light install does, and what it says of the rest. `make test-light` runs it with the relrep of such an install on PATH.
set -eu
from=$(pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$from"/sample_data/*.h5 "$folder"
cd "$folder"

relrep info a.h5 >out
relrep anchor a.h5 -n 50 --strategy kmeans -o anchors.h5 -q
relrep project a.h5 -a anchors.h5 -s cosine,l1 -o a.rel.h5 -q
relrep compare a.h5 b.h5 -m cka,knn-jaccard -q >out
relrep compare a.h5 b.h5 -m cosine --split test -o report.html -q
relrep stitch a.h5 b.h5 -a anchors.h5 --method absolute,relative,ridge -s cosine -q >out
relrep evaluate a.h5 --task knn,linear-probe -q >out
relrep neighbors a.h5 --sample 2 -q >out
relrep embed a.h5 -o a.csv -q

# one line for what is missing, with the command that brings it
lacks() {
    library=$1
    shift
    if relrep "$@" >out 2>err; then
        echo "relrep $* needs no $library any more" >&2
        exit 1
    fi
    if ! grep -q "needs $library, which is not installed. .*pip install" err || [ "$(wc -l <err)" -ne 1 ]; then
        echo "relrep $*: the line is missing:" >&2
        cat err >&2
        exit 1
    fi
}
lacks torch stitch a.h5 b.h5 -a anchors.h5 --head mlp
lacks pyarrow info a.csv
lacks matplotlib plot a.h5 -o a.png
echo "light install: $(du -sm "$(dirname "$(dirname "$(command -v relrep)")")" | cut -f1) MB, all commands well"
