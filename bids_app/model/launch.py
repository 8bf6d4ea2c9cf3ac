"""Where a training runs: the device, and one process a device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

import torch

from bids_app.errors import UsageError

Result = TypeVar("Result")


def pick_device(device: str) -> str:
    """``cpu`` or ``cuda``; UsageError where CUDA is asked for and not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"There is no device called {device!r}.", remedy="Use auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "No CUDA device is available.",
            remedy="Use --device auto, or make the GPU available to the container (--nv).",
        )
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def count_processes(device: str, batch_size: int) -> int:
    """One process a CUDA device that can be seen, but no more than maps in a batch; one on a CPU."""
    return min(torch.cuda.device_count(), batch_size) if device == "cuda" else 1


def launch(function: Callable[..., Result], n_processes: int, *arguments: Any) -> Result:
    """Call a function in this process, or in several that talk to each other, and return what it returned.

    The processes are started here, whatever a scheduler's variables say (a job of ``srun`` with several tasks would
    otherwise wait for tasks that do something else).

    Parameters
    ----------
    function : callable
        Of a module (new processes import it); called with the same arguments in each process.
    n_processes : int
        On this machine.
    *arguments
        Must pickle.

    Returns
    -------
    object
        Of the first process.
    """
    if n_processes == 1:
        return function(*arguments)
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
        start_method="spawn",
    )
    return elastic_launch(config, function)(*arguments)[0]
