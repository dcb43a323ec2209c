"""The one door to h5py. `from relrep_cli.store.libhdf5 import h5py`, so that the environment never steers libhdf5."""

from __future__ import annotations

import os

STEERING = (  # variables that lead libhdf5 to other files and libraries, or break it when stale
    "HDF5_DRIVER",
    "HDF5_DRIVER_CONFIG",
    "HDF5_EXTFILE_PREFIX",
    "HDF5_EXT_PREFIX",
    "HDF5_PLUGIN_PATH",
    "HDF5_USE_FILE_LOCKING",
    "HDF5_VDS_PREFIX",
    "HDF5_VOL_CONNECTOR",
)

for variable in STEERING:
    os.environ.pop(variable, None)
# A file that names an unknown filter makes libhdf5 load every library in its plugin folder (hdf5#5160); "::" forbids it.
os.environ["HDF5_PLUGIN_PRELOAD"] = "::"

import h5py  # noqa: E402
from h5py import h5a, h5d, h5f, h5g, h5i, h5l, h5o, h5p, h5r, h5s, h5t, h5z  # noqa: E402

__all__ = ["h5a", "h5d", "h5f", "h5g", "h5i", "h5l", "h5o", "h5p", "h5py", "h5r", "h5s", "h5t", "h5z"]
