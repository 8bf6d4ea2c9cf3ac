"""Which regions' grey matter goes with a large reconstruction error: exact, out-of-fold SHAP values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shap
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.stats.crossfit import crossfit_test, features_of_fold, fold_rows, smallest_training_set, spearman
from bids_app.stats.linear import residual_operator, standardise
from bids_app.stats.resampling import bootstrap_mean_interval
from bids_app.stats.sar import SarResult, sar, sar_published

_ALPHAS = np.geomspace(1e-1, 1e5, 13)


@dataclass(frozen=True)
class ErrorRelation:
    """Whether regional grey matter explains the reconstruction error, all regions together.

    Attributes
    ----------
    n : int
        Participants.
    supported : bool
        The permutation p of the linear relation is at most alpha, and the regression that is explained predicts
        held-out people better than nothing (R2 > 0): what the verdict on this claim asks, too. Shown greyed otherwise.
    reason : str
        Why, in plain words.
    model : str
        What was picked in the folds, in words; empty where nothing was fitted.
    r2, p : float
        Out-of-fold R2 of the picked models; permutation p value of the linear relation. NaN where nothing was fitted.
    seed_stability : float
        Spearman correlation, over the regions, of mean |SHAP| between two seeds of the trees; 1 where the linear
        model, which has no seed, was picked in every fold.
    sar, sar_published : SarResult or None
        Held out, and in the authors' form.
    """

    n: int
    supported: bool
    reason: str
    model: str = ""
    r2: float = np.nan
    p: float = np.nan
    seed_stability: float = np.nan
    sar: SarResult | None = None
    sar_published: SarResult | None = None

    @property
    def facts(self) -> dict[str, bool | str | float | None]:
        """What the report says of it; None for what is NaN."""
        numbers = {"r2": self.r2, "p": self.p, "seed_stability": self.seed_stability}
        known = {name: None if np.isnan(value) else float(value) for name, value in numbers.items()}
        return {"supported": self.supported, "reason": self.reason, "model": self.model, **known}


@dataclass(frozen=True)
class ExplainResult:
    """SHAP values of the reconstruction error.

    Attributes
    ----------
    regions : DataFrame
        `index, name, mean_abs_shap, ci_low, ci_high, mean_abs_shap_<group>..., direction, supported`; SHAP in units
        of the error, averaged over people, who are also what the intervals resample; `direction` +1 where more grey
        matter goes with a larger error.
    values : DataFrame of shape (N, R)
        Out-of-fold SHAP values, one row per scan, one column per region; NaN for scans left out.
    base : ndarray of shape (N,)
        Expected prediction; ``base + values.sum(axis=1)`` is the out-of-fold prediction.
    models : DataFrame
        `model, r2, chosen_folds`: out-of-fold R2 of the linear model, the trees, and the one picked inside each fold.
    relation : ErrorRelation
    """

    regions: pd.DataFrame
    values: pd.DataFrame
    base: np.ndarray
    models: pd.DataFrame
    relation: ErrorRelation


def write_relation(path: Path, relation: ErrorRelation) -> Path:
    """Write a relation as JSON."""
    path.write_text(json.dumps(asdict(relation)))
    return path


def read_relation(path: Path) -> ErrorRelation:
    """Read what `write_relation` has written, to the last digit."""
    facts = json.loads(path.read_text())
    forms = {name: SarResult(**facts[name]) if facts[name] else None for name in ("sar", "sar_published")}
    return ErrorRelation(**{**facts, **forms})


def explain(study: Study, settings: AnalysisSettings) -> ExplainResult:
    """Regress the out-of-fold reconstruction error on regional grey matter and attribute it to the regions.

    In each outer fold, ridge (exact linear SHAP, ``beta_j (x_j - mean_j)``) and gradient-boosted trees (exact path-
    dependent tree SHAP) compete in an inner cross-validation on the training rows; the better explains the held-out
    rows. Covariates are removed with coefficients of the training rows. Only the scans that stand for their person are
    learnt from and judged by; every scan gets its values.

    Parameters
    ----------
    study : Study
        Reconstruction error (N,), 1 - explained variance; regional grey matter (N, R) and as harmonised for each fold
        (F, N, R); the groups give means by group.
    settings : AnalysisSettings
    """
    err, G, regions = np.asarray(study.error, float), np.asarray(study.regional.full, float), study.regions
    fold, covariates, seed, alpha = study.fold, study.covariates, settings.seed, settings.alpha
    usable = covariates.complete & np.isfinite(err) & np.isfinite(G).all(axis=1)
    values, base = np.full(G.shape, np.nan), np.full(len(err), np.nan)
    names = [str(name) for name in regions["name"]]
    rows = rows_of(study.participants, usable, choice=settings.scan_choice)
    n = len(rows)
    few = n < 8 or smallest_training_set(rows.take(fold)) < 4
    if few or np.ptp(err[usable]) == 0:
        reason = "too few participants with complete values" if few else "the reconstruction error does not vary"
        table = _table(study, values, rows, settings, False)
        models = pd.DataFrame(columns=["model", "r2", "chosen_folds"])
        frame = pd.DataFrame(values, columns=names)
        return ExplainResult(table, frame, base, models, ErrorRelation(n, supported=False, reason=reason))

    scans = np.flatnonzero(usable)
    by_fold = study.regional.cross_fitted
    member = np.isin(scans, rows.scans)
    fit = _shap_out_of_fold(by_fold[..., scans, :], err[scans], fold[scans], covariates.matrix[scans], member, seed)
    values[scans], base[scans] = fit["shap"], fit["base"]
    args = rows.mean(by_fold), rows.mean(err), rows.take(fold), rows.mean(covariates.matrix)
    draws: dict[str, Any] = {"n_permutations": settings.n_permutations, "seed": seed + 501}
    test = crossfit_test(*args, blocks=rows.take(study.blocks), **draws)
    bound = sar(*args, eta=alpha)
    r2 = fit["r2"]["picked"]
    published = sar_published(rows.mean(G), rows.mean(err), rows.mean(covariates.matrix), eta=alpha)
    supported = test.p <= alpha and r2 > 0
    beats = "below" if bound.holds else "not below"
    reason = (
        f"out-of-fold R2 = {r2:.2f}, permutation p of the linear relation = {test.p:.3g}; SAR's worst-case loss is "
        f"{bound.worst:.2f}, {beats} the {bound.gamma:.2f} of predicting nothing"
    )
    chosen = fit["chosen"]
    models = pd.DataFrame(
        {
            "model": ["linear", "trees", "picked"],
            "r2": [fit["r2"][m] for m in ("linear", "trees", "picked")],
            "chosen_folds": [chosen.count("linear"), chosen.count("trees"), len(chosen)],
        }
    )
    table = _table(study, values, rows, settings, supported)
    frame = pd.DataFrame(values, columns=names)
    said = (n, bool(supported), reason, _picked(chosen), r2, test.p, fit["stability"])
    relation = ErrorRelation(*said, bound, published)
    return ExplainResult(table, frame, base, models, relation)


def _picked(chosen: list[str]) -> str:
    names = {"linear": "ridge regression", "trees": "gradient-boosted trees"}
    used = [f"{names[m]} in {chosen.count(m)} of {len(chosen)} folds" for m in names if m in chosen]
    return " and ".join(used)


def linear_shap(coef: np.ndarray, mean: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Exact SHAP values of a linear model with independent features: ``coef_j (x_ij - mean_j)``, shape of `x`."""
    return (x - mean) * coef


def tree_shap(model: GradientBoostingRegressor, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Exact path-dependent SHAP values of a tree ensemble, shape of `x`, and its expected prediction."""
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    return explainer.shap_values(x), float(np.ravel(explainer.expected_value)[0])


def _shap_out_of_fold(
    G: np.ndarray, err: np.ndarray, fold: np.ndarray, c: np.ndarray, member: np.ndarray, seed: int
) -> dict[str, Any]:
    """SHAP values and base values of all scans; out-of-fold R2 of those that stand for their person (``member``)."""
    n = len(err)
    phi, base, other_seed = np.zeros((n, G.shape[-1])), np.zeros(n), np.zeros((n, G.shape[-1]))
    target, predictions, chosen = np.zeros(n), {m: np.zeros(n) for m in ("linear", "trees")}, []
    for f, train, test in fold_rows(fold):
        train = train[member[train]]
        on_train, on_test = residual_operator(c, train, train, n), residual_operator(c, train, test, n)
        x = features_of_fold(G, f)
        x_train, x_test = standardise(on_train @ x, on_test @ x)
        y = on_train @ err
        scale = max(y.std(), 1e-300)
        y, target[test] = y / scale, (on_test @ err)
        inner = fold[train]
        loss = {m: _inner_loss(m, x_train, y, inner, seed) for m in ("linear", "trees")}
        best = min(loss, key=lambda m: loss[m])
        chosen.append(best)
        for m in ("linear", "trees"):
            model = _fit(m, x_train, y, seed + f)
            predictions[m][test] = scale * model.predict(x_test)
            if m != best:
                continue
            if m == "linear":
                phi[test] = scale * linear_shap(model.coef_, x_train.mean(axis=0), x_test)
                base[test] = scale * (model.intercept_ + x_train.mean(axis=0) @ model.coef_)
                other_seed[test] = phi[test]
            else:
                values, expected = tree_shap(model, x_test)
                phi[test], base[test] = scale * values, scale * expected
                other_seed[test] = scale * tree_shap(_fit("trees", x_train, y, seed + f + 1000), x_test)[0]
            gap = np.abs(base[test] + phi[test].sum(axis=1) - predictions[m][test]).max()
            if gap > 1e-4 * scale:
                raise AssertionError(f"SHAP values do not add up to the prediction (gap {gap:.3g})")
    picked = base + phi.sum(axis=1)
    sst = max((target[member] ** 2).sum(), 1e-300)
    r2 = {m: float(1 - ((target - p)[member] ** 2).sum() / sst) for m, p in (*predictions.items(), ("picked", picked))}
    stability = spearman(np.abs(phi[member]).mean(axis=0), np.abs(other_seed[member]).mean(axis=0))
    return {"shap": phi, "base": base, "r2": r2, "chosen": chosen, "stability": stability}


def _fit(model: str, x: np.ndarray, y: np.ndarray, seed: int) -> RidgeCV | GradientBoostingRegressor:
    if model == "linear":
        return RidgeCV(_ALPHAS).fit(x, y)
    trees = GradientBoostingRegressor(
        n_estimators=100, max_depth=2, learning_rate=0.05, subsample=0.7, max_features=0.3, random_state=seed
    )
    return trees.fit(x, y)


def _inner_loss(model: str, x: np.ndarray, y: np.ndarray, fold: np.ndarray, seed: int) -> float:
    """Squared error of the inner cross-validation, on at most three splits made of whole outer folds."""
    folds = np.unique(fold)
    if len(folds) < 2:
        return 0.0 if model == "linear" else np.inf
    part = np.searchsorted(folds, fold) % 3
    total = 0.0
    for p in np.unique(part):
        out = part == p
        total += ((y[out] - _fit(model, x[~out], y[~out], seed).predict(x[out])) ** 2).sum()
    return float(total)


def _table(study: Study, values: np.ndarray, rows: Rows, settings: AnalysisSettings, supported: bool) -> pd.DataFrame:
    regions, groups = study.regions, study.groups
    size = rows.mean(np.abs(values))
    if np.isfinite(size).any():
        low, high = bootstrap_mean_interval(size, settings.n_interval_samples, settings.seed)
        mean = size.mean(axis=0)
        g, v = rows.mean(np.asarray(study.regional.full, float)), rows.mean(values)
        direction = np.sign(((g - g.mean(axis=0)) * (v - v.mean(axis=0))).sum(axis=0))
    else:
        low = high = mean = direction = np.full(len(regions), np.nan)
    table = {
        "index": regions["index"].to_numpy(),
        "name": regions["name"].to_numpy(),
        "mean_abs_shap": mean,
        "ci_low": low,
        "ci_high": high,
    }
    if groups is not None:
        labels = rows.take(np.array(["" if g is None or g != g else str(g) for g in groups]))
        for label in sorted(set(labels) - {""}):
            table[f"mean_abs_shap_{label}"] = size[labels == label].mean(axis=0)
    return pd.DataFrame(table | {"direction": direction, "supported": supported})
