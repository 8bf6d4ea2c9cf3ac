"""The participant level: one branch per scan, each on its own."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...bids.alike import check_alike
from ...bids.anat import finished, output_path, read_sidecar
from ...bids.maps import GreyMatterMap, find_maps
from ...bids.participants import copy_participants
from ...bids.query import Found, Scan, Unusable, check_dataset, find_t1w
from ...bids.versions import generation, map_version
from ...config import Config
from ...errors import LatentAtlasError, NoInputError
from ...schema.outputs import PARTICIPANTS, SCAN_FILES
from ..engine.environment import memory_limit_gb, prepare, processors, work_folder
from ..engine.execute import Failure, execute
from ..engine.locks import claim, lock_folders, refuse
from ..given_maps import check_derivatives, nothing_left, wanted_maps
from ..methods_text import write_citation
from .scan_identity import adopted_kind, adopted_labels, branch_name, fingerprint

logger = logging.getLogger("latentatlas")

#: What a finished scan consists of; with --smoothing-fwhm and --model there is more.
FINISHED = tuple(kind for kind in SCAN_FILES if kind not in ("smoothed", "recon"))


def run_participant(config: Config, logs: Path) -> list[Failure]:
    """Process the asked scans, then write a report per participant.

    Scans whose outputs are there, made with the same options from the same file, are not processed again.

    Returns
    -------
    list of Failure
        Of the scans that failed; the others are finished.

    Raises
    ------
    NoInputError
        Nothing that was asked for can be worked on.
    """
    if config.model_dir:
        from ...model.model_files import read_card  # needs torch

        read_card(config.model_dir)  # a wrong one is refused before hours of work, not in every scan
    sources, unusable = _sources(config)
    failures = [Failure(item.name, "input", item.reason) for item in unusable]
    for failure in failures:  # at once: who has mistyped a label need not wait for the others to end
        logger.warning("%s cannot be used: %s", failure.where, failure.message.splitlines()[0])
    participants = sorted({s.subject for s in sources})
    counts = [f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(sources), "scan"), (len(participants), "participant"))]
    logger.info(" of ".join(counts))
    with claim([f"sub-{p}" for p in participants], lock_folders(config)) as taken:
        failures += [Failure(name, "start", str(refuse(name, who))) for name, who in taken.items()]
        participants = [p for p in participants if f"sub-{p}" not in taken]
        sources = [s for s in sources if s.subject in participants]
        if not (config.reports_only or config.boilerplate_only):
            failures += _process(config, sources, logs)
        failures += _finish(config, participants)
        if not config.boilerplate_only:
            _name_doubtful(config, sources)
    return failures


def _sources(config: Config) -> Found:
    """Scans to work on: maps of ``--derivatives`` where there are, and T1w images that none of them covers."""
    maps, lost = _precomputed(config) if config.derivatives else ([], [])
    of_subject: dict[str, list[GreyMatterMap]] = defaultdict(list)
    for item in maps:
        of_subject[item.subject].append(item)
    found = find_t1w(
        config.bids_dir,
        participants=config.participant_label,
        sessions=config.session_label,
        filter_file=config.bids_filter_file,
        validate=not config.skip_bids_validation,
        covered=lambda scan: any(_covers(m, scan) for m in of_subject[scan.subject]),
    )
    given, scans = [*maps, *lost], found.scans
    # A participant who has a map needs no T1w.
    with_map = {f"sub-{m.subject}" for m in maps}
    unusable = [item for item in found.unusable if item.name not in with_map]
    if maps and scans and (problem := _differ(config, maps, scans)):
        unusable += [Unusable(s.prefix, problem) for s in scans]
        scans = []
    if maps or scans:
        return Found([*maps, *scans], sorted({*lost, *unusable}))
    if unusable or given:
        raise nothing_left([*lost, *unusable], config.bids_dir)
    derived = check_dataset(config.bids_dir, strict=False).get("DatasetType") == "derivative"
    raise NoInputError(
        "the dataset has no T1-weighted image that matches the request",
        file=config.bids_dir,
        remedy="it is a derivative dataset: give the raw dataset first, and this one with --derivatives"
        if derived
        else "images are expected at sub-*/[ses-*/]anat/*_T1w.nii.gz; check --session-label and the filters",
    )


def _covers(given: GreyMatterMap, scan: Scan) -> bool:
    """Whether a map is one of this scan: of its session, or of all; of its run, or of all."""
    if given.subject != scan.subject or given.session not in (None, scan.session):
        return False
    return all(scan.entities.get(name) == label for name, label in given.entities.items())


def _precomputed(config: Config) -> tuple[list[GreyMatterMap], list[Unusable]]:
    """Maps of ``--derivatives``: those in the space of ``--template`` if there are any, else in their own."""
    for root in config.derivatives:
        check_derivatives(root)
    maps, unusable = find_maps(
        config.derivatives,
        participants=config.participant_label,
        sessions=config.session_label,
        wanted=wanted_maps(config),
    )
    if maps:
        check_alike(
            maps,
            "choose with --template (name[:cohort-<label>][:res-<label>]) and --resolution, or the participants with "
            "--participant-label",
            modulating=True,
        )
        logger.info("%d precomputed grey-matter maps in %s", len(maps), maps[0].template)
    else:
        logger.warning("no map in --derivatives belongs to the requested participants")
    return maps, unusable


def _differ(config: Config, maps: Sequence[GreyMatterMap], scans: Sequence[Scan]) -> str | None:
    """Why maps computed for scans without one would not be made like the given maps, in their space, on their grid."""
    import nibabel as nib

    from ...space.templates import get_template

    given = maps[0]
    remedy = "exclude it with --participant-label or --session-label, or compute all maps here (without --derivatives)"
    versions = sorted({version for m in maps if (version := map_version(read_sidecar(m.path)))})
    other = [version for version in versions if generation(version) != generation(__version__)]
    if other:
        return (
            f"it has no precomputed map, and a map computed here by LatentAtlas {__version__} must not be mixed with "
            f"those of version {', '.join(other)}\n  what to do: {remedy}"
        )
    here = config.template
    grid: Any = nib.load(given.path)
    alike = here.split(":res-")[0] == given.template
    if alike:
        template = get_template(config.template, config.grid_mm)
        alike = template.shape == grid.shape[:3] and np.allclose(template.affine, grid.affine, atol=1e-3)
    if alike:
        logger.info("no precomputed map, so computed here: %s", _listed(scans))
        return None
    return (
        f"it has no precomputed map, and a map computed here in {here} at {config.grid_mm:g} mm would not be on the "
        f"grid of the others ({given.template})\n  what to do: {remedy}"
    )


def _listed(scans: Sequence[Scan]) -> str:
    return ", ".join(s.prefix for s in scans[:10]) + (" …" if len(scans) > 10 else "")


def _process(config: Config, sources: Sequence[Scan], logs: Path) -> list[Failure]:
    labels = space_labels(config)
    todo = [s for s in sources if not _finished(config, s, labels)]
    if len(todo) < len(sources):
        logger.info("%d scans are already finished", len(sources) - len(todo))
    if not todo:
        return []
    nprocs = config.nprocs or processors()
    threads = config.omp_nthreads or max(1, nprocs // len(todo))
    memory = config.mem or memory_limit_gb()
    computed = not all(isinstance(s, GreyMatterMap) for s in todo)
    modules = ("scan_steps", "ants_imports") if computed else ("scan_steps",)
    prepare(config, threads, preload=[f"{__package__}.{module}" for module in modules])
    if computed:
        from ...space.templates import check_template

        check_template(config.template, config.grid_mm)  # what is not available stops the run here, not in each scan
    from .scan_graph import init_participant_wf

    workflow = init_participant_wf(config, todo, labels=labels, n_threads=min(threads, nprocs))
    workflow.base_dir = str(work_folder(config, [branch_name(s) for s in todo]))
    return execute(workflow, config, nprocs=nprocs, memory_gb=memory, logs=logs)


def space_labels(config: Config) -> dict[str, str]:
    """Labels of the standard space: ``template``, ``cohort``, ``res``, and ``resolution`` in words."""
    from ...space.template_sources import parse_name
    from ...space.templates import res_label

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
    kinds = [kind] if isinstance(scan, GreyMatterMap) else list(FINISHED)
    if config.smoothing_fwhm > 0 and "modulated" in kinds:
        kinds.append("smoothed")
    if config.model:
        kinds.append("recon")
    if not finished(config.output_dir, scan, kinds, fingerprint(config, scan), **naming):
        return False
    return not config.model_dir or _encoded_by(
        config.model_dir, output_path(config.output_dir, scan, "recon", **naming)
    )


def _encoded_by(model_dir: Path, reconstruction: Path) -> bool:
    """Whether a reconstruction was made by the model that is in a folder now."""
    from ...model.model_files import read_card  # needs torch

    weights = read_card(model_dir).get("weights_sha256")
    return bool(read_sidecar(reconstruction).get("ModelWeights") == weights)


def _finish(config: Config, participants: Sequence[str]) -> list[Failure]:
    """Write what tells of all scans: the table of participants, the methods text, a page each."""
    from ...reports.participant import build_participant_report
    from ...reports.scan_outputs import find_scans

    def told(where: str, write: Callable[[], object]) -> list[Failure]:
        try:
            write()
        except LatentAtlasError as error:
            return [Failure(where, "report", str(error))]
        except OSError as error:  # a full disk, mostly
            return [Failure(where, "report", f"it cannot be written ({error.strerror or error})")]
        return []

    failures = told(PARTICIPANTS.path, lambda: copy_participants(config.bids_dir, config.output_dir, quiet=False))
    failures += told("the methods text", lambda: write_citation(config))
    for participant in participants if not config.boilerplate_only else ():
        if find_scans(config.output_dir, participant):
            page = partial(build_participant_report, config.output_dir, participant)
            failures += told(f"sub-{participant}", page)
    return failures


def _name_doubtful(config: Config, scans: Sequence[Scan]) -> None:
    """List the maps that did not pass the quality gate, and why, so that users need not open every page."""
    labels = space_labels(config)
    for scan in scans:
        kind, naming = _map_of(scan, labels)
        facts = read_sidecar(output_path(config.output_dir, scan, kind, **naming))
        verdict, reasons = facts.get("QualityVerdict"), facts.get("QualityReasons") or ["no reason is recorded"]
        # A scan that failed now may have the map of an earlier run.
        if verdict in ("look", "fail") and facts.get("Fingerprint") == fingerprint(config, scan):
            logger.warning("%s: %s: %s", scan.prefix, verdict, "; ".join(reasons))
