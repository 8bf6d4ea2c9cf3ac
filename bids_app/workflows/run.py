"""From a configuration to an exit code: what both levels have in common."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from .. import __version__
from ..bids.dataset import check_output, check_work, write_dataset_files
from ..bids.files import write_text
from ..bids.query import check_dataset
from ..config import Config
from ..schema.outputs import LOGS, RUN_OPTIONS
from .engine.environment import start_logging
from .engine.execute import Failure

logger = logging.getLogger("latentatlas")


def run(config: Config) -> int:
    """Run one analysis level.

    Returns
    -------
    int
        0 when everything was done, 1 when a scan or a step failed and the rest was kept.

    Raises
    ------
    LatentAtlasError
        What keeps the whole run from starting.
    """
    start = time.monotonic()
    start_logging(config.verbose)
    logger.info("LatentAtlas %s, %s level", __version__, config.analysis_level)
    if config.bids_database_dir:
        logger.info("--bids-database-dir is not used: the dataset is listed again")
    description = check_dataset(config.bids_dir, strict=not config.skip_bids_validation)
    check_output(config.bids_dir, config.output_dir)
    check_work(config.bids_dir, config.work_dir)
    _leave_lost_folder(config.output_dir)
    write_dataset_files(config.bids_dir, config.output_dir, description)
    run_name = f"{datetime.now():%Y%m%d-%H%M%S}_{config.analysis_level}_{uuid4().hex[:6]}"
    write_text(RUN_OPTIONS.at(config.output_dir, run=run_name), config.to_toml())
    if config.analysis_level == "participant":
        from .participant.participant_level import run_participant as run_level
    else:
        from .group.group_level import run_group as run_level
    failures = run_level(config, config.output_dir / LOGS)
    _tell(failures, time.monotonic() - start, config.output_dir)
    return 1 if failures else 0


def _leave_lost_folder(refuge: Path) -> None:
    """Go elsewhere where the current folder is gone: Nipype and multiprocessing ask for it."""
    try:
        os.getcwd()
    except OSError:
        os.chdir(refuge)


def _tell(failures: Sequence[Failure], seconds: float, output_dir: Path) -> None:
    for failure in failures:
        logger.error("FAILED %s (step %s): %s", failure.where, failure.step, failure.message)
    clock = f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if failures:
        logger.error("%d failed; finished results are kept in %s (%s)", len(failures), output_dir, clock)
    else:
        logger.info("done in %s: %s", clock, output_dir)
