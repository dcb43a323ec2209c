"""A Dask cluster whose workers are jobs of a batch system, by the package dask-jobqueue. It lives as long as the run."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from relrep_cli.base.errors import UsageError, WriteError

SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
WORDS = re.compile(rf"({'|'.join(SYSTEMS)}):([1-9][0-9]{{0,4}})")
DEFAULTS = {"cores": 1, "memory": "2GB", "processes": 1}  # of a job, where the user's Dask configuration says nothing


def asked_for(address: str) -> tuple[str, int] | None:
    """The batch system and the number of jobs that `slurm:8` asks for; None for an address.

    >>> asked_for("slurm:8"), asked_for("tls://node7:8786")
    (('slurm', 8), None)
    """
    match = WORDS.fullmatch(address)
    return None if match is None else (match[1], int(match[2]))


@contextmanager
def queue_cluster(system: str, jobs: int) -> Iterator[Any]:
    """Submit the jobs, and yield the cluster. Certificates and logs lie in a folder here that goes with the cluster."""
    try:
        jobqueue, _ = (importlib.import_module(name) for name in ("dask_jobqueue", "cryptography"))  # the latter for TLS
    except ModuleNotFoundError as error:
        finding = f"--cluster {system}:{jobs} needs {error.name}, which is not installed"
        raise UsageError(
            finding, "Write pip install dask-jobqueue cryptography, or submit an array with --shard auto."
        ) from None
    import dask

    own = {name: value for name, value in DEFAULTS.items() if dask.config.get(f"jobqueue.{system}.{name}", None) is None}
    with tempfile.TemporaryDirectory(prefix=".relrep-cluster-", dir=os.getcwd(), ignore_cleanup_errors=True) as folder:
        places = {"shared_temp_directory": folder, "log_directory": folder, "python": sys.executable}
        lock = _certificates(folder)
        try:
            cluster = getattr(jobqueue, SYSTEMS[system])(
                **own, **places, protocol="tls", security=lock, scheduler_options={"dashboard": False}
            )
            cluster.scale(jobs=jobs)
        except (OSError, RuntimeError, ValueError) as error:
            why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
            raise WriteError(f"the jobs cannot be submitted ({why})", "Try again.", file=f"--cluster {system}:{jobs}") from None
        try:
            yield cluster
        finally:
            with suppress(Exception):
                cluster.close(timeout=10)


def _certificates(folder: str) -> Any:
    """New certificates, in files that only this user can read. The folder has that right alone, too."""
    from distributed.security import Security

    made, files = Security.temporary(), {}
    for role in ("scheduler", "worker", "client"):
        for name, text in made.get_tls_config_for_role(role).items():
            if text and name in ("ca_file", "cert", "key"):
                path = os.path.join(folder, name if name == "ca_file" else f"{role}-{name}")
                with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    file.write(text)
                files["tls_ca_file" if name == "ca_file" else f"tls_{role}_{name}"] = path
    return Security(require_encryption=True, **files)
