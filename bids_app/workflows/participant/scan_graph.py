"""The graph of the participant level: one independent branch per scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import nipype.pipeline.engine as pe

from ...bids.maps import GreyMatterMap
from ...bids.query import Scan, check_dataset
from ...bids.source import describe_source
from ...config import Config
from ...schema.segmenters import SEGMENTERS_BY_NAME
from ...space.template_sources import parse_name
from ..engine.interface import Step
from ..engine.wiring import Needs, wire
from . import scan_steps as steps
from .memory import count_voxels, step_memory_gb
from .scan_identity import adopted_kind, adopted_labels, branch_name, fingerprint

#: From a T1w image to its modulated grey-matter map, checked, written and pictured. The transform comes before the
#: tissues because the template's priors travel through it.
COMPUTED = (
    steps.conform,
    steps.brain_mask,
    steps.bias_field,
    steps.normalise,
    steps.tissues,
    steps.modulate,
    steps.quality,
    steps.encode,  # with --model
    steps.write,
    steps.figures,
)
#: A precomputed map in place of what would have been computed.
ADOPTED = (
    steps.adopt,
    steps.encode,  # with --model
    steps.write_adopted,
    steps.figures,
)
#: Steps that use all threads. ANTs and Greedy take theirs from the environment (workflows.engine.environment.prepare).
THREADED = (steps.brain_mask, steps.bias_field, steps.normalise, steps.modulate, steps.write)


def init_participant_wf(
    config: Config, scans: Sequence[Scan], *, labels: Mapping[str, str], n_threads: int
) -> pe.Workflow:
    """One independent branch per scan.

    Parameters
    ----------
    config : Config
    scans : sequence of Scan
    labels : mapping
        Labels of the standard space (:func:`.participant_level.space_labels`).
    n_threads : int
        Threads of a step.
    """
    workflow = pe.Workflow(name="latentatlas_participant")
    workflow.add_nodes([init_scan_wf(config, scan, labels=labels, n_threads=n_threads) for scan in scans])
    return workflow


def init_scan_wf(config: Config, scan: Scan, *, labels: Mapping[str, str], n_threads: int) -> pe.Workflow:
    """The branch of one scan: ``COMPUTED``, or ``ADOPTED`` for a precomputed map.

    Parameters
    ----------
    config : Config
    scan : Scan
    labels : mapping
    n_threads : int
    """
    known = _of_map(scan) if isinstance(scan, GreyMatterMap) else _of_image(config, scan, labels)
    options = {
        **vars(config),
        **known,
        **(_of_model(config, scan) if config.model else {}),
        "scan": scan,
        "prefix": scan.prefix,
        "image": scan.path,
        "source": describe_source(scan.path),
        "fingerprint": fingerprint(config, scan),
        "n_threads": n_threads,
    }
    chosen = ADOPTED if isinstance(scan, GreyMatterMap) else COMPUTED
    needs = partial(_needs, config=config, voxels=count_voxels(scan.path), n_threads=n_threads)
    return wire(branch_name(scan), [s for s in chosen if s is not steps.encode or config.model], options, needs)


def _of_image(config: Config, scan: Scan, labels: Mapping[str, str]) -> dict[str, Any]:
    space = parse_name(config.template)[0]
    return {"template": config.template, "resolution": config.grid_mm, "space": space, "labels": dict(labels)}


def _of_map(scan: GreyMatterMap) -> dict[str, Any]:
    return {
        "template": scan.template,
        "space": scan.space,
        "labels": adopted_labels(scan),
        "kind": adopted_kind(scan),
        "dataset": scan.home.name,
        "is_modulated": scan.modulated,
        "transform": None if scan.modulated else scan.transform,
        "tiv": scan.tiv,
    }


def _of_model(config: Config, scan: Scan) -> dict[str, Any]:
    from ...model.model_files import qualified, read_card  # needs torch

    assert config.model_dir is not None  # asked for with --model
    # Named as the group level named whom it trained on.
    dataset = check_dataset(config.bids_dir, strict=False).get("Name", "unnamed")
    return {
        "model": config.model_dir,
        "weights": str(read_card(config.model_dir).get("weights_sha256")),
        "participant": qualified(dataset, f"sub-{scan.subject}"),
    }


def _needs(step: type[Step], *, config: Config, voxels: int, n_threads: int) -> Needs:
    engine = SEGMENTERS_BY_NAME[config.segmentation]
    threaded = step in THREADED or (step is steps.tissues and engine.threaded)
    measured = engine.memory if step is steps.tissues else None
    return Needs(n_threads if threaded else 1, step_memory_gb(step.__name__, voxels, measured))
