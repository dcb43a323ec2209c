"""Linear CKA of all pairs of files with NumPy in float32, each file read once: python cka_matrix.py FILE..."""

import sys

import numpy as np

spaces = []
for path in sys.argv[1:]:
    x = np.load(path)
    x -= x.mean(0)
    spaces.append((x, np.linalg.norm(x.T @ x)))
for i, (x, own) in enumerate(spaces):
    for y, other in spaces[:i]:
        print(np.linalg.norm(x.T @ y) ** 2 / own / other)
