"""The group level: from the maps of a derivative dataset to verdicts and a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...bids.alike import check_alike
from ...bids.anat import read_quality
from ...bids.files import copy_file, write_json
from ...bids.maps import GreyMatterMap, find_maps
from ...bids.participants import are_listed, read_participants
from ...bids.query import Unusable, check_dataset
from ...bids.tables import identifiers, write_table, write_tsv
from ...bids.visits import order_visits
from ...config import Config
from ...errors import DatasetError, NoInputError, ScanError
from ...group.design import read_categories
from ...group.rows import rows_of
from ...group.study import Design, build_questions, describe_missing, doubtful_categories
from ...group.testable import why_unanswerable
from ...participant.precomputed import load_map
from ...schema.atlases import named
from ...schema.catalogue import TABLES
from ...schema.measures import QUALITY_COLUMNS
from ...schema.outputs import (
    ATLAS,
    ATLAS_DESCRIPTION,
    ATLAS_REGIONS,
    ATLAS_SIDECAR,
    FIGURES,
    GROUND_TRUTH,
    GROUP,
    MODEL_CARD,
    PARTICIPANTS,
    SUMMARY,
)
from ...schema.scan_tables import QUALITY
from ..engine.environment import memory_limit_gb, prepare, processors, work_folder
from ..engine.execute import Failure, Finished, execute
from ..engine.locks import claim, lock_folders, refuse
from ..given_maps import check_derivatives, nothing_left, wanted_maps
from ..judged_maps import judge_map
from ..methods_text import write_citation
from .group_summary import MapFacts, name_left_out, read_inputs, summarise

logger = logging.getLogger("latentatlas")

#: Columns of the cohort that the scans know -> the key of the sidecar; a column of participants.tsv comes first.
KNOWN = {"tiv": "TIV", "WMHypointensityVolume": "WMHypointensityVolume"}


#: A covariate whose name holds one of these stands for head size.
HEAD_SIZE = ("tiv", "icv", "intracranial")


def run_group(config: Config, logs: Path) -> list[Failure]:
    """Train, project, profile, explain, validate, and write the report.

    Returns
    -------
    list of Failure
        Of the steps that failed; what the others made is kept.
    """
    failures: list[Failure] = []
    planted = _ground_truth(config)
    with claim(["group"], lock_folders(config)) as taken:
        if taken:
            raise refuse("the group level", taken["group"])
        if not (config.reports_only or config.boilerplate_only):
            failures = _analyse(config, logs)
        write_citation(config)
        if not config.boilerplate_only:
            from ...reports.group import build_group_report

            build_group_report(config.output_dir, ground_truth=planted)
    return failures


def _analyse(config: Config, logs: Path) -> list[Failure]:
    start = time.monotonic()
    found, unusable = _maps(config)
    lost = [Failure(item.name, "input", item.reason) for item in unusable]
    for failure in lost:
        logger.warning("%s cannot be used: %s", failure.where, failure.message.splitlines()[0])
    maps, quality, left_out = _trusted(found)
    left_out += [name_left_out(item.name, item.reason.splitlines()[0]) for item in unusable]
    if not maps:
        reasons = [Unusable(str(entry["participant_id"]), str(entry["reason"])) for entry in left_out]
        raise nothing_left(reasons, config.output_dir)
    table = _cohort(config, maps, quality)
    # Every analysis takes the first row of a participant as the earliest scan.
    order, visits = order_visits(table)
    maps, quality = [maps[i] for i in order], [quality[i] for i in order]
    table = table.iloc[order].reset_index(drop=True)
    if visits:
        logger.info("the scans of a participant are ordered by %s", visits)
    design = _design(config)
    _check(config, maps, table, design)
    nprocs = config.nprocs or processors()
    threads = config.omp_nthreads or 1
    prepare(config, threads)
    from .cohort_graph import init_group_wf

    work = work_folder(config)
    cohort_file = _write_if_new(work / "latentatlas_group_maps.tsv", table)
    description = check_dataset(config.bids_dir, strict=False)
    workflow = init_group_wf(
        config,
        [m.path for m in maps],
        table=cohort_file,
        design=design,
        space=maps[0].space,
        dataset=description.get("Name", "unnamed"),
        licence=description.get("License", "not stated"),
        n_folds=min(config.folds, table["participant_id"].nunique()),
        n_threads=threads,
        n_jobs=nprocs,
        left_out=_sites_left_out(config, table),
    )
    workflow.base_dir = str(work)
    done: dict[str, Finished] = {}
    failures = execute(
        workflow, config, nprocs=nprocs, memory_gb=config.mem or memory_limit_gb(), logs=logs, finished=done
    )
    _publish(work / workflow.name, set(done), config.output_dir, complete=not failures)
    _write_quality(config, table, quality)
    facts = MapFacts(
        table=table,
        template=maps[0].template,
        resolution=_voxel_size(maps[0]),
        left_out=left_out,
        sloppy=any(sidecar.get("Sloppy") for sidecar in quality),
        visits=visits,
        warnings=_head_size(maps, design),
    )
    seconds = {step: round(finished.seconds, 1) for step, finished in done.items()}
    seconds["total"] = round(time.monotonic() - start, 1)
    summary = summarise(config, facts, **read_inputs(done))
    write_json(SUMMARY.at(config.output_dir), {**summary, "wall_time": seconds})
    return [*lost, *failures]


def _voxel_size(item: GreyMatterMap) -> float:
    import nibabel as nib

    image: Any = nib.load(item.path)
    return round(float(min(image.header.get_zooms()[:3])), 3)


def _maps(config: Config) -> tuple[list[GreyMatterMap], list[Unusable]]:
    """The maps to analyse: all in one space, on one grid, modulated alike."""
    for root in config.derivatives:
        check_derivatives(root)
    roots = [config.output_dir, *config.derivatives]
    if check_dataset(config.bids_dir, strict=False).get("DatasetType") == "derivative":
        roots.append(config.bids_dir)
    chosen = {"participants": config.participant_label, "sessions": config.session_label}
    maps, unusable = find_maps(roots, **chosen, wanted=wanted_maps(config), own=config.output_dir)
    if unusable and not maps:
        raise nothing_left(unusable, config.output_dir)
    if not maps:
        raise NoInputError(
            "there are no grey-matter maps to analyse",
            file=config.output_dir,
            remedy="run the participant level first, or give a dataset of maps with --derivatives",
        )
    check_alike(
        maps,
        "choose with --template (name[:cohort-<label>][:res-<label>]) and --resolution, or process all participants "
        "in the same way",
    )
    logger.info("%d maps in %s", len(maps), maps[0].template)
    return maps, unusable


def _trusted(maps: list[GreyMatterMap]) -> tuple[list[GreyMatterMap], list[dict[str, Any]], list[dict[str, Any]]]:
    """Leave out the maps that the participant level's quality gate has failed; also the sidecars of the others."""
    kept, sidecars, left_out = [], [], []
    for item in maps:
        facts = read_quality(item.path)
        if "QualityVerdict" not in facts:  # another program's
            try:
                found = load_map(item.path, modulated=item.modulated)
                facts |= judge_map(item.path, found, item.template, facts, modulated=item.modulated)
            except ScanError as error:
                facts |= {"QualityVerdict": "fail", "QualityReasons": [error.problem]}
        if facts.get("QualityVerdict") == "fail":
            reason = "; ".join(facts.get("QualityReasons", [])) or "failed the quality gate"
            left_out.append(name_left_out(item.prefix, reason))
            logger.warning("%s is excluded: %s", item.prefix, reason)
        else:
            kept.append(item)
            sidecars.append(facts)
    return kept, sidecars, left_out


def _cohort(config: Config, maps: Sequence[GreyMatterMap], quality: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row per scan: identifiers, what participants.tsv knows, and the volumes in ``KNOWN`` from the scans."""
    roots = [config.bids_dir, config.output_dir]
    table = read_participants(roots, [m.subject for m in maps], [m.session for m in maps], [m.home for m in maps])
    names = [str(facts.get("SourceDataset") or m.home.name) for m, facts in zip(maps, quality, strict=True)]
    if len(set(names)) > 1 and "dataset" not in table:
        table["dataset"] = names
    for column, key in KNOWN.items():
        told = [facts.get(key) for facts in quality]
        volume = pd.Series([float(v) if isinstance(v, int | float) else np.nan for v in told], dtype=float)
        if column not in table and volume.notna().any():
            table[column] = volume
    return table


def _design(config: Config) -> Design:
    return Design(
        group_column=config.group_column,
        contrasts=tuple(config.contrast),
        covariates=tuple(config.covariates),
        site_column=config.site_column,
        harmonize=config.harmonize,
        primary=config.primary,
        reference_group=config.reference_group,
        file=str(PARTICIPANTS.at(config.bids_dir)),
    )


def _check(config: Config, maps: Sequence[GreyMatterMap], table: pd.DataFrame, design: Design) -> None:
    """Find a wrong column, an absent atlas, a damaged model now, rather than after the training."""
    import nibabel as nib

    from ...model.model_files import load_model
    from ...model.plan import make_plan
    from ...space.atlas_loaders import load_atlas

    questions = build_questions(table, design)
    for doubt in doubtful_categories(table, design, questions):
        logger.warning(doubt)
    if missing := describe_missing(table, design, questions):
        logger.warning("%s", missing)
    people, complete = table["participant_id"].to_numpy(), questions.covariates.complete
    for contrast in questions.contrasts:
        rows = rows_of(people, complete, contrast.y, config.scan_choice)
        if reason := why_unanswerable(contrast, rows, questions.covariates):
            logger.warning("%s is not testable: %s", contrast.name, reason)
    if config.reference_group:
        column = design.group_column
        known = sorted({name for name in read_categories(table, column, design.file) if name}) if column else []
        if config.reference_group not in known:
            raise DatasetError(
                f"there is no group '{config.reference_group}' to serve as the reference",
                file=design.file,
                remedy=f"use one of these with --reference-group: {', '.join(known)}"
                if known
                else "give --group-column",
            )
    for warning in _head_size(maps, design):
        logger.warning("%s", warning)
    if not design.group_column:
        logger.warning("no --group-column: the latent space is described, but nothing is compared")
    grid: Any = nib.load(maps[0].path)
    load_atlas(config.atlas, grid)
    atlas = named(config.atlas)
    if atlas and not maps[0].space.startswith(atlas.space):
        logger.warning(
            "%s is transformed to %s space, but the maps are in %s: it fits only roughly",
            atlas.name,
            atlas.space,
            maps[0].space,
        )
    if config.model_dir:
        load_model(config.model_dir)
    else:
        make_plan(table["participant_id"].tolist(), None, latent_dim=1)


def _sites_left_out(config: Config, table: pd.DataFrame) -> list[str] | None:
    """Sites without which every model is retrained, None if not requested; the cost is announced in advance."""
    if not config.site_column or config.site_checks == "none":
        return None
    from ...group.sites import not_left_out

    people = table["participant_id"].to_numpy()
    sites = np.array([s or "" for s in read_categories(table, config.site_column, config.bids_dir)])
    reasons = not_left_out(sites, people)
    for site, reason in reasons.items():
        if reason:
            logger.warning("site %s is not tested on its own: %s", site, reason)
    if config.model or config.site_checks != "all":
        return None
    chosen = [site for site, reason in reasons.items() if not reason]
    usual = 1 + min(config.folds, len(set(people)))
    if chosen:
        logger.info(
            "%s: %d trainings instead of %d, about %.1f times as long (--site-checks latents omits them)",
            "1 site is left out in turn" if len(chosen) == 1 else f"{len(chosen)} sites are left out in turn",
            usual + len(chosen),
            usual,
            (usual + len(chosen)) / usual,
        )
    return chosen


def _head_size(maps: Sequence[GreyMatterMap], design: Design) -> list[str]:
    """Warning for volumes that are compared without taking head size into account."""
    removed = [name.lower() for name in design.covariates]
    if not any(m.modulated for m in maps) or any(part in name for name in removed for part in HEAD_SIZE):
        return []
    return [
        "The maps are modulated (they measure volumes) but head size is not among the covariates. Latents and regions "
        "grow with the head, so a difference found here may reflect head size. Add tiv to --covariates."
    ]


def _write_if_new(path: Path, table: pd.DataFrame) -> Path:
    """Write a table unless it is there already: a newer file would make every step run again."""
    fresh = write_tsv(path.with_suffix(".new"), table)
    if path.exists() and path.read_bytes() == fresh.read_bytes():
        fresh.unlink()
    else:
        fresh.replace(path)
    return path


def _ground_truth(config: Config) -> Path | None:
    if config.ground_truth and not config.ground_truth.is_file():
        raise NoInputError(
            "the file of --ground-truth does not exist", file=config.ground_truth, remedy="check the path"
        )
    planted = config.ground_truth or config.bids_dir / GROUND_TRUTH
    return planted if planted.exists() else None


def _publish(work: Path, finished: set[str], output_dir: Path, *, complete: bool) -> None:
    """Copy what the finished steps made into the output; drop leftovers of earlier runs once all is there."""
    written = set()
    for out in sorted(work.glob("*/out")):
        if out.parent.name not in finished:
            continue
        for file in sorted(p for p in out.rglob("*") if p.is_file()):
            target = output_dir / file.relative_to(out)
            copy_file(file, target)
            written.add(target)
    card = output_dir / MODEL_CARD.path
    if card in written:
        # Models of the folds of an earlier run do not belong to this model, even where a later step has failed.
        for stale in card.parent.rglob("*"):
            if stale.is_file() and stale not in written:
                stale.unlink()
    if complete:
        # The labels of another atlas, too: numbers of one must not be painted on the regions of the other.
        atlases = [
            path for one in (ATLAS, ATLAS_REGIONS, ATLAS_SIDECAR, ATLAS_DESCRIPTION) for path in one.find(output_dir)
        ]
        # And the tables of scans that this run has not made, such as the distances from a reference group.
        scans = [output_dir / table.path for table in TABLES if not table.path.startswith(f"{GROUP}/")]
        tables = [file for path in scans for file in (path, path.with_suffix(".json"))]
        for stale in (*(output_dir / GROUP).rglob("*"), *atlases, *tables):
            if stale.is_file() and stale not in written and FIGURES not in stale.parts:
                stale.unlink()


def _write_quality(config: Config, table: pd.DataFrame, quality: Sequence[dict[str, Any]]) -> None:
    """The scans' quality numbers, judged once more by those of the cohort, which is known only now."""
    from ...group.spread import with_cohort

    rows = []
    for facts in quality:
        low, high = facts.get("JacobianRange") or (None, None)
        reasons = "; ".join(facts.get("QualityReasons") or ()) or None
        facts = {**facts, "JacobianMin": low, "JacobianMax": high, "QualityReasons": reasons}
        rows.append({column.name: facts.get(column.name) for column in QUALITY_COLUMNS})
    values = pd.DataFrame(rows)
    if values.notna().any(axis=None):
        judged = with_cohort(values.assign(participant_id=table["participant_id"].to_numpy()), _listed(config, table))
        judged = judged.drop(columns="participant_id").dropna(axis=1, how="all")
        write_table(config.output_dir, QUALITY, pd.concat([identifiers(table), judged], axis=1))


def _listed(config: Config, table: pd.DataFrame) -> np.ndarray | None:
    """Which rows are of participants whom participants.tsv names, who make up the cohort; None where there is none."""
    file = PARTICIPANTS.at(config.bids_dir)
    if not file.exists():
        return None
    return np.array(are_listed(file, list(table["participant_id"])))
