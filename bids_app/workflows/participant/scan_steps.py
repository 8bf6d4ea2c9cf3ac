"""The participant level's steps as functions from files to files: load, call the science, save."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...schema.segmenters import KEY
from ..engine.interface import step


@step("t1w", "conformed")
def conform(folder: Path, image: Path, source: dict[str, Any]) -> dict[str, Any]:
    """Check a T1w image and bring it to RAS, float32, air at zero.

    ``source`` says what the image was when the run began: with another one the step is another, too.
    """
    from ...bids.source import hash_content
    from ...participant.inputs import read_t1w

    t1w, scale, uncertain, sizes_differ = read_t1w(image)
    facts: dict[str, Any] = {"SourceFile": {**source, "SHA256": hash_content(image)}}
    facts |= {"IntensityZero": scale.zero, "IntensityFactor": scale.factor, "SidesUncertain": uncertain}
    facts["VoxelSizesDiffer"] = round(sizes_differ, 4)
    if scale.fill is not None:
        facts["IntensityFill"] = scale.fill
    return {"t1w": _save(t1w, folder / "t1w.nii"), "conformed": facts}


@step("mask", "stripping")
def brain_mask(folder: Path, t1w: Path, skull_strip: str, n_threads: int) -> dict[str, Any]:
    """Strip the skull, or find that it was stripped."""
    from ...participant.skullstrip import cut_area, extract_brain

    scan = _load(t1w)
    found = extract_brain(scan, mode=skull_strip, n_threads=n_threads)
    facts = {"SkullStripMethod": found.method, "SkullStripped": bool(found.input_was_stripped)}
    facts["CutArea"] = round(cut_area(found.mask, None if found.input_was_stripped else scan), 1)
    if found.missing_share is not None:
        facts["MissingShare"] = round(found.missing_share, 4)
    return {"mask": _save(found.mask, folder / "mask.nii"), "stripping": facts}


@step("corrected", "field")
def bias_field(folder: Path, t1w: Path, mask: Path, sloppy: bool) -> dict[str, Any]:
    """Correct the bias field."""
    from ...participant.bias import correct_bias

    corrected, field = correct_bias(_load(t1w), _load(mask), sloppy=sloppy)
    return {"corrected": _save(corrected, folder / "corrected.nii"), "field": _save(field, folder / "field.nii")}


@step("forward", "inverse")
def normalise(
    folder: Path,
    corrected: Path,
    mask: Path,
    template: str,
    resolution: float,
    segmentation: str,
    random_seed: int,
    sloppy: bool,
) -> dict[str, Any]:
    """Register the brain to the template."""
    from ...participant.normalize import register
    from ...space.templates import get_template

    found = register(
        _load(corrected),
        _load(mask),
        get_template(template, resolution),
        work_dir=folder,
        seed=random_seed,
        sloppy=sloppy,
        segmentation=segmentation,
    )
    return {"forward": found.forward, "inverse": found.inverse}


@step("gm", "wm", "csf", "hypointensities")
def tissues(
    folder: Path,
    corrected: Path,
    mask: Path,
    forward: Path,
    inverse: Path,
    template: str,
    resolution: float,
    segmentation: str,
    sloppy: bool,
) -> dict[str, Any]:
    """Segment grey matter, white matter and fluid with the template's priors."""
    from ...participant.segmenters import segmenter
    from ...participant.transforms import Transforms, in_mask, warp_priors, whole
    from ...space.templates import get_template

    head = _load(corrected)
    inside, image = in_mask(_load(mask), head)  # priors are wanted nowhere else, and a head is several brains large
    priors = warp_priors(get_template(template, resolution), image, Transforms(forward, inverse))
    found = segmenter(segmentation)(image, inside, *priors, sloppy=sloppy)
    kinds = "gm", "wm", "csf", "hypointensities"
    return {k: _save(whole(getattr(found, k), head), folder / f"{k}.nii") for k in kinds}


@step("t1w_std", "mask_std", "gm_std", "wm_std", "csf_std", "modulated", "jacobian", "smoothed")
def modulate(
    folder: Path,
    corrected: Path,
    mask: Path,
    gm: Path,
    wm: Path,
    csf: Path,
    forward: Path,
    inverse: Path,
    template: str,
    resolution: float,
    smoothing_fwhm: float,
    n_threads: int,
) -> dict[str, Any]:
    """Bring everything to the template, and scale grey matter by the Jacobian."""
    from ...participant import modulate as science
    from ...participant.transforms import Transforms, warp
    from ...space.templates import get_template

    target = get_template(template, resolution)
    found = science.modulate(_load(gm), Transforms(forward, inverse), target, work_dir=folder)
    native = {"t1w_std": corrected, "gm_std": gm, "wm_std": wm, "csf_std": csf}
    images = {k: warp(_load(v), target.t1w, forward) for k, v in native.items()}
    images["mask_std"] = warp(_load(mask), target.t1w, forward, interpolation="nearest")
    images |= {"modulated": found.gm, "jacobian": found.jacobian}
    if smoothing_fwhm > 0:
        images["smoothed"] = science.smooth(found.gm, smoothing_fwhm)
    return _save_all(images, folder, n_threads)


@step("quality")
def quality(
    folder: Path,
    corrected: Path,
    field: Path,
    mask: Path,
    gm: Path,
    wm: Path,
    csf: Path,
    hypointensities: Path,
    modulated: Path,
    jacobian: Path,
    mask_std: Path,
    stripping: dict[str, Any],
    conformed: dict[str, Any],
    template: str,
    resolution: float,
) -> dict[str, Any]:
    """Measure what says whether the map can be trusted, and judge it."""
    from ...participant.modulate import Modulated
    from ...participant.quality import judge, measure, usual_ranges
    from ...participant.tissue import Tissues
    from ...space.templates import get_template

    metrics = measure(
        _load(corrected),
        _load(mask),
        _load(field),
        Tissues(csf=_load(csf), gm=_load(gm), wm=_load(wm), hypointensities=_load(hypointensities)),
        Modulated(gm=_load(modulated), jacobian=_load(jacobian)),
        _load(mask_std),
        get_template(template, resolution),
        stripped=stripping["SkullStripped"],
    )
    metrics |= {**stripping, **{key: conformed[key] for key in ("SidesUncertain", "VoxelSizesDiffer")}}
    verdict, reasons = judge(metrics)
    judged = {"QualityVerdict": verdict, "QualityReasons": reasons, "QualityLimits": usual_ranges()}
    return {"quality": {**metrics, **judged}}


@step("recon", "encoded")
def encode(folder: Path, modulated: Path, model: str, weights: str, space: str, participant: str) -> dict[str, Any]:
    """Encode the map with a trained model, and see how well the model knows such a brain.

    ``weights`` is the hash of the model's: another model in the same folder is another one.
    """
    from ...participant.encode import encode_scan

    found = encode_scan(_load(modulated), model, space, participant)
    encoded = {
        "Latents": found.latents,
        "ReconstructionError": found.error,
        "ReconstructionErrorPercentile": found.error_percentile,
        "ReconstructionErrorP": found.error_p,
        "ReconstructionErrorPBound": found.error_p_bound,
        "ExplainedVariance": found.explained_variance,
        "InTrainingCohort": found.in_training,
        "ModelWeights": weights,
    }
    return {"recon": _save(found.reconstruction, folder / "recon.nii.gz"), "encoded": encoded}


@step("written", always=True)  # only unfinished scans come here, even where the work folder knows every step
def write(
    folder: Path,
    scan: Any,
    bids_dir: str,
    output_dir: str,
    labels: dict[str, Any],
    fingerprint: str,
    smoothing_fwhm: float,
    segmentation: str,
    sloppy: bool,
    conformed: dict[str, Any],
    quality: dict[str, Any],
    corrected: Path,
    mask: Path,
    gm: Path,
    wm: Path,
    csf: Path,
    hypointensities: Path,
    forward: Path,
    inverse: Path,
    t1w_std: Path,
    mask_std: Path,
    gm_std: Path,
    wm_std: Path,
    csf_std: Path,
    modulated: Path,
    jacobian: Path,
    template: str,
    n_threads: int,
    smoothed: Path | None = None,
    recon: Path | None = None,
    encoded: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Copy the results into the output dataset, with their sidecars, and draw what can be drawn only now."""
    from ...bids.anat import write_outputs
    from ...bids.participants import copy_participants
    from ...reports.participant_figures import draw_jacobian, template_or_none
    from ...reports.scan_outputs import ScanOutputs

    files = {
        "t1w": corrected,
        "mask": mask,
        "gm": gm,
        "wm": wm,
        "csf": csf,
        "hypointensities": hypointensities,
        "forward": forward,
        "inverse": inverse,
        "t1w_std": t1w_std,
        "mask_std": mask_std,
        "gm_std": gm_std,
        "wm_std": wm_std,
        "csf_std": csf_std,
        "modulated": modulated,
        **({"smoothed": smoothed} if smoothed else {}),
        **({"recon": recon} if recon else {}),
    }
    stripped = quality["SkullStripped"]
    engine = {KEY: segmentation}
    source = {"SourceFile": conformed["SourceFile"]}
    conformed = {key: value for key, value in conformed.items() if key not in source}
    metadata = {
        **dict.fromkeys(("gm", "wm", "csf", "gm_std", "wm_std", "csf_std"), engine),
        "gm": {**engine, "Fingerprint": fingerprint},
        "t1w": {"SkullStripped": stripped, **conformed},
        "t1w_std": {"SkullStripped": stripped, **conformed},
        "modulated": {
            **quality,
            **engine,
            "Modulated": True,
            "Units": "ml per ml",
            **({"Sloppy": True} if sloppy else {}),
            **source,
            "Fingerprint": fingerprint,
        },
        "smoothed": {"SmoothingFWHM": smoothing_fwhm, "Modulated": True, "Units": "ml per ml"},
        "recon": {**(encoded or {}), "Units": "ml per ml"},
    }
    # Before the outputs, which say that a scan is finished: a run that is killed after them draws no work file again.
    anat = Path(output_dir) / scan.folder
    pictured = ScanOutputs(scan.prefix, anat, Path(output_dir) / scan.prefix.split("_")[0] / "figures")
    draw_jacobian(pictured, jacobian, template_or_none(template))
    # Work files are plain for speed, outputs compressed.
    plain = {kind: _load(path) for kind, path in files.items() if path.suffix == ".nii"}
    write_outputs(files | _save_all(plain, folder, n_threads), Path(output_dir), scan, labels, metadata)
    copy_participants(Path(bids_dir), Path(output_dir))
    return {"written": str(folder)}


@step("modulated", "facts")
def adopt(
    folder: Path,
    image: Path,
    source: dict[str, Any],
    dataset: str,
    template: str,
    is_modulated: bool,
    transform: Path | None = None,
    tiv: float | None = None,
) -> dict[str, Any]:
    """Take a precomputed grey-matter map as it stands; modulate it where its transform lies beside it.

    What it gives is called ``modulated``, as in the other branch, also where a plain probability map stays one.
    It is measured like any other. What its sidecar says of its quality, if LatentAtlas made it, still holds: a map
    that failed there fails here.
    """
    from ...bids.anat import read_quality
    from ...bids.source import hash_content
    from ...bids.versions import map_version
    from ...participant.precomputed import load_map, modulate_map
    from ...schema.measures import QUALITY_COLUMNS
    from ..judged_maps import judge_map

    found = load_map(image, modulated=is_modulated)
    if not is_modulated and transform is not None:
        found, is_modulated = modulate_map(found, transform, folder), True
    told = {KEY, "QualityLimits", "JacobianRange", *(column.name for column in QUALITY_COLUMNS)}
    sidecar = read_quality(image)
    facts = {key: value for key, value in sidecar.items() if key in told}
    facts |= {"TIV": tiv} if tiv else {}
    facts |= judge_map(image, found, template, facts, modulated=is_modulated)
    if version := map_version(sidecar):
        facts["SourceLatentAtlasVersion"] = version
    facts |= {"SourceDataset": dataset, "SourceFile": {**source, "SHA256": hash_content(image)}}
    facts |= {"Modulated": is_modulated, "Precomputed": True, **({"Units": "ml per ml"} if is_modulated else {})}
    return {"modulated": _save(found, folder / "map.nii.gz"), "facts": facts}


@step("written", always=True)
def write_adopted(
    folder: Path,
    scan: Any,
    bids_dir: str,
    output_dir: str,
    labels: dict[str, Any],
    fingerprint: str,
    kind: str,
    modulated: Path,
    facts: dict[str, Any],
    smoothing_fwhm: float,
    recon: Path | None = None,
    encoded: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Copy a precomputed map into the output dataset, with what is known of it."""
    from ...bids.anat import write_outputs
    from ...bids.participants import copy_participants
    from ...participant.modulate import smooth

    files = {kind: modulated}
    if kind == "modulated" and smoothing_fwhm > 0:
        files["smoothed"] = _save(smooth(_load(modulated), smoothing_fwhm), folder / "smoothed.nii.gz")
    if recon is not None:
        files["recon"] = recon
    metadata = {
        kind: {**facts, "Fingerprint": fingerprint},
        "smoothed": {"SmoothingFWHM": smoothing_fwhm, "Modulated": True, "Units": "ml per ml"},
        "recon": {**(encoded or {}), "Units": "ml per ml"},
    }
    write_outputs(files, Path(output_dir), scan, labels, metadata)
    copy_participants(Path(bids_dir), Path(output_dir))
    return {"written": str(folder)}


@step()
def figures(folder: Path, prefix: str, output_dir: str, template: str, written: str) -> dict[str, Any]:
    """Draw the reportlets of a scan from what was written."""
    from ...reports.participant_figures import make_scan_figures, template_or_none
    from ...reports.scan_outputs import find_scans

    subject = prefix.split("_")[0]
    scan = next(s for s in find_scans(Path(output_dir), subject) if s.prefix == prefix)
    make_scan_figures(scan, template_or_none(template))
    return {}


def _save_all(images: dict[str, Any], folder: Path, n_threads: int) -> dict[str, Path]:
    """Compressed files of images, two at a time where there are threads: memory is reserved for two."""
    with ThreadPoolExecutor(max_workers=min(2, n_threads)) as pool:
        paths = pool.map(lambda name: _save(images[name], folder / f"{name}.nii.gz"), images)
        return dict(zip(images, paths, strict=True))


def _load(path: Path) -> Any:
    import nibabel as nib

    return nib.load(path)


def _save(image: Any, path: Path) -> Path:
    image.to_filename(path)
    return path
