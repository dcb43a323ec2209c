"""A Dask cluster whose workers are jobs of a batch system, by the package dask-jobqueue. It lives as long as the run."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from relrep_cli.base.errors import UsageError, WriteError

SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
WORDS = re.compile(rf"({'|'.join(SYSTEMS)}):([1-9][0-9]{{0,4}})")
GLANCE = 0.1  # seconds between two looks at the jobs that are submitted
COMMANDS = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub", "sge": "qsub"}
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
    if shutil.which(COMMANDS[system]) is None:
        finding = f"--cluster {system}:{jobs} submits jobs with {COMMANDS[system]}, which is not on this machine"
        raise UsageError(finding, "Run it where jobs are submitted, or write --cluster local:N.")
    import dask

    own = {name: value for name, value in DEFAULTS.items() if dask.config.get(f"jobqueue.{system}.{name}", None) is None}
    with tempfile.TemporaryDirectory(prefix=".relrep-cluster-", dir=os.getcwd(), ignore_cleanup_errors=True) as folder:
        places = {"shared_temp_directory": folder, "log_directory": folder, "python": sys.executable}
        lock = _certificates(folder)
        try:
            cluster = getattr(jobqueue, SYSTEMS[system])(
                **own, **places, protocol="tls", security=lock, scheduler_options={"dashboard": False}
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise _not_submitted(error, system, jobs) from None
        try:
            try:
                cluster.scale(jobs=jobs)
                cluster.sync(_submitted, cluster)
            except (OSError, RuntimeError, ValueError) as error:
                raise _not_submitted(error, system, jobs) from None
            yield cluster
        finally:
            with suppress(Exception):
                cluster.close(timeout=10)


async def _submitted(cluster: Any) -> None:
    """Wait until the jobs are submitted: `scale` does not, and keeps what goes wrong to itself."""
    while len(cluster.workers) < len(cluster.worker_spec):
        await asyncio.sleep(GLANCE)
    for job in cluster.workers.values():
        if job.job_id is None:
            await job.start()  # which says what went wrong


def _not_submitted(error: Exception, system: str, jobs: int) -> WriteError:
    lines = [line.strip() for line in str(error).rpartition("stderr:")[2].splitlines() if line.strip()]  # what sbatch says
    own = lines[0] if lines else type(error).__name__
    remedy = f"Try {COMMANDS[system]} by hand, and see the settings of dask-jobqueue."
    return WriteError(f"the jobs cannot be submitted ({own.rstrip('.')})", remedy, file=f"--cluster {system}:{jobs}")


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
