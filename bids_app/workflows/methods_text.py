"""When the methods text is written: by one job at a time."""

from __future__ import annotations

from ..config import Config
from .engine.locks import in_turn, lock_folders


def write_citation(config: Config) -> None:
    """Write the methods text, which describes all that is there: one job at a time, so that the last describes all."""
    # Matplotlib, which it brings, wants a folder for its cache at import: `engine.environment.prepare` makes one.
    from ..reports.boilerplate import write_boilerplate

    with in_turn(lock_folders(config)[0] / "citation.lock"):
        write_boilerplate(config.output_dir, config)
