"""What has to be settled before any heavy library is imported: threads, telemetry, logging."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import current_process, forkserver, get_context
from pathlib import Path

from ...config import Config

logger = logging.getLogger("latentatlas")
_LONGEST_TMPDIR = 60  # bytes


def prepare(config: Config, threads_per_step: int, preload: Sequence[str] = ()) -> None:
    """Set the environment that this process and its workers inherit.

    Thread pools are sized by environment variables because ITK and OpenMP read them once, at import. ``preload`` names
    modules that every worker needs.
    """
    os.environ["NO_ET"] = os.environ["NIPYPE_NO_ET"] = "1"  # no question to a server at import
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads_per_step)
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads_per_step)
    os.environ["MPLBACKEND"] = "Agg"  # that of a notebook may not be installed here
    _writable_caches(config)
    start_workers(preload)
    _configure_nipype(config)


def start_workers(preload: Sequence[str] = ()) -> None:
    """Start the process that workers are forked from: it imports what all of them need while this one goes on.

    Nothing that has threads of its own is imported there (torch, ANTs): a fork would wait for them for ever.
    """
    shorten_socket_paths()
    get_context("forkserver").set_forkserver_preload([f"{__package__}.preload", *preload])
    forkserver.ensure_running()


def shorten_socket_paths() -> None:
    """Let the sockets between processes lie in a short folder where TMPDIR is a long one.

    The path of a socket has at most 107 bytes, and multiprocessing adds some forty to the temporary folder. Only these
    sockets are moved: TMPDIR may have been chosen for its space.
    """
    try:
        own = tempfile.gettempdir()
    except FileNotFoundError:
        return
    if len(os.fsencode(own)) <= _LONGEST_TMPDIR:
        return
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run/shm"):
        with suppress(OSError):
            short = tempfile.mkdtemp(prefix="la-", dir=place)
            # Where multiprocessing looks for its temporary folder; there is no public way to name another one.
            current_process()._config["tempdir"] = short  # type: ignore[attr-defined]  # not public
            atexit.register(shutil.rmtree, short, ignore_errors=True)
            return
    logger.warning("TMPDIR (%s) may be too long for sockets, and no shorter folder can be written", own)


def processors() -> int:
    """Processors that this process may use: its affinity, and the quota of its container."""
    from joblib import cpu_count

    return cpu_count()


def memory_limit_gb() -> float:
    """90 % of the memory that this process may use: the machine's, or less in a container or a cluster's job."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _memory_limit_files():
        with suppress(OSError, ValueError):  # "max" is no number, and no limit
            limits.append(int(file.read_text()))
    return 0.9 * min(limits) / 1e9


def _memory_limit_files() -> Iterator[Path]:
    """Where control groups (versions 2 and 1) keep limits of this process's group and of those above it."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                root, name = Path("/sys/fs/cgroup"), "memory.max"
            elif "memory" in controllers.split(","):
                root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
            else:
                continue
            own = root / group.lstrip("/")
            yield from (folder / name for folder in (own, *own.parents) if folder.is_relative_to(root))


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


def work_folder(config: Config, branches: Sequence[str] = ("*",)) -> Path:
    """The work folder; a temporary one where the wanted one cannot be written.

    Asked for a clean one, it drops the given branches of the level's workflow: other jobs may be at work on others.
    """
    folder = config.work_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="latentatlas-work-"))
        logger.warning(
            "the work folder %s cannot be written: using %s instead, so this run cannot be resumed (choose a folder "
            "with -w)",
            config.work_dir,
            folder,
        )
    if config.clean_workdir:
        for branch in branches:
            for item in folder.glob(f"latentatlas_{config.analysis_level}/{branch}"):
                shutil.rmtree(item) if item.is_dir() else item.unlink()
    return folder


#: Variables that name caches, and where they lie among those that an image brings along (LATENTATLAS_CACHE).
_CACHES = {"MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba"}


def _writable_caches(config: Config) -> None:
    """Point caches that default to a home folder elsewhere when there is none, as in a container.

    Those that an image has filled are copied: matplotlib and numba only use what they can also write.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:  # a read-only container without any /tmp
        config.work_dir.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = os.environ["TMPDIR"] = str(config.work_dir)
    filled = os.environ.get("LATENTATLAS_CACHE")
    if _usable("HOME") and not filled:
        return
    scratch = Path(tempfile.gettempdir()) / f"latentatlas-cache-{os.getuid()}"
    with suppress(FileExistsError):
        scratch.mkdir(mode=0o700)
    if scratch.stat().st_uid != os.getuid():
        scratch = Path(tempfile.mkdtemp(prefix="latentatlas-cache-"))
    for variable, name in _CACHES.items():
        if filled and not (scratch / name).exists():
            # Renamed into place when whole: jobs on one machine share it.
            part = Path(tempfile.mkdtemp(dir=scratch))
            shutil.copytree(Path(filled) / name, part, dirs_exist_ok=True)
            with suppress(OSError):
                part.rename(scratch / name)
        if not _usable(variable):
            os.environ[variable] = str(scratch / name)
    for variable in ("HOME", "XDG_CACHE_HOME"):
        if not _usable(variable):
            os.environ[variable] = str(scratch)


def _usable(variable: str) -> bool:
    value = os.environ.get(variable)
    return value is not None and value != "" and os.access(value, os.W_OK)


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
                "poll_sleep_duration": "0.1",
                "parameterize_dirs": "False",
            },
            "monitoring": {"enabled": str(config.resource_monitor)},
        }
    )
    start_logging(config.verbose)  # importing Nipype has set its own levels
