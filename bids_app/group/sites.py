"""What the sites do to the model: its error on a site that it never saw, and whether the latents know the site."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from bids_app.group.harmonise import FEWEST
from bids_app.group.rows import rows_of
from bids_app.model.strangers import are_enough
from bids_app.schema.site_tables import SITE_ERRORS, SITE_LATENTS
from bids_app.stats.combat import fit_combat
from bids_app.stats.crossfit import features_of_fold, fold_rows
from bids_app.stats.linear import residual_operator, standardise
from bids_app.stats.permutation import p_value, permutation_chunks

log = logging.getLogger("latentatlas")
STATES = ("as encoded", "after ComBat")
MODELS = ("autoencoder", "linear", "pca")
MOST_RELABELLINGS, FEWEST_RELABELLINGS = 1000, 199  # each trains 2 F classifiers and fits ComBat F times
_MANY = 500  # people beyond whom relabellings are saved: a classifier's time grows with their square


def too_small(site: np.ndarray, participants: np.ndarray) -> dict[str, str]:
    """Sites -> why they cannot be tested on their own; "" if they can.

    Parameters
    ----------
    site : ndarray of shape (N,) of str
        "" where it is missing.
    participants : ndarray of shape (N,)
    """
    site, participants = np.asarray(site).astype(str), np.asarray(participants)
    names = sorted(set(site) - {""})
    if len(names) < 2:
        return dict.fromkeys(names, "there is no other site")
    people = {name: len(set(participants[site == name])) for name in names}
    few = {name: f"{n} participant{'s' * (n != 1)}, but at least {FEWEST} are needed" for name, n in people.items()}
    return {name: few[name] if n < FEWEST else "" for name, n in people.items()}


def not_left_out(site: np.ndarray, participants: np.ndarray) -> dict[str, str]:
    """Sites -> why no model can be trained without them; "" where one can. Arguments as for `too_small`."""
    site, participants = np.asarray(site).astype(str), np.asarray(participants)
    reasons = too_small(site, participants)
    for name, reason in reasons.items():
        others = len(set(participants) - set(participants[site == name]))
        if not reason and not are_enough(others):
            reasons[name] = f"{others} participants of other sites are too few for training"
    return reasons


def site_errors(
    site: np.ndarray,
    participants: np.ndarray,
    fold: np.ndarray,
    in_folds: Mapping[str, np.ndarray],
    strangers: Mapping[str, Mapping[str, np.ndarray]],
    spread: np.ndarray,
) -> pd.DataFrame:
    """Error of each site's people by models that never saw their site, beside that of the ordinary folds.

    Parameters
    ----------
    site, participants, fold : ndarray of shape (N,)
    in_folds : mapping of str to ndarray of shape (N,)
        Out-of-fold error of every scan, by model (``MODELS``).
    strangers : mapping
        Site -> what `model.strangers.errors_of_strangers` gives without it, and ``same_size``, the errors of
        `errors_of_known`; sites that are not there are not testable.
    spread : ndarray of shape (N,)
        Mean squared distance of every map to the mean map of its fold's training maps: all errors are shares of it, by
        the fold's models and by those without the site.

    Returns
    -------
    DataFrame
        Columns of ``schema.site_tables.SITE_ERRORS``. People count once, by their first scan at the site.
    """
    site, participants = np.asarray(site).astype(str), np.asarray(participants)
    people, rows = len(set(participants)), []
    for name, reason in not_left_out(site, participants).items():
        first = rows_of(participants, site == name).first
        for model in MODELS if not reason else MODELS[:1]:
            row: dict[str, Any] = {"site": name, "model": None if reason else model, "n": len(first)}
            row["reason"] = reason or None
            rows.append(row)
            if reason:
                continue
            found = strangers[name]
            alone, few = np.full((2, len(site)), np.nan)
            scans = found["scans"]
            alone[scans], few[scans] = found[model] / spread[scans], found["same_size"] / spread[scans]
            gain = stats.ttest_1samp(alone[first] - in_folds[model][first], 0)
            low, high = gain.confidence_interval(0.95)
            away = [people - len(set(participants[fold == f])) for f in fold[first]]
            row |= {
                "n_train": int(found["n_train"]),
                "n_train_folds": float(np.mean(away)),
                "error": float(alone[first].mean()),
                "error_folds": float(in_folds[model][first].mean()),
                "error_same_size": float(few[first].mean()) if model == "pca" else np.nan,
                "increase": float((alone[first] - in_folds[model][first]).mean()),
                "increase_low": float(low),
                "increase_high": float(high),
            }
    return pd.DataFrame(rows, columns=[column.name for column in SITE_ERRORS.columns])


@dataclass(frozen=True)
class _Cohort:
    """One row per person whose site can be told: features of each fold, covariates, fold."""

    features: np.ndarray
    covariates: np.ndarray
    fold: np.ndarray

    def accuracy(self, site: np.ndarray, combat: bool) -> float:
        """Balanced accuracy of the sites, out of fold; with ComBat fitted to the training rows of each fold."""
        guess = np.empty(len(site), int)
        for f, train, test in fold_rows(self.fold):
            x = features_of_fold(self.features, f)
            if combat:
                fitted = fit_combat(x[train], site[train], self.covariates[train])
                x = fitted.apply(x, site, self.covariates)
            on_train, on_test = (residual_operator(self.covariates, train, rows, len(site)) for rows in (train, test))
            x_train, x_test = standardise(on_train @ x, on_test @ x)
            guess[test] = _guess(x_train, site[train], x_test)
        return float(np.mean([(guess[site == s] == s).mean() for s in np.unique(site)]))


def _guess(x_train: np.ndarray, site: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Sites by a support vector machine with a Gaussian kernel, which sees means, spread and what goes together."""
    if len(np.unique(site)) < 2:
        return np.full(len(x_test), site[0])
    width = 1 / x_train.shape[1]
    machine = SVC(kernel="precomputed", class_weight="balanced").fit(rbf_kernel(x_train, gamma=width), site)
    return machine.predict(rbf_kernel(x_test, x_train, gamma=width))


def how_many_relabellings(n: int) -> int:
    """Relabellings of the sites of n people at most."""
    return int(np.clip(MOST_RELABELLINGS * (_MANY / n) ** 2, FEWEST_RELABELLINGS, MOST_RELABELLINGS))


def tell_sites_apart(
    features: np.ndarray,
    site: np.ndarray,
    covariates: np.ndarray,
    fold: np.ndarray,
    participants: np.ndarray,
    *,
    n_permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well the latents tell the sites apart, as they are and after ComBat, in the same folds.

    ComBat is fitted to the training rows of each fold; fitted to all, it would take the held-out people's own share out
    of their site's mean, and make sites look more alike than they are to anyone new. Whatever the covariates explain is
    removed (coefficients of the training rows): sites of old and young people differ without any scanner. p compares
    with the same procedure on sites that are reassigned to the participants at random.

    Parameters
    ----------
    features : ndarray of shape (N, K) or (F, N, K)
        Latents before any harmonisation; (F, N, K): of each fold's model.
    site : ndarray of shape (N,) of str
        "" where it is missing.
    covariates : ndarray of shape (N, P)
        All but the site; people without them take no part.
    fold, participants : ndarray of shape (N,)
    n_permutations : int
        At most ``MOST_RELABELLINGS`` are drawn, fewer beyond 500 people.
    seed : int

    Returns
    -------
    DataFrame
        Columns of ``schema.site_tables.SITE_LATENTS``; a row for each of ``STATES``.
    """
    site = np.asarray(site).astype(str)
    known = np.isfinite(covariates).all(axis=1) & (site != "")
    # Each person counts at the first site alone, and a site by the people who are then left to it.
    first = rows_of(participants, known).first
    large = [name for name, why in too_small(site[first], participants[first]).items() if not why]
    first = first[np.isin(site[first], large)]
    names, code = np.unique(site[first], return_inverse=True)
    about = {"n": len(first), "sites": len(names)}
    if len(names) < 2:
        why = f"fewer than two sites have {FEWEST} participants with complete covariates"
        rows = [{"latents": state, **about, "reason": why} for state in STATES]
        return pd.DataFrame(rows, columns=[column.name for column in SITE_LATENTS.columns])
    people = _Cohort(features[..., first, :], covariates[first], fold[first])
    n_permutations = min(n_permutations, how_many_relabellings(len(first)))
    rows = []
    for state in STATES:
        combat, start = state == STATES[1], time.monotonic()
        observed = people.accuracy(code, combat)
        if (minutes := (time.monotonic() - start) * n_permutations / 60) > 1:
            log.info(
                "testing whether the latents predict the site, %s: %d relabellings, about %.0f min (--site-checks "
                    "none omits this)", state, n_permutations, minutes,
            )  # fmt: skip
        chunks = permutation_chunks(len(first), n_permutations, seed + 501, 64)
        null = [people.accuracy(code[perm], combat) for perms in chunks for perm in perms]
        found = {"balanced_accuracy": observed, "chance": 1 / len(names), "p": float(p_value(observed, np.array(null)))}
        rows.append({"latents": state, **about, **found, "permutations": n_permutations})
    return pd.DataFrame(rows, columns=[column.name for column in SITE_LATENTS.columns])
