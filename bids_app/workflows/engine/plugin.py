"""Nipype's MultiProc, mended in three respects.

A worker that dies fails its own step, and nothing else: in Nipype's own, one pool holds all workers, and when the
system kills one because memory runs out, every result that is still out is lost with it, and the run waits for them
for ever. And a scan once begun is brought to its end before others are begun: in Nipype's own, all scans go through the
first step, then all through the second, so that of a thousand scans none is done until nearly all are. And it is not
slow to see that a step has ended: Nipype's own searches the whole memory for garbage each time it looks.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from traceback import format_exception
from typing import Any

import nipype
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from ...errors import ScanError, one_line
from .environment import start_logging
from .failures import record_failure


def _begin(folder: str, verbose: int, monitored: bool) -> None:
    process_initializer(folder)
    Thread(target=_end_with_the_run, daemon=True).start()
    if monitored:
        nipype.config.enable_resource_monitor()
    start_logging(verbose)


def _end_with_the_run() -> None:
    """End this worker when the run that hired it is killed: the next run must find nobody at its steps."""
    parent = parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    os._exit(1)


def _branch(node: Any) -> str:
    """The scan of a step of the participant level; at the group level the step itself."""
    return ".".join(node.fullname.split(".")[:2])


def _explain(error: BaseException, folder: Path) -> ScanError:
    """Why a step ended that could not say so itself."""
    if isinstance(error, BrokenExecutor):
        return ScanError(
            f"the step was killed from outside ({type(error).__name__}), most likely because memory ran out",
            remedy="run fewer steps at a time (--nprocs), or use a machine with more memory; finished results are kept",
        )
    return ScanError(
        f"the step could not be run ({one_line(error)})",
        file=folder,
        remedy="run the same command again; if it fails again, report it to the developers with the crash file in "
        "logs/",
    )


class SturdyMultiProc(MultiProcPlugin):  # type: ignore[misc]  # Nipype has no annotations
    """MultiProc with one pool a worker, and scan by scan."""

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown()
        gc.freeze()  # what is imported by now is no garbage: a search through it takes a tenth of a second
        self._idle: list[ProcessPoolExecutor] = []
        self._verbose = self.plugin_args.get("verbose", 0)
        self._monitored = self.plugin_args.get("monitored", False)

    def _sort_jobs(self, jobids: Iterable[int], scheduler: str | None = "tsort") -> Any:
        if scheduler != "tsort" and scheduler is not None:  # of --use-plugin
            return super()._sort_jobs(jobids, scheduler)
        first: dict[str, int] = {}  # where a scan's branch begins in the order of the graph
        for index, node in enumerate(self.procs):
            first.setdefault(_branch(node), index)
        return sorted(jobids, key=lambda job: (first[_branch(self.procs[job])], job))

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid: int = self._taskid + 1
        worker = self._idle.pop() if self._idle else self._hire()
        future = worker.submit(run_node, node, updatehash, self._taskid)
        self._task_obj[self._taskid] = future
        future.add_done_callback(partial(self._collect, self._taskid, node, worker))
        return self._taskid

    def _collect(self, task: int, node: Any, worker: ProcessPoolExecutor, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._idle.append(worker)
            self._taskresult[task] = future.result()
            return
        worker.shutdown(wait=False)
        folder = Path(node.output_dir())
        with suppress(OSError):  # a disk without room for a folder: the run tells what it can
            folder.mkdir(parents=True, exist_ok=True)
            record_failure(folder, _explain(error, folder))
        self._taskresult[task] = {"taskid": task, "result": None, "traceback": format_exception(error)}

    def _hire(self) -> ProcessPoolExecutor:
        # Never a plain fork: a copy of a process whose OpenMP threads have run (torch, BLAS) waits for them for ever.
        context = get_context("forkserver")
        return ProcessPoolExecutor(
            max_workers=1,
            mp_context=context,
            initializer=_begin,
            initargs=(os.getcwd(), self._verbose, self._monitored),
        )

    def _postrun_check(self) -> None:
        for worker in self._idle:
            worker.shutdown()
