"""The graph of the participant level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nipype.pipeline.engine as pe

from ..bids.maps import GreyMatterMap
from ..bids.query import Scan, check_dataset
from ..bids.source import describe_source
from ..config import Config
from ..schema.segmenters import BY_NAME
from ..space.templates import parse_name
from . import participant_steps as steps
from .memory import count_voxels, memory_gb
from .scan_identity import adopted_kind, adopted_labels, branch_name, fingerprint


def init_participant_wf(
    config: Config, scans: Sequence[Scan], *, labels: Mapping[str, str], n_threads: int
) -> pe.Workflow:
    """One independent branch a scan.

    Parameters
    ----------
    config : Config
    scans : sequence of Scan
    labels : mapping
        Labels of the standard space (:func:`bids_app.workflows.participant.space_labels`).
    n_threads : int
        Threads of a step.
    """
    workflow = pe.Workflow(name="latentatlas_participant")
    for scan in scans:
        if isinstance(scan, GreyMatterMap):
            branch = init_adopted_wf(config, scan)
        else:
            branch = init_scan_wf(config, scan, labels=labels, n_threads=n_threads)
        workflow.add_nodes([branch])
    return workflow


def init_adopted_wf(config: Config, scan: GreyMatterMap) -> pe.Workflow:
    """A precomputed map feeds what would otherwise have been computed.

    .. code-block:: text

        adopt -> [encode] -> write -> figures
    """
    workflow = pe.Workflow(name=branch_name(scan))
    transform = {"transform": str(scan.transform)} if scan.transform and not scan.modulated else {}
    adopt = pe.Node(
        steps.adopt(
            image=str(scan.path),
            source=describe_source(scan.path),
            dataset=scan.home.name,
            space=scan.template,
            modulated=scan.modulated,
            tiv=scan.tiv,
            **transform,
        ),
        "adopt",
        mem_gb=1.5,
    )
    write = pe.Node(
        steps.write_adopted(
            scan=scan,
            bids_dir=str(config.bids_dir),
            output_dir=str(config.output_dir),
            labels=adopted_labels(scan),
            fingerprint=fingerprint(config, scan),
            kind=adopted_kind(scan),
            fwhm=config.smoothing_fwhm,
        ),
        "write",
        overwrite=True,
    )
    figures = pe.Node(
        steps.figures(prefix=scan.prefix, output_dir=str(config.output_dir), template=scan.template), "figures"
    )
    workflow.connect([(adopt, write, [("map", "map"), ("facts", "facts")]), (write, figures, [("written", "written")])])
    if config.model:
        _add_encoding(workflow, config, scan, scan.space, source=(adopt, "map"), write=write)
    return workflow


def _add_encoding(
    workflow: pe.Workflow, config: Config, scan: Scan, space: str, *, source: tuple[pe.Node, str], write: pe.Node
) -> None:
    from ..model.files import qualified, read_card  # needs torch

    # Named as the group level named whom it trained on.
    dataset = check_dataset(config.bids_dir, strict=False).get("Name", "unnamed")
    who = qualified(dataset, f"sub-{scan.subject}")
    assert config.model_dir is not None  # asked for with --model
    weights = str(read_card(config.model_dir).get("weights_sha256"))
    encode = pe.Node(
        steps.encode(model=str(config.model_dir), weights=weights, space=space, participant=who), "encode", mem_gb=2.0
    )
    node, output = source
    workflow.connect(
        [
            (node, encode, [(output, "modulated")]),
            (encode, write, [("recon", "recon"), ("encoded", "encoded")]),
        ]
    )


def init_scan_wf(config: Config, scan: Scan, *, labels: Mapping[str, str], n_threads: int) -> pe.Workflow:
    """From a T1w image to its modulated grey-matter map, checked, written and pictured.

    .. code-block:: text

        conform -> brain_mask -> bias_field -> normalise -> tissues -> modulate -> quality -> write -> figures
                                                                                \\-> [encode] -/

    The transform comes before the tissues because the template's priors travel through it.

    Parameters
    ----------
    config : Config
    scan : Scan
    labels : mapping
    n_threads : int
    """
    workflow = pe.Workflow(name=branch_name(scan))
    space = {"template": config.template, "resolution": config.grid_mm}
    engine, segmenter = {"segmentation": config.segmentation}, BY_NAME[config.segmentation]
    voxels = count_voxels(scan.path)

    def node(
        interface: Any, name: str, *, threads: int = 1, needs: tuple[float, float] | None = None, **more: Any
    ) -> pe.Node:
        return pe.Node(interface, name=name, n_procs=threads, mem_gb=memory_gb(name, voxels, needs), **more)

    conform = node(steps.conform(image=str(scan.path), source=describe_source(scan.path)), "conform")
    brain = node(steps.brain_mask(mode=config.skull_strip, n_threads=n_threads), "brain_mask", threads=n_threads)
    # ANTs and Greedy take their threads from the environment (workflows.environment.prepare).
    bias = node(steps.bias_field(sloppy=config.sloppy), "bias_field", threads=n_threads)
    normalise = node(
        steps.normalise(**space, **engine, seed=config.random_seed, sloppy=config.sloppy),
        "normalise",
        threads=n_threads,
    )
    tissues = node(
        steps.tissues(**space, **engine, sloppy=config.sloppy),
        "tissues",
        threads=n_threads if segmenter.threaded else 1,
        needs=segmenter.memory,
    )
    modulate = node(steps.modulate(**space, fwhm=config.smoothing_fwhm), "modulate")
    quality = node(steps.quality(**space), "quality")
    # Only unfinished scans are here: their outputs are written again even where the work folder knows every step.
    write = node(
        steps.write(
            scan=scan,
            bids_dir=str(config.bids_dir),
            output_dir=str(config.output_dir),
            labels=dict(labels),
            fingerprint=fingerprint(config, scan),
            fwhm=config.smoothing_fwhm,
            sloppy=config.sloppy,
            **engine,
        ),
        "write",
        overwrite=True,
    )
    figures = node(
        steps.figures(prefix=scan.prefix, output_dir=str(config.output_dir), template=config.template), "figures"
    )
    native = [("gm", "gm"), ("wm", "wm"), ("csf", "csf")]
    spots = ("hypointensities", "hypointensities")
    standard = [(k, k) for k in ("t1w_std", "mask_std", "gm_std", "wm_std", "csf_std", "modulated")]
    workflow.connect(
        [
            (conform, brain, [("t1w", "t1w")]),
            (conform, bias, [("t1w", "t1w")]),
            (conform, write, [("facts", "conformed")]),
            (conform, quality, [("facts", "conformed")]),
            (brain, bias, [("mask", "mask")]),
            (bias, normalise, [("corrected", "corrected")]),
            (brain, normalise, [("mask", "mask")]),
            (bias, tissues, [("corrected", "corrected")]),
            (brain, tissues, [("mask", "mask")]),
            (normalise, tissues, [("forward", "forward"), ("inverse", "inverse")]),
            (bias, modulate, [("corrected", "corrected")]),
            (brain, modulate, [("mask", "mask")]),
            (tissues, modulate, native),
            (normalise, modulate, [("forward", "forward"), ("inverse", "inverse")]),
            (bias, quality, [("corrected", "corrected"), ("field", "field")]),
            (brain, quality, [("mask", "mask"), ("facts", "facts")]),
            (tissues, quality, [*native, spots]),
            (modulate, quality, [("modulated", "modulated"), ("jacobian", "jacobian"), ("mask_std", "mask_std")]),
            (bias, write, [("corrected", "t1w")]),
            (brain, write, [("mask", "mask")]),
            (tissues, write, [*native, spots]),
            (normalise, write, [("forward", "forward"), ("inverse", "inverse")]),
            (modulate, write, [*standard, ("smoothed", "smoothed")] if config.smoothing_fwhm > 0 else standard),
            (quality, write, [("quality", "quality")]),
            (write, figures, [("written", "written")]),
            (modulate, figures, [("jacobian", "jacobian")]),
        ]
    )
    if config.model:
        name = parse_name(config.template)[0]
        _add_encoding(workflow, config, scan, name, source=(modulate, "modulated"), write=write)
    return workflow
