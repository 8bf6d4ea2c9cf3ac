"""The steps from maps to a cross-fitted model and regions; tables and maps go to ``out/`` of a step's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...bids.tables import IDENTIFIERS, fitting_dictionary, identifiers, read_tsv, write_table, write_tsv
from ...schema import model_tables, scan_tables
from ...schema.columns import Table
from ...schema.names import NO_GROUP, group_slugs, grouping, latent_names
from ...schema.outputs import (
    ATLAS,
    ATLAS_DESCRIPTION,
    ATLAS_REGIONS,
    ATLAS_SIDECAR,
    BY_EPOCH,
    ERROR_MAP,
    EXAMPLES,
    GROUP,
    MODEL_CARD,
    TRAVERSALS_IMAGE,
)
from ..engine.interface import step


@step("volumes", "kept", "rejected")
def volumes(
    folder: Path, maps: list[Path], smoothing_fwhm: float, n_jobs: int, model: str | None = None
) -> dict[str, Any]:
    """Read every map once into a memory-mapped array on the model's grid (that of ``model`` where one is given)."""
    from ...model.model_files import load_model
    from ...model.volumes import build_volumes

    grid = load_model(model).grid if model else None
    built = build_volumes(maps, folder / "volumes.npy", fwhm=smoothing_fwhm, n_jobs=n_jobs, grid=grid)
    position = {str(path): row for row, path in enumerate(maps)}
    kept = [position[str(path)] for path in built.paths]
    return {"volumes": folder / "volumes.npy", "kept": kept, "rejected": built.rejected}


@step("cohort")
def cohort(folder: Path, kept: list[Any], table: Path, dictionary: dict[str, Any]) -> dict[str, Any]:
    """The table that goes with the kept scans row by row. Apart from the regions: another atlas retrains nothing."""
    found = read_tsv(table).iloc[kept].reset_index(drop=True)
    write_tsv(folder / "kept.tsv", found)
    known = found.drop(columns=[*IDENTIFIERS], errors="ignore")
    write_phenotype(folder, scan_tables.COHORT, found, known, fitting_dictionary(known, dictionary))
    return {"cohort": folder / "kept.tsv"}


@step("regional", "labels", "atlas")
def regions(folder: Path, maps: list[Path], kept: list[Any], cohort: Path, atlas: str, space: str) -> dict[str, Any]:
    """Regional grey matter of the kept scans."""
    import nibabel as nib

    from ...space.atlas_loaders import load_atlas, regional_volumes

    grid: Any = nib.load(maps[kept[0]])
    found = load_atlas(atlas, grid)
    regional = regional_volumes([maps[row] for row in kept], found)
    out, named = folder / "out", {"T": space, "A": found.name}
    labels = ATLAS.at(out, **named)
    labels.parent.mkdir(parents=True, exist_ok=True)
    found.image.to_filename(labels)
    write_tsv(ATLAS_REGIONS.at(out, **named), found.table)
    _json(ATLAS_SIDECAR.at(out, **named), {"Description": f"{found.name} on the maps' grid"})
    _json(ATLAS_DESCRIPTION.at(out, **named), {"Name": found.name, "License": found.license})
    np.save(folder / "regional.npy", regional)
    volumes = pd.DataFrame(regional, columns=found.table["name"].tolist())
    write_phenotype(folder, scan_tables.REGIONAL, read_tsv(cohort), volumes)
    return {"regional": folder / "regional.npy", "labels": labels, "atlas": found.name}


@step("plan", "fold", "latent_dim")
def plan(folder: Path, cohort: Path, architecture: str, latent_dim: int, folds: int, random_seed: int,
         epochs: int | None = None, group_column: str | None = None) -> dict[str, Any]:  # fmt: skip
    """Decide the folds and the training plan from the size of the cohort."""
    from ...model.cross_fitting import split_participants
    from ...model.plan import make_plan

    table = read_tsv(cohort)
    strata = table[group_column].tolist() if group_column else None
    ids = table["participant_id"].tolist()
    fold = split_participants(ids, folds, random_seed, strata)
    settings: dict[str, Any] = {"architecture": architecture, **({"max_epochs": epochs} if epochs else {})}
    made = make_plan(ids, fold, latent_dim=latent_dim, **settings)
    made.write(folder / "plan.json")
    np.save(folder / "fold.npy", fold)
    return {"plan": folder / "plan.json", "fold": folder / "fold.npy", "latent_dim": made.latent_dim}


@step("fitted", "model")
def fit(folder: Path, volumes: Path, cohort: Path, plan: Path, fold: Path, number: int, random_seed: int,
        device: str, n_threads: int) -> dict[str, Any]:  # fmt: skip
    """Train without the participants of one fold (all of them where ``number`` is -1), and apply to every scan."""
    from ...model import cross_fitting, model_files
    from ...model.plan import Plan
    from ...model.volumes import load_volumes

    scans = identifiers(read_tsv(cohort))
    arrays, fitted = cross_fitting.cross_fit_one(
        load_volumes(volumes),
        scans["participant_id"].tolist(),
        np.load(fold),
        None if number < 0 else number,
        Plan.read(plan),
        seed=random_seed,
        device=device,
        n_threads=n_threads,
        folder=folder / "checkpoints",
    )
    _savez(folder / "fitted.npz", arrays)
    fitted.history.assign(fold="all" if number < 0 else number).to_csv(folder / "history.tsv", sep="\t", index=False)
    model_files.save_model(fitted.model, folder / "model", model_files.make_card(fitted.model, choices=fitted.choices))
    if number < 0:
        _write_learning(folder / "out", fitted, load_volumes(volumes), scans)
    return {"fitted": folder / "fitted.npz", "model": folder / "model"}


@step("products")
def collect(
    folder: Path,
    volumes: Path,
    cohort: Path,
    all_fitted: list[Path],
    all_model: list[Any],
    random_seed: int,
    space: str,
    dataset: str,
    licence: str,
    group_column: str | None = None,
) -> dict[str, Any]:
    """Put the folds together: out-of-fold numbers, and the full model with its card. The full model comes first."""
    from ...model import cross_fitting, model_files
    from ...model.calibration import write_calibration
    from ...model.volumes import load_volumes

    full, *parts = [dict(np.load(path)) for path in all_fitted]
    products = cross_fitting.collect(full, parts)
    _savez(folder / "products.npz", products)
    model = model_files.load_model(all_model[0])
    means = {name: float(np.mean(products[name])) for name in ("ev_ae", "ev_linear", "ev_pca")}
    table = read_tsv(cohort)
    card = model_files.make_card(
        model,
        participant_ids=[model_files.qualified(dataset, i) for i in table["participant_id"]],
        training_errors=products["err"],
        latents=products["Z"],
        choices=model.card["training"]["choices"],
        metrics={
            "explained_variance_autoencoder": means["ev_ae"],
            "explained_variance_linear": means["ev_linear"],
            "explained_variance_pca": means["ev_pca"],
        },
        seed=random_seed,
        space=space,
        licence=licence,
    )
    out = folder / "out"
    place = MODEL_CARD.at(out).parent
    model_files.save_model(model, place, card)
    own = [model_files.load_model(m) for m in all_model[1:]]
    maps, people = load_volumes(volumes), table["participant_id"].tolist()
    about = {"seed": random_seed, "space": space, "licence": licence}
    write_calibration(place, own, maps, products["fold"], people, **about)
    model.card = card
    _write_traversals(out, model)
    history = [pd.read_csv(Path(path).with_name("history.tsv"), sep="\t", dtype={"fold": str}) for path in all_fitted]
    training = model_tables.TRAINING
    write_table(folder / "out", training, pd.concat(history)[[column.name for column in training.columns]])
    write_table(folder / "out", model_tables.CROSS_FIT, cross_fitting.cross_fit_table(products))
    _write_latents(folder, table, products)
    named = grouping(table[group_column]) if group_column else None
    groups = ["all"] * len(table) if named is None else named.fillna(NO_GROUP).tolist()
    _write_pictures(out, own, maps, products, table, groups)
    return {"products": folder / "products.npz"}


@step("held_out")
def held_out_regions(folder: Path, volumes: Path, all_model: list[Any], fold: Path, labels: Path) -> dict[str, Any]:
    """Regional grey matter of every map and of its held-out reconstruction, on the model's grid."""
    from ...model.regions import sum_regions
    from ...model.volumes import load_volumes

    maps = load_volumes(volumes)
    held_out = held_out_models(all_model)
    observed, reconstructed = sum_regions(held_out, maps, np.load(fold), weights_of(labels, maps.grid))
    np.savez(folder / "held_out.npz", observed=observed, reconstructed=reconstructed)
    return {"held_out": folder / "held_out.npz"}


def held_out_models(models: list[str]) -> list[Any]:
    """Those of the folds, of the full model and these; the one there is where it was made beforehand."""
    from ...model.model_files import load_model

    return [load_model(path) for path in (models[1:] or models)]


def weights_of(labels: Path, grid: Any) -> Any:
    """`model.regions.region_weights` of an atlas of the output."""
    from ...model.regions import region_weights
    from ...space.atlas_loaders import read_dseg

    atlas = read_dseg(labels)
    return region_weights(grid, np.asanyarray(atlas.image.dataobj).astype(int), atlas.table["index"].to_numpy())


@step("products", "all_model")
def apply_model(
    folder: Path, volumes: Path, cohort: Path, model: str, fold: Path, dataset: str, space: str, random_seed: int
) -> dict[str, Any]:
    """Encode a cohort with a model trained elsewhere; PCA of the same size is still fitted fold by fold.

    Raises
    ------
    DatasetError
        Some participants were in the model's training: their numbers would not be about unseen people.
    """
    from ...errors import DatasetError, ModelError
    from ...model import model_files
    from ...model.autoencoder import encode_all, linear_of, reconstruction_error
    from ...model.calibration import read_calibration, relative_errors
    from ...model.linear_model import fit_linear
    from ...model.volumes import load_volumes
    from ...stats.conformal import conformal_p

    stored, loaded, table, folds = model_files.load_model(model), load_volumes(volumes), read_tsv(cohort), np.load(fold)
    if stored.card.get("space") not in (None, space):
        raise ModelError(
            f"the model was trained on maps in {stored.card['space']}, but these are in {space}",
            file=model,
            remedy=f"make the maps with --template {stored.card['space']}, or train a new model without --model",
        )
    ids = table["participant_id"]
    known = sorted({i for i in ids if model_files.was_trained_on(stored.card, model_files.qualified(dataset, i))})
    if known:
        raise DatasetError(
            f"{len(known)} of the participants were in the training cohort of this model: {', '.join(known[:5])} ...",
            file=model,
            remedy="exclude them (--participant-label), or train a new model without --model",
        )
    every = np.arange(len(table))
    products = {"Z": encode_all(stored, loaded, every), "fold": folds}
    products["err"], products["ev_ae"] = reconstruction_error(stored, loaded, every)
    products["ev_linear"] = reconstruction_error(linear_of(stored), loaded, every)[1]
    products["epochs"] = np.full(len(every), stored.card["training"]["choices"].get("epochs", 0))
    if calibrated := read_calibration(model):
        scores = np.stack([relative_errors(fold_model, loaded, every) for fold_model, _ in calibrated])
        products["error_p"], products["error_p_bound"] = conformal_p([errors for _, errors in calibrated], scores)
    products["Zpca_f"], products["ev_pca"] = [], np.zeros(len(every))
    for number in np.unique(folds):
        linear = fit_linear(loaded, np.flatnonzero(folds != number), stored.latent_dim, seed=random_seed)
        products["Zpca_f"].append(encode_all(linear, loaded, every))
        products["ev_pca"][folds == number] = reconstruction_error(linear, loaded, every)[1][folds == number]
    products["Zpca_f"] = np.stack(products["Zpca_f"])
    np.savez(folder / "products.npz", **products)
    _write_latents(folder, table, products)
    _write_traversals(folder / "out", stored)
    return {"products": folder / "products.npz", "all_model": [Path(model)]}


def _write_latents(folder: Path, table: pd.DataFrame, products: dict[str, Any]) -> None:
    from ...stats.alignment import align_held_out

    names = latent_names(products["Z"].shape[1])
    latents = full = pd.DataFrame(products["Z"], columns=names)
    if "Zf" in products:
        latents = pd.DataFrame(align_held_out(products["Z"], products["Zf"], products["fold"]), columns=names)
        write_phenotype(folder, scan_tables.LATENTS_FULL, table, full)
    write_phenotype(folder, scan_tables.LATENTS, table, latents)
    reconstruction = pd.DataFrame(
        {
            "error": 1 - products["ev_ae"],
            "explained_variance": products["ev_ae"],
            "explained_variance_pca": products["ev_pca"],
            "mean_squared_error": products["err"],
            "fold": products["fold"],
            "explained_variance_linear": products["ev_linear"],
        }
    )
    write_phenotype(folder, scan_tables.RECONSTRUCTION, table, reconstruction)


def write_phenotype(
    folder: Path, kind: Table, cohort: pd.DataFrame, values: pd.DataFrame, described: dict[str, Any] | None = None
) -> Path:
    """Write a table of one row per scan: the identifiers of each scan, then its values."""
    table = pd.concat([identifiers(cohort), values.reset_index(drop=True)], axis=1)
    return write_table(folder / "out", kind, table, described)


def _write_pictures(
    out: Path, models: list[Any], maps: Any, products: dict[str, Any], table: pd.DataFrame, groups: Sequence[str]
) -> None:
    from ...model.examples import example_reconstructions, mean_error_maps

    fold, error = products["fold"], products["err"]
    image, examples = example_reconstructions(models, maps, fold, error, identifiers(table))
    image.to_filename(EXAMPLES.at(out))
    write_table(out, model_tables.RECONSTRUCTIONS, examples)
    means = mean_error_maps(models, maps, fold, groups)
    for group, slug in group_slugs(means).items():
        means[group].to_filename(ERROR_MAP.at(out, group=slug))


def _write_learning(out: Path, fitted: Any, maps: Any, scans: pd.DataFrame) -> None:
    from ...model.examples import reconstructions_by_epoch

    (out / GROUP).mkdir(parents=True, exist_ok=True)
    image, table = reconstructions_by_epoch(fitted, maps, scans)
    image.to_filename(BY_EPOCH.at(out))
    write_table(out, model_tables.RECONSTRUCTIONS_BY_EPOCH, table)


def _write_traversals(out: Path, model: Any) -> None:
    from ...model.examples import latent_traversals

    (out / GROUP).mkdir(parents=True, exist_ok=True)
    image, table = latent_traversals(model)
    image.to_filename(TRAVERSALS_IMAGE.at(out))
    write_table(out, model_tables.TRAVERSALS, table)


def _savez(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


def _json(path: Path, content: dict[str, Any]) -> None:
    from ...bids.files import write_json

    write_json(path, content)
