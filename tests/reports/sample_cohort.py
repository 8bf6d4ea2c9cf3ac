"""An output folder of the group level, made up but of the right shape, without running a stage."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_app.space.atlases import load_atlas, paint
from bids_app.space.templates import get_template

SPACE = "MNI152NLin2009aSym"
CONTRASTS = ("CN vs AD", "MMSE")


def write_cohort(folder: Path, n: int = 36, latents: int = 16, seed: int = 0, planted: int = 6) -> pd.DataFrame:
    """Write every group-level file into `folder`; returns the table of planted regions (index, name, change)."""
    rng = np.random.default_rng(seed)
    template = get_template(SPACE, 2.0)
    atlas = load_atlas("AAL2", template.t1w)
    regions = atlas.table
    n_regions = len(regions)
    for part in ("group", "phenotype", f"tpl-{SPACE}/anat", "logs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    anat = folder / f"tpl-{SPACE}" / "anat"
    nib.save(
        nib.Nifti1Image(np.asarray(atlas.image.dataobj).astype(np.int16), atlas.image.affine),
        anat / f"tpl-{SPACE}_atlas-AAL2_dseg.nii.gz",
    )
    regions.to_csv(anat / f"tpl-{SPACE}_atlas-AAL2_dseg.tsv", sep="\t", index=False)

    ids = [f"sub-{i + 1:03d}" for i in range(n)]
    group = np.array(["CN", "AD", "MCI"])[rng.choice(3, n, p=[0.4, 0.4, 0.2])]
    ill = (group == "AD").astype(float) + 0.5 * (group == "MCI")
    people = pd.DataFrame(
        {
            "participant_id": ids,
            "age": rng.normal(71, 6, n).round(),
            "sex": rng.choice(["F", "M"], n),
            "diagnosis": group,
            "MMSE": (29 - 6 * ill + rng.normal(0, 1.5, n)).clip(10, 30).round(),
        }
    )
    people.loc[2, "age"] = np.nan
    tsv(people, folder / "participants.tsv")

    hit = rng.choice(n_regions, planted, replace=False)
    volumes = rng.normal(6, 1, (n, n_regions)) + rng.normal(0, 0.5, (n, 1))
    volumes[:, hit] *= 1 - 0.25 * ill[:, None]
    z = rng.normal(size=(n, latents))
    z[:, :3] += 1.6 * ill[:, None]
    error = 0.004 + 0.001 * ill + rng.gamma(2, 0.0005, n)
    fold = np.arange(n) % 5
    key = {"participant_id": ids}
    tsv(pd.DataFrame(key | {f"latent_{k + 1:02d}": z[:, k] for k in range(latents)}), folder / "phenotype/latents.tsv")
    tsv(pd.DataFrame(key | dict(zip(regions["name"], volumes.T, strict=True))), folder / "phenotype/regional_gm.tsv")
    tsv(
        pd.DataFrame(key | {"error": error, "explained_variance": 1 - error / 0.008, "fold": fold}),
        folder / "phenotype/reconstruction.tsv",
    )
    spread = {
        f"{m}_{i + 1}": z[:, i] * s + rng.normal(0, 0.3, n)
        for m, s in (("pca", 1), ("tsne", 12), ("pls", 2), ("umap", 5))
        for i in range(3 if m == "pca" else 2)
    }
    tsv(pd.DataFrame(key | spread), folder / "phenotype/projections.tsv")
    seeds = [
        pd.DataFrame(key | {"method": m, "seed": s, "x": z[:, 0] + 0.2 * s * rng.normal(size=n), "y": z[:, 1]})
        for m in ("tsne", "umap")
        for s in range(3)
    ]
    tsv(pd.concat(seeds), folder / "group/projection_seeds.tsv")
    verdict = np.array(["pass"] * n, dtype=object)
    verdict[[1, 5]] = "look", "fail"
    quality = key | {
        "GMVolume": rng.normal(640, 50, n),
        "WMVolume": rng.normal(520, 45, n),
        "CSFVolume": rng.normal(330, 50, n),
        "GMVolumeConservation": rng.normal(1, 0.003, n),
        "MaskOverlap": rng.normal(0.97, 0.004, n),
    }
    quality = pd.DataFrame(quality)
    quality["TIV"] = quality[["GMVolume", "WMVolume", "CSFVolume"]].sum(axis=1)
    quality["QualityVerdict"], quality["QualityReasons"] = (
        verdict,
        ["" if v == "pass" else "grey matter <b>low</b>" for v in verdict],
    )
    tsv(quality, folder / "phenotype/quality.tsv")

    strength = rng.gamma(1.2, 0.03, n_regions)
    strength[hit] += 0.25
    lrcp = []
    for contrast in CONTRASTS:
        value = strength * rng.uniform(0.8, 1.2, n_regions)
        rank = n_regions - np.argsort(np.argsort(value))
        lrcp.append(
            pd.DataFrame(
                {
                    "index": regions["index"],
                    "name": regions["name"],
                    "contrast": contrast,
                    "lrcp": value,
                    "p_fwe": np.clip(np.exp(-18 * value) * 1.1, 0.001, 1),
                    "r2": np.clip(value + rng.normal(0, 0.05, n_regions), -0.05, 1),
                    "auc": np.clip(0.5 + value, 0, 1),
                    "rank_median": rank,
                    "rank_iqr": rng.gamma(2, 6, n_regions),
                }
            )
        )
        nib.save(paint(value, atlas), folder / f"group/lrcp_{contrast.replace(' ', '')}.nii.gz")
    lrcp = pd.concat(lrcp)
    tsv(lrcp, folder / "group/lrcp_regions.tsv")
    rho = np.clip(
        rng.normal(0, 0.17, (n_regions, latents))
        + np.outer(np.isin(np.arange(n_regions), hit), rng.normal(0, 0.35, latents)),
        -0.95,
        0.95,
    )
    profile = pd.DataFrame(
        {
            "index": np.repeat(regions["index"], latents),
            "name": np.repeat(regions["name"], latents),
            "latent": np.tile([f"latent_{k + 1:02d}" for k in range(latents)], n_regions),
            "rho": rho.ravel(),
        }
    )
    profile["p_fwe"] = np.clip(np.exp(-9 * profile["rho"].abs()) * 8, 0.001, 1)
    profile["q"] = profile["p_fwe"] / 2
    tsv(profile, folder / "group/lrcp_profile.tsv")

    shap = rng.normal(0, 1, (n, n_regions)) * rng.gamma(1, 2e-5, n_regions)
    tsv(pd.DataFrame(key | dict(zip(regions["name"], shap.T, strict=True))), folder / "group/shap_values.tsv")
    mean = np.abs(shap).mean(0)
    tsv(
        pd.DataFrame(
            {
                "index": regions["index"],
                "name": regions["name"],
                "mean_abs_shap": mean,
                "ci_low": mean * 0.7,
                "ci_high": mean * 1.4,
                "mean_abs_shap_AD": mean * 1.2,
                "mean_abs_shap_CN": mean * 0.9,
            }
        ),
        folder / "group/shap_regions.tsv",
    )
    nib.save(paint(mean, atlas), folder / "group/shap.nii.gz")
    chance = 0.5
    sam = pd.DataFrame(
        {
            "index": regions["index"],
            "name": regions["name"],
            "contrast": CONTRASTS[0],
            "error": np.clip(0.5 - strength, 0.05, 0.6),
        }
    )
    sam["bound"], sam["chance"] = sam["error"] + 0.28, chance
    sam["survives"] = sam["bound"] < chance
    tsv(sam, folder / "group/sam_regions.tsv")
    nib.save(paint(np.where(sam["survives"], chance - sam["bound"], 0), atlas), folder / "group/sam_CNvsAD.nii.gz")

    claims = [
        "latents separate CN vs AD",
        "latents separate CN vs AD",
        "latents separate CN vs AD",
        "latents separate CN vs AD",
        "latents predict MMSE",
        "latents predict MMSE",
    ]
    methods = [
        "CUBV, PAC-Bayes as published",
        "CUBV, PAC-Bayes strict",
        "CUBV, Vapnik",
        "permutation test",
        "SAR, PAC-Bayes strict",
        "permutation test",
    ]
    validation = pd.DataFrame(
        {
            "claim": claims,
            "method": methods,
            "n": n,
            "error": [0.21, 0.29, 0.21, 0.21, 0.42, 0.42],
            "bound": [0.38, 0.61, 1.0, np.nan, 0.9, np.nan],
            "p": [np.nan, np.nan, np.nan, 0.001, np.nan, 0.04],
            "alpha": 0.05,
            "chance": [0.5, 0.5, 0.5, 0.5, 0.71, 0.71],
        }
    )
    tsv(validation, folder / "group/validation.tsv")
    tsv(
        pd.DataFrame(
            [
                (
                    "The latents separate CN from AD",
                    "supported in the worst case",
                    "bound 0.38 < chance 0.50",
                    "Even in the worst case the error stays below guessing.",
                ),
                (
                    "The latents predict MMSE",
                    "supported",
                    "p = 0.04",
                    "Held-out predictions beat chance, but the worst case does not exclude it.",
                ),
                (
                    "The autoencoder beats PCA",
                    "not supported",
                    "0.21 < 0.24",
                    "PCA of the same size explains more of held-out maps.",
                ),
                (
                    "The latents separate MCI from CN",
                    "not testable",
                    "n = 3",
                    "Too few participants <script>alert(1)</script>.",
                ),
            ],
            columns=["claim", "verdict", "deciding_number", "sentence"],
        ),
        folder / "group/verdicts.tsv",
    )
    rows = [
        (c, f, n, a, a - 0.1, a + 0.09, a + 0.03)
        for c in CONTRASTS
        for f, a in (("autoencoder latents", 0.74), ("PCA latents", 0.76), ("regional GM", 0.8), ("covariates", 0.6))
    ]
    baselines = pd.DataFrame(
        rows, columns=["contrast", "features", "n", "balanced_accuracy", "ci_low", "ci_high", "auc"]
    )
    baselines["delta_vs_latent"] = baselines["balanced_accuracy"] - 0.74
    tsv(baselines, folder / "group/baselines.tsv")
    quality = [
        (m, t, c, a, x)
        for x in CONTRASTS
        for m, t, c, a in (
            ("pca", 0.9, 0.93, 0.71),
            ("tsne", 0.97, 0.92, 0.74),
            ("pls", 0.8, 0.85, 0.77),
            ("umap", 0.95, 0.92, 0.72),
        )
    ]
    tsv(
        pd.DataFrame(quality, columns=["method", "trustworthiness", "continuity", "knn_auc", "contrast"]).assign(
            dimensions=2, seed_disparity=0.21
        ),
        folder / "group/projection_quality.tsv",
    )
    epochs = np.arange(1, 41)
    curves = [
        pd.DataFrame(
            {
                "fold": f,
                "epoch": epochs,
                "train_loss": np.exp(-epochs / 9) + 0.3 - epochs * 0.004,
                "valid_loss": np.exp(-epochs / 9) + 0.42 + 2e-4 * (epochs - 20) ** 2 * (1 + 0.1 * i),
            }
        )
        for i, f in enumerate(["0", "1", "2", "3", "4", "all"])
    ]
    tsv(pd.concat(curves), folder / "group/training.tsv")
    tsv(
        pd.DataFrame(
            {
                "fold": range(5),
                "n_train": n - n // 5,
                "n_test": n // 5,
                "ev_autoencoder": rng.normal(0.21, 0.03, 5),
                "ev_pca": rng.normal(0.24, 0.03, 5),
            }
        ),
        folder / "group/cross_fit.tsv",
    )

    gm = np.asarray(template.gm.dataobj)
    examples, volumes4d = [], []
    for kind, who in (("typical", ids[3]), ("extreme", ids[9])):
        noisy = gm * (1 + 0.2 * rng.normal(size=gm.shape))
        for source, data in (("map", noisy), ("reconstruction", gm)):
            examples.append((len(volumes4d), who, kind, source, 0.005))
            volumes4d.append(data.astype(np.float32))
    nib.save(nib.Nifti1Image(np.stack(volumes4d, -1), template.affine), folder / "group/reconstructions.nii.gz")
    tsv(
        pd.DataFrame(examples, columns=["volume", "participant_id", "kind", "source", "error"]),
        folder / "group/reconstructions.tsv",
    )
    write_learning(folder, gm, template.affine, str(ids[4]))
    moved = [(v, latent, sd, 0.3) for v, (latent, sd) in enumerate((k, s) for k in (2, 5) for s in (-2.0, 2.0))]
    tsv(pd.DataFrame(moved, columns=["volume", "latent", "sd", "variance_share"]), folder / "group/traversals.tsv")
    changes = np.stack([0.05 * sd * gm * (latent - 1) for _, latent, sd, _ in moved], -1)
    nib.save(nib.Nifti1Image(changes.astype(np.float32), template.affine), folder / "group/traversals.nii.gz")
    for name, factor in (("AD", 0.02), ("CN", 0.01)):
        nib.save(
            nib.Nifti1Image((factor * gm).astype(np.float32), template.affine), folder / f"group/error_{name}.nii.gz"
        )

    summary = {
        "n_scans": n,
        "n_participants": n,
        "groups": {k: int((group == k).sum()) for k in ("CN", "AD", "MCI")},
        "group_column": "diagnosis",
        "contrasts": list(CONTRASTS),
        "covariates": ["age", "sex"],
        "template": SPACE,
        "resolution": 2.0,
        "atlas": "AAL2",
        "smoothing_fwhm": 8.0,
        "seed": 1,
        "folds": 5,
        "latent_dim": latents,
        "n_permutations": 1000,
        "alpha": 0.05,
        "eta": 0.05,
        "left_out": [{"participant_id": "sub-099", "reason": "no modulated map <img src=x onerror=alert(2)>"}],
        "shap": {
            "supported": False,
            "reason": "the model explains none of the held-out error (R² = −0.04)",
            "r2": -0.04,
            "model": "ridge",
        },
        "wall_time": {"train": 312.0, "project": 9.0, "lrcp": 41.0},
    }
    (folder / "group/summary.json").write_text(json.dumps(summary, indent=1))
    truth = regions.iloc[hit].assign(AD=-0.25, MCI=-0.125)
    tsv(truth, folder / "ground_truth.tsv")
    return truth


def write_learning(folder: Path, gm: np.ndarray, affine: np.ndarray, who: str, used: int = 0) -> None:
    """A map, and reconstructions that first come nearer to it and then drift away."""
    target = gm * (1 + 0.2 * np.sin(np.arange(len(gm)) / 4))[:, None, None]
    steps = {0: 0.0, 1: 0.1, 2: 0.3, 4: 0.5, 5: 0.6, 8: -0.4}
    made = [gm + step * (target - gm) for step in steps.values()]
    rows = [(0, who, "map", np.nan, np.nan, used)]
    rows += [(v, who, "reconstruction", e, 0.01, used) for v, e in enumerate(steps, start=1)]
    columns = ["volume", "participant_id", "source", "epoch", "error", "epochs_in_use"]
    tsv(pd.DataFrame(rows, columns=columns), folder / "group/reconstructions_by_epoch.tsv")
    data = np.stack([target, *made], -1).astype(np.float32)
    nib.save(nib.Nifti1Image(data, affine), folder / "group/reconstructions_by_epoch.nii.gz")


def tsv(table: pd.DataFrame, path: Path) -> None:
    """As the pipeline writes its tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
