"""The graph of the group level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nipype.interfaces.utility as niu
import nipype.pipeline.engine as pe

from ..bids.tables import read_dictionary
from ..config import Config
from ..group.study import Design
from . import analysis_steps as analyses
from . import group_steps as steps


def init_group_wf(
    config: Config,
    maps: Sequence[Path],
    *,
    cohort: Path,
    design: Design,
    space: str,
    dataset: str,
    licence: str,
    n_folds: int,
    n_threads: int,
    n_jobs: int,
) -> pe.Workflow:
    """From maps to verdicts.

    .. code-block:: text

        volumes -> cohort -> plan -> fit (once a fold, and once for all) -> collect
              \\                      [apply_model instead, with --model]     |
               -> regions -> held_out_regions -> study -> project, profile (LRCP), disease_axis, compare_parcels,
                                                          explain (SHAP), agnostic_map (SAM), baselines
                                               profile, explain, agnostic_map -> validate -> verdicts <- baselines

    Parameters
    ----------
    config : Config
    maps : sequence of N Path
    cohort : Path
        Table with one row a map.
    design : Design
    space : str
        Standard space of the maps.
    dataset, licence : str
        Name and licence of the input, for the model's card.
    n_folds : int
        Folds of the cross-fitting.
    n_threads, n_jobs : int
        Threads of one stage; processes that read maps.
    """
    workflow = pe.Workflow(name="latentatlas_group")

    def node(interface: Any, name: str, *, threads: int = n_threads, memory_gb: float = 2.0, **more: Any) -> pe.Node:
        return pe.Node(interface, name=name, n_procs=threads, mem_gb=memory_gb, **more)

    paths = [str(p) for p in maps]
    model = str(config.model_dir) if config.model else None
    volumes = node(
        steps.volumes(maps=paths, fwhm=config.smoothing_fwhm, n_jobs=n_jobs, model=model), "volumes", threads=n_jobs
    )
    rows = node(
        steps.cohort(table=str(cohort), dictionary=read_dictionary(config.bids_dir / "participants.tsv")), "cohort"
    )
    regions = node(steps.regions(maps=paths, atlas=config.atlas, space=space), "regions")
    plan = node(
        steps.plan(
            architecture=config.architecture,
            latent_dim=config.latent_dim,
            epochs=config.epochs,
            folds=n_folds,
            group_column=config.group_column,
            seed=config.random_seed,
        ),
        "plan",
    )
    common = {"seed": config.random_seed, "space": space, "dataset": dataset}
    workflow.connect(
        [
            (volumes, rows, [("kept", "kept")]),
            (volumes, regions, [("kept", "kept")]),
            (rows, regions, [("cohort", "cohort")]),
            (rows, plan, [("cohort", "cohort")]),
        ]
    )
    if model:
        products = node(steps.apply_model(model=model, **common), "apply_model")
        workflow.connect(plan, "fold", products, "fold")
        models = pe.Node(niu.Merge(1), name="all_model", run_without_submitting=True)
        workflow.connect(products, "model", models, "in1")
    else:
        numbers, outputs = [-1, *range(n_folds)], ("fitted", "model")
        # One node a model, the full one first, and not a MapNode: each is then seen, resumed and scheduled by itself.
        gather = {
            out: pe.Node(niu.Merge(len(numbers)), name=f"all_{out}", run_without_submitting=True) for out in outputs
        }
        for place, number in enumerate(numbers, start=1):
            name = "fit_all" if number < 0 else f"fit_fold{number}"
            fit = node(
                steps.fit(number=number, seed=config.random_seed, device=config.device, n_threads=n_threads), name
            )
            workflow.connect(
                [
                    (volumes, fit, [("volumes", "volumes")]),
                    (rows, fit, [("cohort", "cohort")]),
                    (plan, fit, [("plan", "plan"), ("fold", "fold")]),
                    *((fit, gather[out], [(out, f"in{place}")]) for out in outputs),
                ]
            )
        models = gather["model"]
        products = node(steps.collect(licence=licence, group_column=config.group_column, **common), "collect")
        workflow.connect(
            [
                (gather["fitted"], products, [("out", "fitted")]),
                (gather["model"], products, [("out", "models")]),
            ]
        )
    workflow.connect([(volumes, products, [("volumes", "volumes")]), (rows, products, [("cohort", "cohort")])])

    held_out = node(steps.held_out_regions(), "held_out_regions")
    study = node(analyses.study(design=design, scan_choice=config.scan_choice), "study")
    workflow.connect(
        [
            (volumes, held_out, [("volumes", "volumes")]),
            (models, held_out, [("out", "models")]),
            (plan, held_out, [("fold", "fold")]),
            (regions, held_out, [("labels", "labels")]),
            (held_out, study, [("held_out", "held_out")]),
            (rows, study, [("cohort", "cohort")]),
            (regions, study, [("regional", "regional"), ("labels", "labels")]),
            (products, study, [("products", "products")]),
        ]
    )
    seed = {"seed": config.random_seed}
    tested = {**seed, "permutations": config.permutations}
    people = {"scan_choice": config.scan_choice}
    asked = {**people, "primary": config.primary}
    project = node(analyses.project(**seed, n_jobs=n_threads), "project")
    profile = node(analyses.profile(**tested, **asked), "profile")
    axis = node(analyses.disease_axis(**seed, **people, harmonised=design.harmonize == "combat"), "disease_axis")
    parcels = node(analyses.compare_parcels(**seed, **people), "compare_parcels")
    predictions = node(analyses.predictions(**tested, **people), "predictions")
    explain = node(analyses.explain(**tested, **people), "explain")
    agnostic = node(analyses.agnostic_map(**tested, **asked), "agnostic_map")
    if config.reference_group:
        workflow.connect(study, "study", node(analyses.norms(reference=config.reference_group), "norms"), "study")
    if config.voxelwise != "none" and config.group_column:
        vbm = node(
            analyses.vbm(
                maps=paths,
                fwhm=config.smoothing_fwhm,
                voxelwise=config.voxelwise,
                permutations=min(config.permutations, 5000),
                n_jobs=n_jobs,
                **seed,
                **people,
            ),
            "vbm",
            threads=n_jobs,
        )
        workflow.connect(
            [
                (volumes, vbm, [("kept", "kept")]),
                (regions, vbm, [("labels", "labels")]),
                (study, vbm, [("study", "study")]),
            ]
        )
    validate = node(analyses.validate(**tested, **asked), "validate")
    baselines = node(analyses.baselines(**asked), "baselines")
    verdicts = node(analyses.verdicts(), "verdicts")
    for analysis in (project, profile, axis, parcels, predictions, explain, agnostic, validate, baselines, verdicts):
        workflow.connect(study, "study", analysis, "study")
    for analysis in (profile, axis, parcels, explain, agnostic):
        workflow.connect(regions, "labels", analysis, "labels")
    workflow.connect([(models, axis, [("out", "models")]), (volumes, parcels, [("volumes", "volumes")])])
    for judged in (validate, verdicts):
        workflow.connect(profile, "regions", judged, "lrcp_regions")
        workflow.connect(agnostic, "regions", judged, "sam_regions")
    workflow.connect(
        [
            (explain, validate, [("relation", "relation")]),
            (validate, verdicts, [("validation", "validation")]),
            (baselines, verdicts, [("baselines", "baselines")]),
        ]
    )
    return workflow
