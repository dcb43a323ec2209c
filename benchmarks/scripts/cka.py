"""Linear CKA of two files with NumPy in float32, as one writes it in a notebook: python cka.py A B."""

import sys

import numpy as np


def read(path):
    if path.endswith(".npy"):
        return np.load(path)
    import h5py

    with h5py.File(path) as file:
        return file["X"][:]


x, y = (read(path) for path in sys.argv[1:])
x -= x.mean(0)
y -= y.mean(0)
print(np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))
