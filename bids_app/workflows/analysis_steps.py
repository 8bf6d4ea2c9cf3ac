"""The group level's analyses as stages: from the products of the cross-fitting to tables and maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..bids.tables import identifiers, read_tsv, write_table
from ..group.settings import AnalysisSettings
from ..group.study import Design, read_study
from ..schema import model_tables, region_tables, scan_tables, verdict_tables
from .group_steps import write_phenotype
from .stage import stage


@stage("study")
def study(folder: Path, cohort: Path, products: Path, regional: Path, labels: Path, design: Design) -> dict:
    """Put the cohort together, harmonised where that was asked for: what every analysis starts from."""
    from ..group.study import build_questions, build_study, write_study
    from ..space.atlases import read_dseg

    table = read_tsv(cohort)
    regions, questions = read_dseg(labels).table, build_questions(table, design)
    built = build_study(identifiers(table), regions, questions, dict(np.load(products)), np.load(regional))
    return {"study": write_study(folder / "study.npz", built)}


def _paint(values: np.ndarray, labels: Path, path: Path) -> None:
    """Write one number a region as a map on the atlas."""
    from ..space.atlases import paint, read_dseg

    path.parent.mkdir(parents=True, exist_ok=True)
    paint(values, read_dseg(labels)).to_filename(path)


@stage("done")
def project(folder: Path, study: Path, seed: int, n_jobs: int) -> dict:
    """Project the latent space to two and three dimensions."""
    from ..group.project import project as compute

    cohort = read_study(study)
    views = compute(cohort, AnalysisSettings(seed=seed, n_threads=n_jobs))
    write_phenotype(folder, scan_tables.PROJECTIONS, cohort.scans, views.coordinates)
    write_table(folder / "out", model_tables.PROJECTION_QUALITY, views.quality)
    ids = cohort.scans.loc[views.seeds["row"].astype(int)].reset_index(drop=True)
    write_table(folder / "out", model_tables.PROJECTION_SEEDS, ids.join(views.seeds.drop(columns="row")))
    return {"done": True}


@stage("regions", "notes")
def profile(folder: Path, study: Path, labels: Path, permutations: int, seed: int) -> dict:
    """LRCP: which regions the latent space carries, and whether they separate the groups."""
    from ..group.lrcp import lrcp

    cohort = read_study(study)
    found = lrcp(cohort, AnalysisSettings(permutations, seed=seed))
    out = folder / "out" / "group"
    regions = write_table(folder / "out", region_tables.LRCP_REGIONS, found.regions)
    write_table(folder / "out", region_tables.LRCP_PROFILE, found.profile)
    by_contrast = dict(list(found.regions.groupby("contrast", sort=False)))
    _paint(next(iter(by_contrast.values()))["r2"].to_numpy(), labels, out / "r2.nii.gz")
    for contrast in cohort.contrasts:
        if contrast.name in by_contrast:
            _paint(by_contrast[contrast.name]["lrcp"].to_numpy(), labels, out / f"lrcp_{contrast.slug}.nii.gz")
    return {"regions": regions, "notes": found.notes}


@stage("relation", "shap")
def explain(folder: Path, study: Path, labels: Path, permutations: int, seed: int) -> dict:
    """SHAP values of a regression of the reconstruction error on regional grey matter."""
    from ..group.explain import explain as compute
    from ..group.explain import write_relation

    cohort = read_study(study)
    found = compute(cohort, AnalysisSettings(permutations, seed=seed))
    write_table(folder / "out", region_tables.SHAP_REGIONS, found.regions)
    values = pd.concat([cohort.scans, found.values.reset_index(drop=True)], axis=1)
    write_table(folder / "out", region_tables.SHAP_VALUES, values)
    size = found.regions.set_index("index").loc[cohort.regions["index"], "mean_abs_shap"]
    _paint(size, labels, folder / "out" / "group" / "shap.nii.gz")
    return {"relation": write_relation(folder / "relation.json", found.relation), "shap": found.relation.facts}


@stage("regions")
def agnostic_map(folder: Path, study: Path, labels: Path, permutations: int, seed: int) -> dict:
    """SAM: the regions where a classifier's worst-case error stays below chance."""
    from ..group.sam import sam

    cohort = read_study(study)
    found = sam(cohort, AnalysisSettings(permutations, seed=seed))
    for contrast in cohort.contrasts:
        rows = found[found["contrast"] == contrast.name]
        if len(rows):
            margin = np.where(rows["survives"].astype(bool), rows["chance"] - rows["bound"], 0.0)
            _paint(margin, labels, folder / "out" / "group" / f"sam_{contrast.slug}.nii.gz")
    return {"regions": write_table(folder / "out", region_tables.SAM_REGIONS, found)}


@stage("validation")
def validate(
    folder: Path,
    study: Path,
    permutations: int,
    seed: int,
    lrcp_regions: Path,
    sam_regions: Path,
    relation: Path,
) -> dict:
    """Bounds and permutation tests for every claim."""
    from ..group.explain import read_relation
    from ..group.validate import validate as compute

    tables = {"lrcp_regions": read_tsv(lrcp_regions), "sam_regions": read_tsv(sam_regions)}
    settings = AnalysisSettings(permutations, seed=seed)
    validation = compute(read_study(study), settings, relation=read_relation(relation), **tables)
    return {"validation": write_table(folder / "out", verdict_tables.VALIDATION, validation)}


@stage("baselines")
def baselines(folder: Path, study: Path) -> dict:
    """What a sceptic would use instead of the latents, in the same folds."""
    from ..group.baselines import baselines as compute

    return {"baselines": write_table(folder / "out", verdict_tables.BASELINES, compute(read_study(study)))}


@stage("verdicts")
def verdicts(
    folder: Path, study: Path, validation: Path, baselines: Path, lrcp_regions: Path, sam_regions: Path
) -> dict:
    """Grade every claim by the tables as they are written: a reader can check each verdict against them."""
    from ..group.verdicts import verdicts as compute

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
