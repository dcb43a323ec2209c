"""p of linear CKA from 1,000 permutations for all pairs of two files' layers, NumPy float64: python permuted_cka.py A B."""

import sys

import h5py
import numpy as np

DRAWS = 1000
files = [h5py.File(path) for path in sys.argv[1:]]
layers = [[np.float64(space[:]) for space in file["layer"].values()] for file in files]
layers = [[x - x.mean(0) for x in side] for side in layers]
rng = np.random.default_rng(0)
orders = [rng.permutation(len(layers[0][0])) for _ in range(DRAWS)]
for x in layers[0]:
    for y in layers[1]:
        drawn = [np.linalg.norm(x[order].T @ y) for order in orders]
        print((1 + np.sum(drawn >= np.linalg.norm(x.T @ y))) / (DRAWS + 1))
