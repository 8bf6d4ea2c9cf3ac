"""Run a Nipype workflow: plugin, progress, and failures told in words."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import yaml

from ...config import Config
from ...errors import ConfigError, one_line
from .failures import FAILURE_FILE, read_failure

logger = logging.getLogger("latentatlas")


@dataclass(frozen=True)
class Failure:
    """A step that failed: where, and why."""

    where: str
    step: str
    message: str


@dataclass(frozen=True)
class Finished:
    """A step that ended well.

    Attributes
    ----------
    seconds : float
        What it took; next to none for one from an earlier run.
    node : nipype Node
    """

    seconds: float
    node: Any

    def output(self, name: str) -> Any:
        """One of its outputs, read back from the work folder."""
        return self.node.get_output(name)


def execute(
    workflow: Any,
    config: Config,
    *,
    nprocs: int,
    memory_gb: float,
    logs: Path,
    finished: dict[str, Finished] | None = None,
) -> list[Failure]:
    """Run a workflow to its end and tell what failed.

    Steps that do not depend on a failed one still run (unless ``--stop-on-first-crash``), and steps whose results lie
    in the work folder from an earlier run are not run again.

    Parameters
    ----------
    workflow : nipype Workflow
        With ``base_dir`` set.
    nprocs, memory_gb
        What all steps together may use.
    logs : Path
        Where crash files and the graph go.
    finished : dict, optional
        Filled with the steps that ended well, by name.

    Returns
    -------
    list of Failure
        Empty when every step ended well.
    """
    root = Path(workflow.base_dir) / workflow.name
    # Only its own branches: other jobs may be at work on other participants in the same work folder.
    branches = sorted({name.split(".")[0] for name in workflow.list_node_names()})
    for stale in _failure_files(root, branches):
        stale.unlink()
    workflow.config["execution"]["crashdump_dir"] = str(logs)
    if config.write_graph:
        _write_graph(workflow, logs)
    plugin = _plugin(config, nprocs, memory_gb)
    _fit(workflow, plugin)
    with _progress(workflow, {} if finished is None else finished) as callback:
        plugin.plugin_args["status_callback"] = plugin._status_callback = callback
        try:
            workflow.run(plugin=plugin)
            return []
        except KeyboardInterrupt:
            # Or this process would wait for the steps that are under way.
            for worker in active_children():
                worker.kill()
            raise
        except Exception as error:
            failures = [_read_failure(f, root) for f in _failure_files(root, branches)]
            if not failures and config.verbose > 1:
                raise
            return failures or [Failure("the run", type(plugin).__name__, f"{one_line(error)}")]


def readable(branch: str) -> str:
    """A scan's name from that of its steps (:func:`bids_app.workflows.participant.scan_identity.branch_name`)."""
    return branch.replace("__", "+").replace("_", "-")


def _failure_files(root: Path, branches: list[str]) -> list[Path]:
    return [file for branch in branches for file in sorted((root / branch).rglob(FAILURE_FILE))]


def _read_failure(file: Path, root: Path) -> Failure:
    parts = file.relative_to(root).parts[:-1]
    where = readable(parts[0]) if len(parts) > 1 else "group"
    return Failure(where, parts[-1], read_failure(file))


def _plugin(config: Config, nprocs: int, memory_gb: float) -> Any:
    """The plugin that runs the steps: on this machine's processors, or the one of ``--use-plugin``."""
    from nipype.pipeline import plugins

    from .plugin import SturdyMultiProc

    if config.use_plugin is None:
        limits = {"n_procs": nprocs, "memory_gb": memory_gb, "raise_insufficient": False}
        return SturdyMultiProc({**limits, "verbose": config.verbose, "monitored": config.resource_monitor})
    try:
        settings = yaml.safe_load(config.use_plugin.read_text())
        name, arguments = settings["plugin"], dict(settings.get("plugin_args") or {})
        kind = SturdyMultiProc if name == "MultiProc" else getattr(plugins, f"{name}Plugin")
        os.environ.setdefault("LOGNAME", "latentatlas")  # Nipype names jobs after it; a container may not have it
        return kind(plugin_args=arguments)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"the plugin configuration cannot be used ({one_line(error)})",
            file=config.use_plugin,
            remedy="write YAML such as: {plugin: SLURM, plugin_args: {sbatch_args: '--time 1:00:00'}}",
        ) from None


def _fit(workflow: Any, plugin: Any) -> None:
    """Let no step ask for more than there is in all: Nipype would wait for it for ever."""
    memory, processors = getattr(plugin, "memory_gb", None), getattr(plugin, "processors", None)
    greedy = set()
    for node in workflow._get_all_nodes() if memory and processors else ():
        if node.mem_gb > memory:
            greedy.add(node.name)
            node._mem_gb = memory
        if node.n_procs > processors:
            node.n_procs = processors
    if greedy:
        logger.warning(
            "%s may need more memory than the available %.1f GB, and will run alone", ", ".join(sorted(greedy)), memory
        )


def _write_graph(workflow: Any, logs: Path) -> None:
    from shutil import which

    target = logs / f"{workflow.name}_graph.dot"
    workflow.write_graph(dotfilename=str(target), graph2use="colored", format="svg" if which("dot") else "dot")


@contextmanager
def _progress(workflow: Any, finished: dict[str, Finished]) -> Iterator[Any]:
    """A bar over the steps on a terminal, a line every tenth of them elsewhere; keeps the time each step took."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    total = len(workflow.list_node_names())
    with Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=total)
        started: dict[str, float] = {}

        def callback(node: Any, status: str) -> None:
            step = node.fullname.split(".", 1)[-1]
            name = readable(step)
            if status == "start":
                started[step] = time.monotonic()
                bar.update(task, description=name[:34])
                logger.debug("%s: started", name)
            elif status == "end":
                seconds = time.monotonic() - started.get(step, time.monotonic())
                finished[step] = Finished(seconds, node)
                bar.advance(task)
                done = int(bar.tasks[0].completed)
                if bar.disable and 10 * done // total > 10 * (done - 1) // total:  # a log file shows no bar
                    logger.info("%d of %d steps done", done, total)
                logger.debug("%s: done", name)
            if status == "end" and node.name in ("write", "report"):
                logger.info("%s: done", name.split(".")[0])

        yield callback
