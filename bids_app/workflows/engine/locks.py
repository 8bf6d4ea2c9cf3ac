"""Who works on what: two runs never process the same participant at the same time.

A run holds an exclusive ``flock`` on one small file per participant, in the output and in the work folder. The system
drops it when its holder ends, however it ends, so that a killed run never blocks its successor. Between the nodes of a
cluster this needs a file system that shares such locks: NFS (version 4, or 3 with its lock service), GPFS, Lustre
mounted with ``flock``, BeeGFS with ``tuneUseGlobalFileLocks``. Where there are none, a run says so and goes on without.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ...config import Config
from ...errors import OutputError
from ...schema.outputs import LOGS

logger = logging.getLogger("latentatlas")


def lock_folders(config: Config) -> list[Path]:
    """Where a run's locks lie: in its output, and in its work folder, which runs into other outputs may share."""
    return [config.output_dir / LOGS / "locks", config.work_dir / "latentatlas_locks"]


@contextmanager
def in_turn(path: Path, patience: float = 60) -> Iterator[None]:
    """Hold the lock of a file; go on without it after so many seconds."""
    with ExitStack() as held:
        _lock(path, held, patience)
        yield


@contextmanager
def claim(names: Iterable[str], folders: Iterable[Path]) -> Iterator[dict[str, str]]:
    """Take what nobody else works on, for as long as the context lasts.

    Parameters
    ----------
    names : iterable of str
        ``sub-01``, or ``group``.
    folders : iterable of Path
        Where the locks lie; made if need be. One that cannot be written guards nothing, and is left out.

    Yields
    ------
    dict
        Names that are taken already -> by whom: host, process and job.
    """
    folders = [f for f in folders if _usable(f)]
    taken: dict[str, str] = {}
    with ExitStack() as held:
        for name in names:
            with ExitStack() as mine:
                for folder in folders:
                    if who := _lock(folder / f"{name}.lock", mine):
                        taken[name] = who
                        break
                else:
                    held.push(mine.pop_all())
        yield taken


def refuse(name: str, who: str) -> OutputError:
    """The error of a run that found something taken."""
    return OutputError(
        f"another run is working on {name}: {who}",
        remedy="wait until it ends, or stop it; then run the same command again, which does only what is missing",
    )


def _lock(path: Path, held: ExitStack, patience: float = 0.3) -> str | None:
    """Lock a file; who has it, if it is taken for longer than ``patience`` seconds.

    Patience is never none: a file that its last holder is just removing is gone a moment later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=patience, poll_interval=0.05)
    except Timeout:
        try:
            return "{host}, process {process}, {job}since {since}".format_map(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError):
            return "whoever holds " + str(path)
    except (OSError, NotImplementedError) as error:
        logger.warning(
            "%s does not support file locks (%s): do not start another run on the same participants", path.parent, error
        )
        return None
    held.callback(_release, lock, path)
    job = next((f"job {os.environ[k]}, " for k in ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID") if k in os.environ), "")
    facts = {"host": socket.gethostname(), "process": os.getpid(), "job": job}
    path.write_text(json.dumps({**facts, "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}))
    return None


def _release(lock: FileLock, path: Path) -> None:
    # Removed while it is still held: who has opened it meanwhile sees that it is gone, and tries again.
    path.unlink(missing_ok=True)
    lock.release()


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
