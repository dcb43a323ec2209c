"""The thin singular value decomposition, for matrices on which LAPACK's fast routine gives up, too."""

from __future__ import annotations

import numpy as np


def thin_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, s, v) of x = u diag(s) v, as np.linalg.svd without full matrices.

    NumPy divides and conquers, which sometimes does not converge on a product of fewer rows than it has columns, such as 300
    anchors of 768 and 512 dims. The older routine is slower, and converges there.
    """
    try:
        return np.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        u, s, v = svd(x, full_matrices=False, lapack_driver="gesvd")
        return u, s, v
