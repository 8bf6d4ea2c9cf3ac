"""What has to be settled before any heavy library is imported: threads, telemetry, logging."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ..config import Config

logger = logging.getLogger("latentatlas")


def prepare(config: Config, threads_per_step: int) -> None:
    """Set the environment that this process and its workers inherit.

    Thread pools are sized by environment variables because ITK and OpenMP read them once, at import.
    """
    os.environ["NO_ET"] = os.environ["NIPYPE_NO_ET"] = "1"  # no question to a server at import
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads_per_step)
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads_per_step)
    os.environ.setdefault("MPLBACKEND", "Agg")
    _writable_caches()
    _configure_nipype(config)


def processors() -> int:
    """Processors that this process may use: its affinity, and the quota of its container (cgroup v2)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return count


def memory_limit_gb() -> float:
    """90 % of the memory that this process may use: the machine's, or its container's if that is less."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        pages = min(pages, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return 0.9 * pages / 1e9


def start_logging(verbose: int) -> None:
    """Messages to standard error: plain lines by default, more with each ``-v``. Every worker calls it too.

    Nipype tells every step and prints the traceback of every failure; we say it in our own words unless asked twice.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    for name in ("nipype", "nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(logging.INFO if verbose > 1 else logging.CRITICAL)


def work_folder(config: Config) -> Path:
    """The work folder, emptied when asked; a temporary one where the wanted one cannot be written."""
    folder = config.work_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="latentatlas-work-"))
        logger.warning(
            "the work folder %s cannot be written: using %s, so this run cannot be resumed (choose one with -w)",
            config.work_dir,
            folder,
        )
    if config.clean_workdir:
        for item in folder.glob("latentatlas_*"):
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    return folder


def _writable_caches() -> None:
    """Point caches that default to a home folder elsewhere when there is none, as in a container."""
    home = Path(os.environ.get("HOME", "/nonexistent"))
    if os.access(home, os.W_OK):
        return
    scratch = Path(tempfile.gettempdir()) / f"latentatlas-cache-{os.getuid()}"
    scratch.mkdir(exist_ok=True)
    for variable in ("HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        os.environ[variable] = os.environ.get(variable) if _usable(variable) else str(scratch)


def _usable(variable: str) -> bool:
    value = os.environ.get(variable)
    return bool(value) and os.access(value, os.W_OK)


def _configure_nipype(config: Config) -> None:
    import nipype

    nipype.config.update_config(
        {
            "execution": {
                "check_version": "False",
                "stop_on_first_crash": str(config.stop_on_first_crash),
                "crashfile_format": "txt",
                "remove_unnecessary_outputs": "False",
                "hash_method": "timestamp",
                "poll_sleep_duration": "0.5",
                "parameterize_dirs": "False",
            },
            "monitoring": {"enabled": str(config.resource_monitor)},
        }
    )
    start_logging(config.verbose)  # importing Nipype has set its own levels
