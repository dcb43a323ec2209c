"""Overlap of the 10 nearest rows by cosine with faiss: python knn_jaccard.py A B."""

import sys

import faiss
import numpy as np

K = 10


def neighbours(path):
    x = np.load(path)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return faiss.knn(x, x, K + 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 1:]


a, b = (neighbours(path) for path in sys.argv[1:])
shared = (a[:, :, None] == b[:, None]).sum((1, 2))
print((shared / (2 * K - shared)).mean())
