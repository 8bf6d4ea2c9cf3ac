"""What is asked about the sites, as steps: models without each of them, and whether the latents know them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...bids.tables import read_tsv, write_table
from ...group.study import Design, read_study
from ...schema import site_tables
from ..engine.interface import step


@step("errors")
def fit_without_site(folder: Path, volumes: Path, cohort: Path, plan: Path, fold: Path, site_column: str, site: str,
                     random_seed: int, device: str, n_threads: int) -> dict[str, Any]:  # fmt: skip
    """Retrain every model without the people of one site, and apply it to their scans."""
    from ...group.sites import not_left_out
    from ...model.plan import Plan
    from ...model.strangers import errors_of_known, errors_of_strangers
    from ...model.volumes import load_volumes

    sites, people = _sites(cohort, site_column)
    # Maps that could not be read may have cost a site its last people.
    found: dict[str, np.ndarray] = {}
    if not not_left_out(sites, people).get(site, "absent"):
        maps, settings = load_volumes(volumes), Plan.read(plan)
        seed = random_seed + 1000 * (1 + sorted(set(sites)).index(site))
        found = errors_of_strangers(
            maps,
            people,
            sites == site,
            settings,
            seed=seed,
            device=device,
            n_threads=n_threads,
            folder=folder / "checkpoints",
        )
        few, k = int(found["n_train"]), settings.latent_dim
        found["same_size"] = errors_of_known(maps, people, found["scans"], np.load(fold), few, k, seed)
    np.savez(folder / "errors.npz", site=np.array(site), **found)  # type: ignore[arg-type]
    return {"errors": folder / "errors.npz"}


@step()
def site_errors(
    folder: Path, cohort: Path, site_column: str, products: Path, all_errors: list[Path] | None = None
) -> dict[str, Any]:
    """The error of each site's people without their site, beside that of the ordinary folds."""
    from ...group.sites import site_errors as compute

    (sites, people), known = _sites(cohort, site_column), dict(np.load(products))
    in_folds = {"autoencoder": 1 - known["ev_ae"], "linear": 1 - known["ev_linear"], "pca": 1 - known["ev_pca"]}
    strangers = {str(one.pop("site")): one for one in (dict(np.load(path)) for path in all_errors or [])}
    spread = known["err"] / np.maximum(1 - known["ev_ae"], 1e-12)
    found = compute(sites, people, known["fold"], in_folds, strangers, spread)
    write_table(folder / "out", site_tables.SITE_ERRORS, found)
    return {}


@step()
def site_latents(
    folder: Path, study: Path, cohort: Path, design: Design, permutations: int, random_seed: int
) -> dict[str, Any]:
    """How well the latents tell the sites apart, before ComBat and after."""
    from ...group.sites import tell_sites_apart
    from ...group.study import build_questions

    known = read_study(study)
    questions = build_questions(read_tsv(cohort), design)
    assert questions.blocks is not None  # the graph has this step only where there is a site column
    found = tell_sites_apart(
        known.raw_latents.cross_fitted,
        questions.blocks,
        questions.preserved,
        known.fold,
        known.participants,
        n_permutations=permutations,
        seed=random_seed,
    )
    write_table(folder / "out", site_tables.SITE_LATENTS, found)
    return {}


def _sites(cohort: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Site ("" where it is missing) and participant of every scan."""
    from ...group.design import read_categories

    table = read_tsv(cohort)
    sites = np.array([site or "" for site in read_categories(table, column, cohort)])
    return sites, table["participant_id"].to_numpy()
