"""The graph of the group level: from maps to verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nipype.pipeline.engine as pe

from ...bids.tables import read_dictionary
from ...config import Config
from ...group.study import Design
from ...model.calibration import is_calibrated
from ...schema.outputs import PARTICIPANTS
from ..engine.interface import Step
from ..engine.wiring import Needs, Repeated, Steps, wire
from . import analysis_steps as analyses
from . import model_steps as steps
from . import site_steps as sites


def cohort_steps(config: Config, n_folds: int, left_out: Sequence[str] | None = None) -> Steps:
    """The steps of a run, each after those whose outputs it takes.

    Parameters
    ----------
    config : Config
    n_folds : int
        Folds of the cross-fitting; a model is fitted without each, and one with all scans, which comes first.
    left_out : sequence of str, optional
        Sites without which every model is retrained. Where none can be left out, there are none, and the table says
        why; None: not requested.
    """
    calibrated = config.model_dir is not None and is_calibrated(config.model_dir)
    without = {f"fit_without_site{number}": site for number, site in enumerate(left_out or (), start=1)}
    models = {"fit_all": -1, **{f"fit_fold{number}": number for number in range(n_folds)}}
    return (
        steps.volumes,
        steps.cohort,
        steps.regions,
        steps.plan,
        *((steps.apply_model,) if config.model else (Repeated(steps.fit, "number", models), steps.collect)),
        *((Repeated(sites.fit_without_site, "site", without),) if without else ()),
        *((sites.site_errors,) if left_out is not None else ()),
        steps.held_out_regions,
        analyses.study,
        analyses.project,
        analyses.profile,
        analyses.disease_axis,
        analyses.compare_parcels,
        analyses.predictions,
        analyses.explain,
        analyses.agnostic_map,
        *((analyses.norms,) if config.reference_group or calibrated else ()),
        *((sites.site_latents,) if config.site_column and config.site_checks != "none" else ()),
        *((analyses.vbm,) if config.voxelwise != "none" and config.group_column else ()),
        analyses.validate,
        analyses.baselines,
        analyses.verdicts,
    )


def init_group_wf(  # noqa: PLR0913 - all that is known before any step, by the names that the steps take
    config: Config,
    maps: Sequence[Path],
    *,
    table: Path,
    design: Design,
    space: str,
    dataset: str,
    licence: str,
    n_folds: int,
    n_threads: int,
    n_jobs: int,
    left_out: Sequence[str] | None = None,
) -> pe.Workflow:
    """The steps of a run, joined.

    Parameters
    ----------
    config : Config
    maps : sequence of N Path
    table : Path
        Table with one row per map.
    design : Design
    space : str
        Standard space of the maps.
    dataset, licence : str
        Name and licence of the input, for the model's card.
    n_folds : int
        Folds of the cross-fitting.
    n_threads, n_jobs : int
        Threads of one step; processes that read maps.
    left_out : sequence of str, optional
        Sites without which every model is retrained (`cohort_steps`).
    """
    options = {
        **vars(config),
        "maps": list(maps),
        "table": table,
        "dictionary": read_dictionary(PARTICIPANTS.at(config.bids_dir)),
        "design": design,
        "space": space,
        "dataset": dataset,
        "licence": licence,
        "model": config.model_dir,
        "folds": n_folds,
        "n_threads": n_threads,
        "n_jobs": n_jobs,
    }

    def needs(step: type[Step]) -> Needs:
        return Needs(n_jobs if "n_jobs" in step.parameters() else n_threads)

    return wire("latentatlas_group", cohort_steps(config, n_folds, left_out), options, needs)
