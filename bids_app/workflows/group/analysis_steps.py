"""The analyses as steps: from the products of the cross-fitting to tables and maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...bids.files import write_json
from ...bids.tables import identifiers, read_tsv, write_table
from ...group.settings import AnalysisSettings
from ...group.study import Design, read_study
from ...schema import model_tables, region_tables, scan_tables, verdict_tables
from ...schema.methods import TFCE_PERMUTATIONS, VOXELWISE_PERMUTATIONS
from ...schema.outputs import (
    GROUP,
    KEPT_MAP,
    LOST_MAP,
    R2_MAP,
    SAM_MAP,
    SHAP_MAP,
    VBM_LOGP,
    VBM_T,
    VBM_T_SIDECAR,
    VBM_TFCE,
)
from ..engine.interface import step
from .model_steps import held_out_models, weights_of, write_phenotype


@step("study", "scan_notes")
def study(
    folder: Path,
    cohort: Path,
    products: Path,
    regional: Path,
    held_out: Path,
    labels: Path,
    design: Design,
    scan_choice: str,
) -> dict[str, Any]:
    """Put the cohort together, harmonised where that was asked for: what every analysis starts from."""
    from ...group.study import build_questions, build_study, describe_scans, write_study
    from ...space.atlas_loaders import read_dseg

    table = read_tsv(cohort)
    regions, questions = read_dseg(labels).table, build_questions(table, design)
    on_grid = np.load(held_out)
    built = build_study(
        identifiers(table),
        regions,
        questions,
        dict(np.load(products)),
        np.load(regional),
        (on_grid["observed"], on_grid["reconstructed"]),
    )
    return {"study": write_study(folder / "study.npz", built), "scan_notes": describe_scans(built, scan_choice)}


def _paint(values: np.ndarray, labels: Path, path: Path) -> None:
    """Write one number per region as a map on the atlas."""
    from ...space.atlas_loaders import paint, read_dseg

    path.parent.mkdir(parents=True, exist_ok=True)
    paint(values, read_dseg(labels)).to_filename(path)


@step()
def project(folder: Path, study: Path, random_seed: int, n_threads: int) -> dict[str, Any]:
    """Project the latent space to two and three dimensions."""
    from ...group.project import project as compute

    cohort = read_study(study)
    views = compute(cohort, AnalysisSettings(seed=random_seed, n_threads=n_threads))
    write_phenotype(folder, scan_tables.PROJECTIONS, cohort.scans, views.coordinates)
    write_table(folder / "out", model_tables.PROJECTION_QUALITY, views.quality)
    ids = cohort.scans.loc[views.seeds["row"].astype(int)].reset_index(drop=True)
    write_table(folder / "out", model_tables.PROJECTION_SEEDS, ids.join(views.seeds.drop(columns="row")))
    return {}


@step("lrcp_regions", "profile_notes")
def profile(
    folder: Path,
    study: Path,
    labels: Path,
    permutations: int,
    random_seed: int,
    scan_choice: str,
    primary: str | None = None,
) -> dict[str, Any]:
    """LRCP: which regional differences the latent space keeps, and which it loses."""
    from ...group.lrcp import lrcp

    cohort = read_study(study)
    found = lrcp(cohort, AnalysisSettings(permutations, seed=random_seed, scan_choice=scan_choice, primary=primary))
    out = folder / "out"
    regions = write_table(folder / "out", region_tables.LRCP_REGIONS, found.regions)
    write_table(folder / "out", region_tables.LRCP_PROFILE, found.profile)
    by_contrast = dict(list(found.regions.groupby("contrast", sort=False)))
    _paint(next(iter(by_contrast.values()))["r2"].to_numpy(), labels, R2_MAP.at(out))
    for contrast in cohort.contrasts:
        if contrast.name in by_contrast:
            for column, image in (("kept_ml", KEPT_MAP), ("lost_ml", LOST_MAP)):
                values = by_contrast[contrast.name][column].to_numpy()
                _paint(values, labels, image.at(out, contrast=contrast.slug))
    return {"lrcp_regions": regions, "profile_notes": found.notes}


@step()
def disease_axis(
    folder: Path, study: Path, all_model: list[Any], labels: Path, harmonize: str, random_seed: int, scan_choice: str
) -> dict[str, Any]:
    """Each person's place on the axis of each contrast, and the grey matter that goes with it."""
    from ...group.disease_axis import disease_axis as compute
    from ...model.regions import region_decoder

    cohort, decoders = read_study(study), []
    if harmonize != "combat":
        held_out = held_out_models(all_model)
        weights = weights_of(labels, held_out[0].grid)
        decoders = [region_decoder(model, weights) for model in held_out]
    found = compute(cohort, AnalysisSettings(seed=random_seed, scan_choice=scan_choice), decoders)
    write_table(folder / "out", region_tables.DISEASE_AXIS, found.regions)
    write_phenotype(folder, scan_tables.AXIS_PLACES, cohort.scans, found.places)
    return {}


@step()
def compare_parcels(
    folder: Path, study: Path, volumes: Path, labels: Path, random_seed: int, scan_choice: str
) -> dict[str, Any]:
    """Whether a contrast's pattern follows the atlas's regions better than random parcels of their sizes."""
    from ...group.parcels import compare_parcels as compute
    from ...model.volumes import load_volumes

    maps, settings = load_volumes(volumes), AnalysisSettings(seed=random_seed, scan_choice=scan_choice)
    weights = weights_of(labels, maps.grid)
    member = np.where(weights.max(axis=1).toarray().ravel() > 0, weights.argmax(axis=1), -1)
    write_table(folder / "out", region_tables.PARCELS, compute(read_study(study), settings, maps, member))
    return {}


@step("relation", "shap")
def explain(
    folder: Path, study: Path, labels: Path, permutations: int, random_seed: int, scan_choice: str
) -> dict[str, Any]:
    """SHAP values of a regression of the reconstruction error on regional grey matter."""
    from ...group.explain import explain as compute
    from ...group.explain import write_relation

    cohort = read_study(study)
    found = compute(cohort, AnalysisSettings(permutations, seed=random_seed, scan_choice=scan_choice))
    write_table(folder / "out", region_tables.SHAP_REGIONS, found.regions)
    values = pd.concat([cohort.scans, found.values.reset_index(drop=True)], axis=1)
    write_table(folder / "out", region_tables.SHAP_VALUES, values)
    size = found.regions.set_index("index").loc[cohort.regions["index"], "mean_abs_shap"]
    _paint(size, labels, SHAP_MAP.at(folder / "out"))
    return {"relation": write_relation(folder / "relation.json", found.relation), "shap": found.relation.facts}


@step("sam_regions")
def agnostic_map(
    folder: Path,
    study: Path,
    labels: Path,
    permutations: int,
    random_seed: int,
    scan_choice: str,
    primary: str | None = None,
) -> dict[str, Any]:
    """SAM: the regions where a classifier's worst-case error stays below chance."""
    from ...group.sam import sam

    cohort = read_study(study)
    found = sam(cohort, AnalysisSettings(permutations, seed=random_seed, scan_choice=scan_choice, primary=primary))
    for contrast in cohort.contrasts:
        rows = found[found["contrast"] == contrast.name]
        if len(rows):
            margin = np.where(rows["survives"].astype(bool), rows["chance"] - rows["bound"], 0.0)
            _paint(margin, labels, SAM_MAP.at(folder / "out", contrast=contrast.slug))
    return {"sam_regions": write_table(folder / "out", region_tables.SAM_REGIONS, found)}


@step()
def predictions(folder: Path, study: Path, permutations: int, random_seed: int, scan_choice: str) -> dict[str, Any]:
    """Out-of-fold predictions of every contrast, and how good they are."""
    from ...group.predictions import predict

    cohort = read_study(study)
    found = predict(cohort, AnalysisSettings(permutations, seed=random_seed, scan_choice=scan_choice))
    ids = cohort.scans.loc[found.people["row"].astype(int)].reset_index(drop=True)
    write_table(folder / "out", verdict_tables.PREDICTIONS, ids.join(found.people.drop(columns="row")))
    write_table(folder / "out", verdict_tables.PREDICTION_QUALITY, found.quality)
    write_table(folder / "out", verdict_tables.CONFUSION, found.confusion)
    return {}


@step()
def norms(folder: Path, study: Path, products: Path, reference_group: str | None = None) -> dict[str, Any]:
    """How far each scan lies from the reference group, and how strange a model from elsewhere finds it."""
    from ...group.norms import deviations

    cohort, made = read_study(study), np.load(products)
    table = deviations(cohort, reference_group) if reference_group else pd.DataFrame(index=range(len(cohort.scans)))
    for place, name in enumerate(name for name in ("error_p", "error_p_bound") if name in made):
        table.insert(place + bool(reference_group), name, made[name])
    write_phenotype(folder, scan_tables.DEVIATIONS, cohort.scans, table)
    return {}


@step()
def vbm(
    folder: Path,
    study: Path,
    maps: list[Path],
    kept: list[Any],
    labels: Path,
    smoothing_fwhm: float,
    voxelwise: str,
    permutations: int,
    random_seed: int,
    n_jobs: int,
    scan_choice: str,
) -> dict[str, Any]:
    """The t test at each voxel of the smoothed maps, family-wise; with "tfce" also cluster enhancement at 3 mm."""
    from tqdm import tqdm

    from ...group.vbm import find_peaks, tfce, threshold
    from ...group.vbm import vbm as compute
    from ...model.volumes import build_volumes
    from ...space.atlas_loaders import read_dseg

    cohort = read_study(study)
    permutations = min(permutations, VOXELWISE_PERMUTATIONS)
    settings = AnalysisSettings(permutations, seed=random_seed, n_threads=n_jobs, scan_choice=scan_choice)
    paths, out, atlas = [maps[row] for row in kept], folder / "out", read_dseg(labels)
    (out / GROUP).mkdir(parents=True, exist_ok=True)
    finest = float(np.linalg.norm(atlas.image.affine[:3, :3], axis=0).min())
    volumes = build_volumes(paths, folder / "fine.npy", fwhm=smoothing_fwhm, resolution=finest, n_jobs=n_jobs)
    names = dict(zip(atlas.table["index"], atlas.table["name"], strict=True))
    at = np.array([names.get(label, "") for label in np.asanyarray(atlas.image.dataobj)[volumes.grid.mask].astype(int)])

    def follow(bar: tqdm) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return progress

    with tqdm(desc="Voxelwise tests", leave=False, disable=None) as bar:
        tests = compute(cohort, settings, volumes, follow(bar))
    for test in tests:
        volumes.grid.to_image(test.t).to_filename(VBM_T.at(out, contrast=test.slug))
        facts = {"Description": VBM_T.description, "Contrast": test.contrast, "DegreesOfFreedom": test.df}
        write_json(VBM_T_SIDECAR.at(out, contrast=test.slug), {**facts, "DrawnFrom": threshold(test)})
        volumes.grid.to_image(-np.log10(test.p_fwe)).to_filename(VBM_LOGP.at(out, contrast=test.slug))
    peaks = [find_peaks(test, volumes, at) for test in tests]
    columns = [column.name for column in region_tables.VBM_PEAKS.columns]
    table = pd.concat(peaks, ignore_index=True) if peaks else pd.DataFrame(columns=columns)
    write_table(folder / "out", region_tables.VBM_PEAKS, table)
    if voxelwise == "tfce":
        coarse = build_volumes(
            paths, folder / "coarse.npy", fwhm=smoothing_fwhm, resolution=max(3.0, finest), n_jobs=n_jobs
        )
        slugs = {contrast.name: contrast.slug for contrast in cohort.contrasts}
        with tqdm(desc="Cluster enhancement", leave=False, disable=None) as bar:
            enhanced = tfce(cohort, settings, coarse, min(permutations, TFCE_PERMUTATIONS), follow(bar))
        for name, p in enhanced.items():
            coarse.grid.to_image(-np.log10(p)).to_filename(VBM_TFCE.at(out, contrast=slugs[name]))
    for array in folder.glob("*.npy"):
        array.unlink()
    return {}


@step("validation")
def validate(
    folder: Path,
    study: Path,
    permutations: int,
    random_seed: int,
    scan_choice: str,
    lrcp_regions: Path,
    sam_regions: Path,
    relation: Path,
    primary: str | None = None,
) -> dict[str, Any]:
    """Bounds and permutation tests for every claim."""
    from ...group.explain import read_relation
    from ...group.validate import validate as compute

    tables = {"lrcp_regions": read_tsv(lrcp_regions), "sam_regions": read_tsv(sam_regions)}
    settings = AnalysisSettings(permutations, seed=random_seed, scan_choice=scan_choice, primary=primary)
    validation = compute(read_study(study), settings, relation=read_relation(relation), **tables)
    return {"validation": write_table(folder / "out", verdict_tables.VALIDATION, validation)}


@step("baselines")
def baselines(folder: Path, study: Path, scan_choice: str, primary: str | None = None) -> dict[str, Any]:
    """What a sceptic would use instead of the latents, in the same folds."""
    from ...group.baselines import baselines as compute

    found = compute(read_study(study), AnalysisSettings(scan_choice=scan_choice, primary=primary))
    return {"baselines": write_table(folder / "out", verdict_tables.BASELINES, found)}


@step("verdicts")
def verdicts(
    folder: Path, study: Path, validation: Path, baselines: Path, lrcp_regions: Path, sam_regions: Path
) -> dict[str, Any]:
    """Grade every claim by the tables as they are written: a reader can check each verdict against them."""
    from ...group.verdicts import verdicts as compute

    cohort = read_study(study)
    graded = compute(
        read_tsv(validation),
        read_tsv(baselines),
        cohort.contrasts,
        lrcp_regions=read_tsv(lrcp_regions),
        sam_regions=read_tsv(sam_regions),
        covariate_names=cohort.covariates.names,
    )
    return {"verdicts": write_table(folder / "out", verdict_tables.VERDICTS, graded)}
