"""The participant level: one branch a scan, each on its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import __version__
from ..bids.anat import finished, output_path, read_sidecar
from ..bids.maps import GreyMatterMap, check_alike, find_maps
from ..bids.query import Scan, find_t1w
from ..bids.versions import generation, map_version
from ..config import Config
from ..errors import DatasetError
from .claims import claim, lock_folders, refuse, write_citation
from .environment import memory_limit_gb, prepare, processors, work_folder
from .execute import Failure, execute
from .scan_identity import adopted_kind, adopted_labels, fingerprint

logger = logging.getLogger("latentatlas")

#: What a finished scan consists of; with --smoothing-fwhm and --model there is more.
KINDS = (
    "t1w", "mask", "gm", "wm", "csf", "hypointensities", "t1w_std", "mask_std", "gm_std", "wm_std", "csf_std",
    "forward", "inverse", "modulated",
)  # fmt: skip


def run_participant(config: Config, logs: Path) -> list[Failure]:
    """Process the asked scans, then write a report a participant.

    Scans whose outputs are there, made with the same options from the same file, are not processed again.

    Returns
    -------
    list of Failure
        Of the scans that failed; the others are finished.
    """
    sources = _sources(config)
    participants = sorted({s.subject for s in sources})
    counts = [f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(sources), "scan"), (len(participants), "participant"))]
    logger.info(" of ".join(counts))
    with claim([f"sub-{p}" for p in participants], lock_folders(config)) as taken:
        failures = [Failure(name, "start", str(refuse(name, who))) for name, who in taken.items()]
        participants = [p for p in participants if f"sub-{p}" not in taken]
        sources = [s for s in sources if s.subject in participants]
        if not (config.reports_only or config.boilerplate_only):
            failures += _process(config, sources, logs)
        write_citation(config)
        if not config.boilerplate_only:
            _write_reports(config, participants)
            _name_doubtful(config, sources)
    return failures


def _sources(config: Config) -> list[Scan]:
    """Scans to work on: maps of ``--derivatives`` where there are, T1w images for everybody else."""
    maps = _precomputed(config) if config.derivatives else []
    covered = {m.subject for m in maps}
    wanted = [p for p in config.participant_label if p not in covered]
    if maps and config.participant_label and not wanted:
        return list(maps)
    found = find_t1w(
        config.bids_dir,
        participants=wanted,
        sessions=config.session_label,
        filter_file=config.bids_filter_file,
        database_dir=config.bids_database_dir,
        validate=not config.skip_bids_validation,
    )
    scans = [s for s in found if s.subject not in covered]
    if maps and scans:
        _check_computed_alike(config, maps, scans)
    return [*maps, *scans]


def _precomputed(config: Config) -> list[GreyMatterMap]:
    """Maps of ``--derivatives``: those in the space of ``--template`` if there are any, else in their own."""
    from ..space.templates import parse_name

    chosen = {"participants": config.participant_label, "sessions": config.session_label}
    maps = find_maps(config.derivatives, **chosen, prefer_space=parse_name(config.template)[0])
    if maps:
        check_alike(
            maps, "choose a space with --template, or the participants with --participant-label", modulating=True
        )
        logger.info("%d precomputed grey-matter maps in %s", len(maps), maps[0].template)
    return maps


def _check_computed_alike(config: Config, maps: Sequence[GreyMatterMap], scans: Sequence[Scan]) -> None:
    """Maps computed for participants without one must be made like the given maps, in their space, on their grid."""
    import nibabel as nib

    from ..space.templates import get_template

    given = maps[0]
    versions = sorted({version for m in maps if (version := map_version(read_sidecar(m.path)))})
    other = [version for version in versions if generation(version) != generation(__version__)]
    if other:
        raise DatasetError(
            f"these participants have no precomputed map: {_listed(scans)}; a map computed here, by LatentAtlas "
            f"{__version__}, must not be mixed with those of version {', '.join(other)}",
            file=given.path.parent,
            remedy="leave them out with --participant-label, or compute all maps here (without --derivatives)",
        )
    here, grid = config.template, nib.load(given.path)
    alike = here.split(":res-")[0] == given.template
    if alike:
        template = get_template(config.template, config.grid_mm)
        alike = template.shape == grid.shape[:3] and np.allclose(template.affine, grid.affine, atol=1e-3)
    if not alike:
        raise DatasetError(
            f"these participants have no precomputed map: {_listed(scans)}; a map computed here, in {here} at "
            f"{config.grid_mm:g} mm, would not be on the grid of the others ({given.template})",
            file=given.path.parent,
            remedy="leave them out with --participant-label, or compute all maps here (without --derivatives)",
        )


def _listed(scans: Sequence[Scan]) -> str:
    return ", ".join(s.prefix for s in scans[:10]) + (" …" if len(scans) > 10 else "")


def _process(config: Config, sources: Sequence[Scan], logs: Path) -> list[Failure]:
    labels = space_labels(config)
    todo = [s for s in sources if not _finished(config, s, labels)]
    if len(todo) < len(sources):
        logger.info("%d scans are finished already", len(sources) - len(todo))
    if not todo:
        return []
    nprocs = config.nprocs or processors()
    threads = config.omp_nthreads or max(1, nprocs // len(todo))
    memory = config.mem or memory_limit_gb()
    prepare(config, threads)
    if not all(isinstance(s, GreyMatterMap) for s in todo):
        from ..space.templates import check_template

        check_template(config.template, config.grid_mm)  # what is not available stops the run here, not in each scan
    from .participant_graph import init_participant_wf

    workflow = init_participant_wf(config, todo, labels=labels, n_threads=min(threads, nprocs))
    workflow.base_dir = str(work_folder(config, [s.prefix.replace("-", "_") for s in todo]))
    return execute(workflow, config, nprocs=nprocs, memory_gb=memory, logs=logs)


def space_labels(config: Config) -> dict[str, str]:
    """Labels of the standard space: ``template``, ``cohort``, ``res``, and ``resolution`` in words."""
    from ..space.templates import parse_name, res_label

    name, modifiers = parse_name(config.template)
    return {
        "template": name,
        "cohort": modifiers.get("cohort") or "",
        "res": res_label(config.grid_mm),
        "resolution": f"{config.grid_mm:g} mm isotropic",
    }


def _map_of(scan: Scan, labels: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Kind of a scan's map and the labels of its name."""
    kind = "modulated"
    if isinstance(scan, GreyMatterMap):
        kind, labels = adopted_kind(scan), adopted_labels(scan)
    return kind, {k: labels[k] for k in ("template", "res", "cohort")}


def _finished(config: Config, scan: Scan, labels: dict[str, str]) -> bool:
    kind, naming = _map_of(scan, labels)
    kinds = [kind] if isinstance(scan, GreyMatterMap) else list(KINDS)
    if config.smoothing_fwhm > 0 and "modulated" in kinds:
        kinds.append("smoothed")
    if config.model:
        kinds.append("recon")
    return finished(config.output_dir, scan, kinds, fingerprint(config, scan), **naming)


def _write_reports(config: Config, participants: Sequence[str]) -> None:
    from ..reports.participant import build_participant_report

    for participant in participants:
        if (config.output_dir / f"sub-{participant}").is_dir():
            build_participant_report(config.output_dir, participant)


def _name_doubtful(config: Config, scans: Sequence[Scan]) -> None:
    """Tell which maps the quality gate did not pass, and why; nobody should have to open every page to know."""
    labels = space_labels(config)
    for scan in scans:
        kind, naming = _map_of(scan, labels)
        facts = read_sidecar(output_path(config.output_dir, scan, kind, **naming))
        verdict, reasons = facts.get("QualityVerdict"), facts.get("QualityReasons") or ["no reason is recorded"]
        # A scan that failed now may have the map of an earlier run.
        if verdict in ("look", "fail") and facts.get("Fingerprint") == fingerprint(config, scan):
            logger.warning("%s: %s: %s", scan.prefix, verdict, "; ".join(reasons))
