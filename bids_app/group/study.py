"""The cohort as every analysis sees it: built once, harmonised once, and carried from step to step in one file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_app.delimited import listed
from bids_app.errors import ConfigError, DatasetError
from bids_app.group.column_values import name_doubts
from bids_app.group.design import Contrast, Covariates, build_contrasts, build_covariates, read_categories
from bids_app.group.harmonise import build_sites, harmonise
from bids_app.group.rows import rows_of
from bids_app.schema.outputs import PARTICIPANTS


@dataclass(frozen=True, eq=False)
class Features:
    """Numbers of every scan, from the model or the harmonisation of all scans and from that of each fold.

    Attributes
    ----------
    full : ndarray of shape (N, K)
    by_fold : ndarray of shape (F, N, K) or None
        Element f was learnt without the scans of fold f; None where one set of numbers serves every fold.
    """

    full: np.ndarray
    by_fold: np.ndarray | None = None

    @property
    def cross_fitted(self) -> np.ndarray:
        """What a prediction for held-out scans may start from: ``by_fold``, else ``full``."""
        return self.full if self.by_fold is None else self.by_fold


@dataclass(frozen=True)
class Design:
    """What was asked about the cohort, in the words of the command line.

    Attributes
    ----------
    group_column : str or None
        None: the latent space is described, nothing is compared.
    contrasts, covariates : tuple of str
    site_column : str or None
        A covariate whatever ``harmonize`` says.
    harmonize : str
        ``"combat"``, or anything else for the covariate alone.
    primary : str or None
        The contrast that the study was planned for; one of those that are made.
    reference_group : str or None
        Comes second in all pairs made by default.
    file : str
        Where the columns come from, named in errors.
    """

    group_column: str | None = None
    contrasts: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    site_column: str | None = None
    harmonize: str = "covariate"
    primary: str | None = None
    reference_group: str | None = None
    file: str = PARTICIPANTS.path


@dataclass(frozen=True, eq=False)
class Questions:
    """A design applied to a cohort of N scans.

    Attributes
    ----------
    contrasts : tuple of Contrast
    covariates : Covariates
        The site among them.
    groups : tuple of N str or None; None without a group column
    sites : ndarray of shape (N,), or None
        Only where sites are harmonised.
    preserved : ndarray of shape (N, P)
        Covariates whose effects harmonisation leaves in place: all but the site.
    blocks : ndarray of shape (N,) of str, or None
        Site of every scan, "" where it is missing; None without a site column.
    """

    contrasts: tuple[Contrast, ...]
    covariates: Covariates
    groups: tuple[str | None, ...] | None
    sites: np.ndarray | None
    preserved: np.ndarray
    blocks: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """A cohort of N scans, F folds and R regions, harmonised where that was asked for.

    Attributes
    ----------
    scans : DataFrame, N rows
        `participant_id`, and `session_id` where scans have one; those of one participant in the order in which they
        were made.
    regions : DataFrame, R rows
        `index, name`.
    fold : ndarray of shape (N,), int
        Fold that holds the scan out.
    error : ndarray of shape (N,)
        Reconstruction error of every scan by a model that never saw the participant: 1 - explained variance. The mean
        squared error follows head size.
    latents : Features
        ``by_fold`` is None where one model made beforehand encoded every scan and nothing is harmonised.
    raw_latents : Features
        As encoded, without harmonisation.
    pca : Features or None
        Principal components of the same number.
    regional : Features
        Regional grey matter in ml, (N, R) and (F, N, R).
    observed, reconstructed : ndarray of shape (N, R)
        Regional grey matter in ml on the model's grid: of the map, and of its reconstruction by a model that never saw
        the participant.
    contrasts : tuple of Contrast
    covariates : Covariates
    groups : tuple of N str or None, optional
        Group of every scan.
    error_linear : ndarray of shape (N,), optional
        As ``error``, by the linear model of the same training participants.
    epochs : ndarray of shape (N,), int, optional
        Epochs that the network behind ``error`` was trained for; 0 where it never left its start.
    blocks : ndarray of shape (N,) of str, optional
        Site of every scan: people are exchanged within sites only, whether or not sites are harmonised.
    """

    scans: pd.DataFrame
    regions: pd.DataFrame
    fold: np.ndarray
    error: np.ndarray
    latents: Features
    raw_latents: Features
    pca: Features | None
    regional: Features
    observed: np.ndarray
    reconstructed: np.ndarray
    contrasts: tuple[Contrast, ...]
    covariates: Covariates
    groups: tuple[str | None, ...] | None = None
    error_linear: np.ndarray | None = None
    epochs: np.ndarray | None = None
    blocks: np.ndarray | None = None

    @property
    def participants(self) -> np.ndarray:
        """Participant of every scan (N,)."""
        return self.scans["participant_id"].to_numpy()


def build_questions(cohort: pd.DataFrame, design: Design) -> Questions:
    """Contrasts, covariates and sites of a table with one row per scan.

    Raises
    ------
    DatasetError
        A column is absent or cannot serve; contrasts without a group column; sites too small to harmonise.
    ConfigError
        Harmonisation without a site column; a primary contrast that is none of the contrasts.
    """
    file, column, site = design.file, design.group_column, design.site_column
    contrasts: list[Contrast] = []
    if column:
        asked = list(design.contrasts) or None
        contrasts = build_contrasts(cohort, column, asked, reference_group=design.reference_group, file=file)
    elif design.contrasts:
        raise DatasetError(
            "contrasts need --group-column", file=file, remedy="give the column that contains the groups"
        )
    if design.primary is not None and design.primary not in (known := [contrast.name for contrast in contrasts]):
        raise ConfigError(
            f"--primary {design.primary} is not one of the contrasts",
            remedy=f"contrasts of this run: {', '.join(known)}" if known else "it needs --group-column",
        )
    others = [name for name in design.covariates if name != site]
    categories = (site,) if site else ()
    covariates = build_covariates(cohort, [*others, *categories], categories=categories, file=file)
    preserved = build_covariates(cohort, others, file=file).matrix
    groups = tuple(read_categories(cohort, column, file)) if column else None
    sites = None
    blocks = np.array([s or "" for s in read_categories(cohort, site, file)]) if site else None
    if design.harmonize == "combat":
        if not site:
            raise ConfigError("--harmonize combat needs sites", remedy="give them with --site-column")
        sites = build_sites(cohort, site, file=file)
    return Questions(tuple(contrasts), covariates, groups, sites, preserved, blocks)


def describe_missing(cohort: pd.DataFrame, design: Design, questions: Questions) -> str:
    """Who has no scan with all covariates, and what is missing; empty where everybody has one."""
    complete = set(cohort.loc[questions.covariates.complete, "participant_id"])
    people = [str(one) for one in dict.fromkeys(cohort["participant_id"]) if one not in complete]
    if not people:
        return ""
    site = () if design.site_column is None else (design.site_column,)
    known = {
        name: build_covariates(cohort, [name], categories=site, file=design.file).complete
        for name in dict.fromkeys([*design.covariates, *site])
    }
    counts = [f"{name} in {int((~there).sum())}" for name, there in known.items() if not there.all()]
    total = cohort["participant_id"].nunique()
    return (
        f"covariates are missing (scans without {', '.join(counts)}): {len(people)} of {total} participants take part "
        f"in no test that removes covariates: {listed(people)}"
    )


def doubtful_categories(cohort: pd.DataFrame, design: Design, questions: Questions) -> list[str]:
    """What may be meant otherwise in the columns of categories that a design uses, a sentence each."""
    groups = [design.group_column] if any(c.kind != "score" for c in questions.contrasts) else []
    sites = [design.site_column] if design.site_column else []
    dummies = [name for name in design.covariates if name not in questions.covariates.names]
    return name_doubts(cohort, [name for name in (*groups, *sites, *dummies) if name])


def build_study(
    scans: pd.DataFrame,
    regions: pd.DataFrame,
    questions: Questions,
    products: dict[str, np.ndarray],
    regional: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray],
) -> Study:
    """Put a cohort together, and harmonise its latents, components and regions.

    The labels of the contrasts have no part in the harmonisation, and a fold's never sees the scans that the fold holds
    out: ``3 (F + 1)`` fits of ComBat, and one each for the maps and the reconstructions on the model's grid.

    Parameters
    ----------
    scans : DataFrame, N rows
    regions : DataFrame, R rows
    questions : Questions
    products : dict
        Of :func:`bids_app.model.cross_fitting.collect`: ``Z`` (N, K), ``fold``, ``ev_ae`` (N,), and where there are any
        ``Zf`` (F, N, K), ``Zpca`` (N, K), ``Zpca_f`` (F, N, K), ``ev_linear``, ``epochs`` (N,).
    regional : ndarray of shape (N, R)
    held_out : tuple of two ndarrays of shape (N, R)
        Observed and reconstructed, of ``model.regions.sum_regions``.
    """
    fold = products["fold"]

    def alike(features: Features) -> Features:
        if questions.sites is None:
            return features
        people = scans["participant_id"].to_numpy()
        made = harmonise(features.full, questions.sites, questions.preserved, fold, people, by_fold=features.by_fold)
        return Features(*made)

    raw = Features(products["Z"], products.get("Zf"))
    components = products.get("Zpca_f")
    full = products.get("Zpca", None if components is None else components[0])
    return Study(
        scans=scans,
        regions=regions,
        fold=fold,
        error=1 - products["ev_ae"],
        latents=alike(raw),
        raw_latents=raw,
        pca=None if full is None else alike(Features(full, components)),
        regional=alike(Features(regional)),
        observed=alike(Features(held_out[0])).full,
        reconstructed=alike(Features(held_out[1])).full,
        contrasts=questions.contrasts,
        covariates=questions.covariates,
        groups=questions.groups,
        error_linear=1 - products["ev_linear"] if "ev_linear" in products else None,
        epochs=products.get("epochs"),
        blocks=questions.blocks,
    )


_ARRAYS = ("fold", "error", "observed", "reconstructed", "error_linear", "epochs", "blocks")
_FEATURES = ("latents", "raw_latents", "pca", "regional")


def write_study(path: Path, study: Study) -> Path:
    """Write a study as one ``.npz`` file without pickles; tables and names are JSON in it."""
    arrays = {name: array for name in _ARRAYS if (array := getattr(study, name)) is not None}
    arrays["covariates"] = study.covariates.matrix
    for name in _FEATURES:
        features = getattr(study, name)
        if features is not None:
            arrays[name] = features.full
            if features.by_fold is not None:
                arrays[f"{name}_by_fold"] = features.by_fold
    for number, contrast in enumerate(study.contrasts):
        arrays[f"contrast_{number}"] = contrast.y
    words = {
        "scans": study.scans.to_dict("list"),
        "regions": study.regions[["index", "name"]].to_dict("list"),
        "contrasts": [[c.name, c.kind, list(c.labels), c.problem, c.slug] for c in study.contrasts],
        "covariates": list(study.covariates.names),
        "groups": study.groups,
    }
    np.savez(path, words=np.array(json.dumps(words)), **arrays)
    return path


def read_study(path: Path) -> Study:
    """Read what `write_study` has written."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    words = json.loads(str(arrays["words"]))
    features: dict[str, Any] = {
        name: Features(arrays[name], arrays.get(f"{name}_by_fold")) if name in arrays else None for name in _FEATURES
    }
    plain: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS}
    contrasts = [
        Contrast(name, kind, arrays[f"contrast_{number}"], tuple(labels), problem, slug)
        for number, (name, kind, labels, problem, slug) in enumerate(words["contrasts"])
    ]
    matrix = arrays["covariates"]
    return Study(
        scans=pd.DataFrame(words["scans"]),
        regions=pd.DataFrame(words["regions"]),
        contrasts=tuple(contrasts),
        covariates=Covariates(matrix, tuple(words["covariates"]), np.isfinite(matrix).all(axis=1)),
        groups=None if words["groups"] is None else tuple(words["groups"]),
        **plain,
        **features,
    )


def describe_scans(study: Study, choice: str) -> list[str]:
    """Sentences on the scans that a contrast has no use for, because one row stands for a person."""
    complete = study.covariates.complete & np.isfinite(study.regional.full).all(axis=1)
    notes = []
    for contrast in study.contrasts:
        rows = rows_of(study.participants, complete, contrast.y, choice)
        if rows.averaged or len(rows.left_out):
            alike = "with the same score as" if contrast.kind == "score" else "in the same group as"
            mean = f"the mean of the scans {alike} the first one"
            how = "the earliest with complete data" if choice == "first" else mean
            text = f"{contrast.name}: one row per person, {how}"
            if len(rows.left_out):
                people = len(set(study.participants[rows.left_out]))
                text += f"; {len(rows.left_out)} further scans of {people} participants are unused"
                first = dict(zip(study.participants[rows.first], contrast.y[rows.first], strict=True))
                changed = [contrast.y[scan] != first[study.participants[scan]] for scan in rows.left_out]
                if any(changed) and contrast.kind != "score":
                    text += f", {sum(changed)} of them because the person's group had changed by then"
            notes.append(f"{text}.")
    return notes
