"""A real SLURM on this machine, for tests of batch scripts: a controller and four nodes that share the host, under root.

It needs the daemons of Debian's packages slurm-wlm and munge. Everything lies in one folder, on free ports.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NODES = 4
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
KillWait=5
MinJobAge=3600
SchedulerParameters=sched_interval=1,batch_sched_delay=0,defer_batch,requeue_delay=1
"""


def missing() -> str:
    """Why no SLURM can be started here; "" where one can."""
    gone = [program for program in PROGRAMS if shutil.which(program) is None]
    if gone:
        return f"{', '.join(gone)} not installed: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start SLURM, and yield the variables with which its commands find it. Afterwards, stop it."""
    configuration, munge = folder / "slurm.conf", folder / "munge.key"
    (folder / "state").mkdir(), (folder / "spool").mkdir()
    folder.chmod(0o755)
    munge.write_bytes(os.urandom(1024)), munge.chmod(0o400)
    ports = _free_ports(NODES + 1)
    host = socket.gethostname()
    lines = [
        f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[i]} CPUs=2 RealMemory=1000" for i in range(NODES)
    ]
    lines.append(f"PartitionName=all Nodes=n[0-{NODES - 1}] Default=YES MaxTime=INFINITE State=UP")
    text = CONFIGURATION.format(host=host, folder=folder, port=ports[-1])
    configuration.write_text(text + "\n".join(lines) + "\n")
    env = {**os.environ, "SLURM_CONF": str(configuration)}
    ends = {"key-file": ".key", "socket": ".sock", "pid-file": "d.pid", "log-file": "d.log", "seed-file": ".seed"}
    own = [f"--{name}={folder}/munge{end}" for name, end in ends.items()]
    try:
        subprocess.run(["munged", "--force", *own], check=True, capture_output=True)
        subprocess.run(["slurmctld", "-f", configuration], check=True, capture_output=True, env=env)
        for i in range(NODES):
            (folder / "spool" / f"n{i}").mkdir()
            subprocess.run(["slurmd", "-f", configuration, "-N", f"n{i}"], check=True, capture_output=True, env=env)
        _wait_for_nodes(env)
        yield {"SLURM_CONF": str(configuration)}
    finally:
        for pid in folder.glob("*.pid"):
            with suppress(OSError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGTERM)
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for_nodes(env: dict[str, str]) -> None:
    for _ in range(100):
        actual = subprocess.run(["sinfo", "-h", "-o", "%T %D"], capture_output=True, text=True, env=env, check=False).stdout
        if f"idle {NODES}" in actual:
            return
        time.sleep(0.2)
    raise TimeoutError(actual)
