"""The group level's analyses as stages: from the products of the cross-fitting to tables and maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..bids.tables import identifiers, read_tsv, write_table
from ..schema import model_tables, region_tables, scan_tables, verdict_tables
from .group_steps import write_phenotype
from .stage import stage


class _Study:
    """What every analysis starts from, read back from the files of the stages before it."""

    def __init__(self, cohort: Path, products: Path, regional: Path, labels: Path, design: dict[str, Any]):
        from ..group.design import build_contrasts, build_covariates, read_categories
        from ..group.harmonise import build_sites, harmonise
        from ..space.atlases import read_dseg

        self.cohort = read_tsv(cohort)
        self.products = dict(np.load(products))
        self.regional = np.load(regional)
        self.atlas = read_dseg(labels)
        self.participants = self.cohort["participant_id"].to_numpy()
        file, column = design["file"], design["group_column"]
        self.contrasts = build_contrasts(self.cohort, column, design["contrasts"] or None, file=file) if column else []
        # The site is a covariate whatever else is done about it; the labels have no part in the harmonisation.
        site, others = design["site_column"], [c for c in design["covariates"] if c != design["site_column"]]
        names = [*others, site] if site else others
        self.covariates = build_covariates(self.cohort, names, categories=(site,) if site else (), file=file)
        self.groups = np.array(read_categories(self.cohort, column, file), object) if column else None
        self.fold = self.products["fold"]
        self.regional_by_fold, self._harmonise = None, None
        if design["harmonize"] == "combat":
            sites, kept = build_sites(self.cohort, site, file=file), build_covariates(self.cohort, others, file=file)
            self._harmonise = lambda x: harmonise(x, sites, kept.matrix, self.fold)
            self.regional, self.regional_by_fold = self._harmonise(self.regional)

    def latents(self, name: str, *, as_they_are: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """``(Z, Zf)`` of the autoencoder ("Z") or of PCA ("Zpca"), harmonised where that was asked for."""
        per_fold = self.products.get("Zf" if name == "Z" else "Zpca_f")
        full = self.products.get(name, per_fold[0] if per_fold is not None else None)
        if self._harmonise is None or as_they_are:
            return full, per_fold
        return self._harmonise(full)[0], self._harmonise(full if per_fold is None else per_fold)[1]

    def paint(self, values: np.ndarray, path: Path) -> None:
        """Write one number a region as a map on the atlas."""
        from ..space.atlases import paint

        path.parent.mkdir(parents=True, exist_ok=True)
        paint(values, self.atlas).to_filename(path)


@stage("done")
def project(
    folder: Path, cohort: Path, products: Path, regional: Path, labels: Path, design: dict, n_jobs: int
) -> dict:
    """Project the latent space: PCA, t-SNE, PLS, UMAP."""
    from ..group.project import project as compute

    study = _Study(cohort, products, regional, labels, design)
    views = compute(
        *study.latents("Z", as_they_are=True),
        study.fold,
        study.contrasts,
        study.participants,
        n_jobs=n_jobs,
        seed=design["seed"],
    )
    write_phenotype(folder, scan_tables.PROJECTIONS, study.cohort, views.coordinates)
    write_table(folder / "out", model_tables.PROJECTION_QUALITY, views.quality)
    ids = identifiers(study.cohort).loc[views.seeds["row"].astype(int)].reset_index(drop=True)
    write_table(folder / "out", model_tables.PROJECTION_SEEDS, ids.join(views.seeds.drop(columns="row")))
    return {"done": True}


@stage("regions")
def profile(folder: Path, cohort: Path, products: Path, regional: Path, labels: Path, design: dict) -> dict:
    """LRCP: which regions the latent space carries, and whether they separate the groups."""
    from ..group.lrcp import lrcp

    study = _Study(cohort, products, regional, labels, design)
    found = lrcp(
        *study.latents("Z"),
        study.fold,
        study.regional,
        study.atlas.table,
        study.contrasts,
        study.covariates,
        study.participants,
        Gf=study.regional_by_fold,
        n_permutations=design["permutations"],
        seed=design["seed"],
    )
    out = folder / "out" / "group"
    regions = write_table(folder / "out", region_tables.LRCP_REGIONS, found.regions)
    write_table(folder / "out", region_tables.LRCP_PROFILE, found.profile)
    by_contrast = dict(list(found.regions.groupby("contrast", sort=False)))
    study.paint(next(iter(by_contrast.values()))["r2"].to_numpy(), out / "r2.nii.gz")
    for contrast in study.contrasts:
        if contrast.name in by_contrast:
            study.paint(by_contrast[contrast.name]["lrcp"].to_numpy(), out / f"lrcp_{contrast.slug}.nii.gz")
    (folder / "notes.txt").write_text("\n".join(found.notes))
    return {"regions": regions}


@stage("explained")
def explain(folder: Path, cohort: Path, products: Path, regional: Path, labels: Path, design: dict) -> dict:
    """SHAP values of a regression of the reconstruction error on regional grey matter."""
    from ..group.explain import explain as compute

    study = _Study(cohort, products, regional, labels, design)
    found = compute(
        study.products["err"],
        study.regional,
        study.atlas.table,
        study.fold,
        study.covariates,
        study.participants,
        study.groups,
        Gf=study.regional_by_fold,
        n_permutations=design["permutations"],
        seed=design["seed"],
    )
    out = folder / "out" / "group"
    write_table(folder / "out", region_tables.SHAP_REGIONS, found.regions)
    values = pd.concat([identifiers(study.cohort), found.values.reset_index(drop=True)], axis=1)
    write_table(folder / "out", region_tables.SHAP_VALUES, values)
    numbers = {"r2": found.r2, "p": found.p, "seed_stability": found.seed_stability}
    facts = {"supported": found.supported, "reason": found.reason, "model": found.model}
    facts |= {name: None if np.isnan(value) else float(value) for name, value in numbers.items()}
    (folder / "shap.json").write_text(json.dumps(facts))
    study.paint(found.regions.set_index("index").loc[study.atlas.table["index"], "mean_abs_shap"], out / "shap.nii.gz")
    return {"explained": found}


@stage("regions")
def agnostic_map(folder: Path, cohort: Path, products: Path, regional: Path, labels: Path, design: dict) -> dict:
    """SAM: the regions where a classifier's worst-case error stays below chance."""
    from ..group.sam import sam

    study = _Study(cohort, products, regional, labels, design)
    found = sam(
        study.regional,
        study.atlas.table,
        study.contrasts,
        study.covariates,
        study.fold,
        study.participants,
        Gf=study.regional_by_fold,
        n_permutations=design["permutations"],
        seed=design["seed"],
    )
    out = folder / "out" / "group"
    for contrast in study.contrasts:
        rows = found[found["contrast"] == contrast.name]
        if len(rows):
            margin = np.where(rows["survives"].astype(bool), rows["chance"] - rows["bound"], 0.0)
            study.paint(margin, out / f"sam_{contrast.slug}.nii.gz")
    return {"regions": write_table(folder / "out", region_tables.SAM_REGIONS, found)}


@stage("validation", "baselines", "verdicts")
def validate(
    folder: Path,
    cohort: Path,
    products: Path,
    regional: Path,
    labels: Path,
    design: dict,
    lrcp_regions: Path,
    sam_regions: Path,
    explained: object,
) -> dict:
    """Bounds, permutation tests and baselines for every claim, and the verdicts that follow from them."""
    from ..group.baselines import baselines
    from ..group.validate import validate as compute
    from ..group.verdicts import verdicts

    study = _Study(cohort, products, regional, labels, design)
    lrcp_table, sam_table = read_tsv(lrcp_regions), read_tsv(sam_regions)
    validation = compute(
        *study.latents("Z"),
        study.fold,
        study.contrasts,
        study.covariates,
        study.participants,
        lrcp_regions=lrcp_table,
        sam_regions=sam_table,
        explained=explained,
        n_permutations=design["permutations"],
        seed=design["seed"],
    )
    compared = baselines(
        *study.latents("Z"),
        *study.latents("Zpca"),
        study.regional,
        study.fold,
        study.contrasts,
        study.covariates,
        study.participants,
        Gf=study.regional_by_fold,
    )
    verdict = verdicts(
        validation,
        compared,
        study.contrasts,
        lrcp_regions=lrcp_table,
        sam_regions=sam_table,
        covariate_names=study.covariates.names,
    )
    tables = {
        verdict_tables.VALIDATION: validation,
        verdict_tables.BASELINES: compared,
        verdict_tables.VERDICTS: verdict,
    }
    return {kind.name: write_table(folder / "out", kind, table) for kind, table in tables.items()}
