"""The sections of the group report: which figure from which table, and the words under it.

Every function takes the `GroupResults` and yields the `Item` s of one section; it yields nothing where its files are
missing, and the section is then left out of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import charts
from .brain_maps import glass_figure, region_figure, viewer_html
from .group_results import ID_COLUMNS, GroupResults, numeric
from .interactive import METHODS, profile_heat_map, projection_explorer
from .reconstructions import reconstruction_figure
from .scan_summary import MEASURES
from .style import Markup, definition_list, esc, html_table, join_words, number, p_value

GRADES = {
    "supported in the worst case": ("worst-case", "even the strict upper bound of the error excludes chance"),
    "supported": ("supported", "out-of-fold and permutation tests agree, but the bound does not exclude chance"),
    "not supported": ("not-supported", "the data give no ground for this claim"),
    "not testable": ("not-testable", "too few scans, no variation, or confounded"),
}


@dataclass(frozen=True)
class Item:
    """One element of a section.

    Attributes
    ----------
    desc : str
        Alphanumeric label, unique in the report.
    content : str or Figure
        HTML, or a figure.
    title, caption, alt : str
        Heading (plain text), HTML under it, text in place of a picture.
    picture : bool
        A figure that is an image (PNG) and no plot (SVG).
    faded : bool
        Drawn in grey: it must not be interpreted.
    """

    desc: str
    content: str | Figure
    title: str = ""
    caption: str = ""
    alt: str = ""
    picture: bool = False
    faded: bool = False


def words(shows: str, read: str, beware: str) -> str:
    """The three things that every caption says (HTML)."""
    return (
        f"<p><strong>What it shows:</strong> {shows} <strong>How to read it:</strong> {read} "
        f"<strong>When not to trust it:</strong> {beware}</p>"
    )


def verdicts(results: GroupResults) -> Iterator[Item]:
    """The claims and what may be said of them."""
    table = results.table("verdicts")
    if table is None:
        return
    shown = table[["claim", "verdict", "deciding_number", "sentence"]].copy()
    if "decided_by" in table:
        pairs = zip(table["decided_by"], shown["deciding_number"], strict=True)
        shown["deciding_number"] = [
            f"{by}: {number(value)}" if isinstance(by, str) else number(value) for by, value in pairs
        ]
    formats = {"verdict": _grade}
    headers = {
        "claim": "Claim",
        "verdict": "Verdict",
        "deciding_number": "The number that decided",
        "sentence": "In words",
    }
    legend = "".join(f"<li>{_grade(name)} {meaning}</li>" for name, (_, meaning) in GRADES.items())
    yield Item(
        "verdicts",
        html_table(
            shown,
            headers=headers,
            formats=formats,
            caption=f"{len(table)} claims, {results.n_participants} participants",
            cards=True,
        ),
        caption=f'<ul class="legend">{legend}</ul>'
        + words(
            "every claim that this analysis set out to test, and its verdict by a fixed rule.",
            "the grades mean what stands above; the number that decided can be found again in the section on validation.",
            "a verdict speaks of this sample only. A claim that is not supported has not been refuted, and one that is "
            "supported may still rest on age, sex, scanner or head size where they were not among the covariates.",
        ),
    )


def cohort(results: GroupResults) -> Iterator[Item]:
    """Who is in the analysis, who was left out, and the scans that look unusual."""
    scans = results.scans
    if len(scans) == 0:
        return
    groups = _groups(results)
    yield Item(
        "cohortTable",
        html_table(
            _cohort_table(scans, groups), caption=f"{results.n_scans} scans of {results.n_participants} participants"
        ),
        "Groups",
        words(
            "how many people and scans each group has, with age and sex.",
            "groups should be alike in everything but the diagnosis.",
            "where age, sex or head size differ between groups, a difference in the latent space may be theirs; name them as covariates.",
        ),
    )
    if "age" in scans and (figure := charts.age_figure(scans, groups)) is not None:
        yield Item(
            "age",
            figure,
            "Age by group",
            words(
                "one dot a scan, the bar at the median.",
                "strips that lie over each other are comparable groups.",
                "few dots in a strip mean that any average of that group is uncertain.",
            ),
            "Ages of the scans of each group",
        )
    left_out = results.summary.get("left_out") or []
    if left_out:
        table = pd.DataFrame(left_out).fillna("")
        yield Item(
            "leftOut",
            html_table(table, caption=f"{len(table)} scans left out", max_height=len(table) > 15),
            "Left out",
            words(
                "scans that are in the data set but not in the analysis, and why.",
                "each line is one scan.",
                "if one group loses more scans than another, the rest of it may no longer stand for it.",
            ),
        )
    quality = results.table("quality")
    if quality is not None:
        outliers = quality_outliers(quality)
        content = (
            html_table(
                outliers,
                sortable=True,
                max_height=len(outliers) > 12,
                caption=f"{len(outliers)} of {len(quality)} scans deserve a look",
            )
            if len(outliers)
            else f"<p>None of the {len(quality)} scans stands out.</p>"
        )
        yield Item(
            "qualityOutliers",
            content,
            "Scans to look at",
            words(
                "scans whose verdict is not <em>pass</em>, or with a number further than 3.5 robust standard deviations (1.4826 × median absolute deviation) from the cohort's median.",
                "open <code>sub-…html</code> of each and look at its mask and its tissues.",
                "an unusual brain is not a bad scan; leave out only what failed.",
            ),
        )


def quality_outliers(quality: pd.DataFrame, limit: float = 3.5) -> pd.DataFrame:
    """Scans with a verdict other than pass or a number far from the cohort's median.

    Parameters
    ----------
    quality : DataFrame
        ``phenotype/quality.tsv``.
    limit : float
        Robust standard deviations.

    Returns
    -------
    DataFrame
        Identifiers, ``verdict``, ``what stands out``.
    """
    keys = [column for column in ID_COLUMNS if column in quality]
    notes: list[list[str]] = [[] for _ in range(len(quality))]
    for measure in MEASURES:
        values = numeric(quality, measure.key)
        if np.isfinite(values).sum() < 5:
            continue
        centre = np.nanmedian(values)
        spread = 1.4826 * np.nanmedian(np.abs(values - centre))
        if spread == 0:
            continue
        for i in np.flatnonzero(np.abs(values - centre) > limit * spread):
            notes[i].append(f"{measure.name} {number(values[i], 4)} {measure.unit} (median {number(float(centre), 4)})")
    verdict = _column(quality, "QualityVerdict", "verdict")
    reasons = _column(quality, "QualityReasons", "reasons")
    for i, reason in enumerate(reasons):
        if reason and verdict[i] not in ("", "pass"):
            notes[i].insert(0, reason)
    keep = [i for i in range(len(quality)) if notes[i] or verdict[i] not in ("", "pass")]
    out = quality.iloc[keep][keys].copy()
    out["verdict"] = [verdict[i] for i in keep]
    out["what stands out"] = ["; ".join(notes[i]) for i in keep]
    return out.sort_values("verdict", key=lambda v: v.map({"fail": 0, "look": 1}).fillna(2)).reset_index(drop=True)


def training(results: GroupResults) -> Iterator[Item]:
    """How the model learned, and whether it beats PCA."""
    table = results.table("training")
    if table is not None:
        yield Item(
            "loss",
            charts.training_figure(table),
            "Learning curves",
            words(
                "the loss of every model, on the maps it trained on and on participants held out for early stopping.",
                "the dot is the epoch that was kept; it should lie where the held-out curve is lowest.",
                "a training curve that keeps falling while the held-out one rises is memory, not learning.",
            ),
            "Training and held-out loss against epoch",
        )
    table = results.table("cross_fit")
    if table is not None:
        auto, pca = numeric(table, "ev_autoencoder"), numeric(table, "ev_pca")
        said = ""
        if np.isfinite(auto).any() and np.isfinite(pca).any():
            a, b = float(np.nanmean(auto)), float(np.nanmean(pca))
            better = "more than" if a > b + 0.005 else "less than" if a < b - 0.005 else "about as much as"
            said = f"<p>On maps that the models had not seen, the autoencoder explains {number(a)} of the variance, {better} PCA of the same size ({number(b)}).</p>"
        yield Item(
            "explained",
            charts.explained_figure(table),
            "Autoencoder beside PCA",
            said
            + words(
                "the share of held-out maps' variance round the training mean that each model explains; one line a fold.",
                "higher is better; 0 is no better than the mean map of the training participants.",
                "below 0 the model makes held-out maps worse than the mean map, and nothing after this section should be believed.",
            ),
            "Explained variance of autoencoder and PCA",
        )
    examples = reconstruction_figure(results)
    if examples is not None:
        yield Item(
            "examples",
            examples,
            "Reconstructions",
            words(
                "maps, their reconstruction, and the difference, for a participant with a typical and one with an extreme error.",
                "the reconstruction is smoother than the map; the difference should look like noise.",
                "anatomy in the difference is what the latent space does not hold.",
            ),
            "Maps and their reconstructions",
            picture=True,
        )


def projections(results: GroupResults) -> Iterator[Item]:
    """The latent space in two and three dimensions."""
    table = results.table("projections")
    if table is None:
        return
    first = [column for column in (results.group_column, "error") if column]
    explorer = projection_explorer(results.scans, table, first)
    if explorer is not None:
        yield Item(
            "explorer",
            explorer,
            f"Latent space, n = {len(table)} scans",
            words(
                "every scan as a point in a projection of its latents. Point at one to see who it is; click in the legend to hide a group.",
                "near points have similar grey matter in the eyes of the model. Axes have no unit; those of t-SNE and UMAP have no meaning either.",
                "PLS was told the groups (out of fold); all others were not. Clusters of t-SNE and UMAP appear in noise, too; what separates groups is decided in the verdicts, not here.",
            ),
        )
    quality = results.table("projection_quality")
    if quality is not None:
        headers = {
            "method": "Projection",
            "trustworthiness": "Trustworthiness",
            "continuity": "Continuity",
            "knn_auc": "AUC of neighbours",
            "contrast": "Contrast",
            "dimensions": "Dimensions",
            "seed_disparity": "Disparity between seeds",
        }
        shown = quality.assign(method=quality["method"].map(lambda m: METHODS.get(m, m)))
        yield Item(
            "projectionQuality",
            html_table(shown, headers=headers, sortable=True, max_height=len(shown) > 14),
            "How faithful the projections are",
            words(
                "how well neighbours in the picture are neighbours in the latent space (trustworthiness), the reverse (continuity), and how well a point's neighbours tell its group (AUC).",
                "1 is perfect; an AUC of 0.5 is guessing.",
                "with few scans all three are uncertain by 0.1 and more.",
            ),
        )


def lrcp(results: GroupResults) -> Iterator[Item]:
    """Which regions the latents encode and whether these latents separate the groups."""
    table = results.table("lrcp_regions")
    if table is None:
        return
    reading = (
        '<p class="note">LRCP is computed here by LatentAtlas\'s own documented reading of the published description (squared association times '
        "discriminability, summed over the significant latents). It is no transcript of the article's equations.</p>"
    )
    yield Item("lrcpNote", reading)
    atlas = results.atlas
    for i, contrast in enumerate(results.contrasts()):
        part = table[table["contrast"].astype(str) == contrast]
        values = pd.Series(numeric(part, "lrcp"), index=part["index"].astype(int))
        alpha = float(results.summary.get("alpha", 0.05))
        significant = part["index"].astype(int)[numeric(part, "p_fwe") < alpha].tolist()
        label = f"lrcp{i}"
        heading = f"{contrast}: LRCP"
        if atlas is not None and np.nanmax(np.abs(values.to_numpy()), initial=0) > 0:
            unit = "LRCP (no unit)"
            yield Item(
                f"{label}Glass",
                glass_figure(values, atlas[0], label=unit),
                f"{heading}, n = {results.n_scans} scans",
                alt=f"Glass brain of LRCP for {contrast}",
                picture=True,
            )
            yield Item(
                f"{label}Slices",
                region_figure(values, atlas[0], results.template, label=unit, outlined=significant),
                alt=f"Slices of LRCP for {contrast}",
                picture=True,
                caption=words(
                    f"the LRCP of each of {len(part)} regions. {len(significant)} have a family-wise p below {number(alpha, 2)} (white outline).",
                    "bright regions are both strongly encoded by latents and encoded by latents that tell the groups apart.",
                    "a region can be bright because it varies with a neighbour, with head size or with image quality. Differences between regions of similar colour mean nothing: see the steadiness of the ranks.",
                ),
            )
        if not np.nanmax(values.to_numpy(), initial=0) > 0:
            yield Item(
                f"{label}None",
                "<p>No region has an LRCP above 0: no latent variable is significantly associated with any region.</p>",
                heading,
            )
            continue
        yield Item(
            f"{label}Ranks",
            charts.lrcp_figure(part, results.n_scans),
            alt=f"Highest LRCP values for {contrast}",
            caption=words(
                "the highest values and, at the right, the rank of each region over fold models and bootstrap samples.",
                "filled dots are significant (family-wise). Short lines at low ranks are steady findings.",
                "a line that spans half of all ranks says that another sample would have put another region on top.",
            ),
        )
    shown = table.drop(columns=["index"])
    headers = {
        "name": "Region",
        "contrast": "Contrast",
        "lrcp": "LRCP",
        "p_fwe": "p, family-wise",
        "r2": "R²",
        "auc": "AUC",
        "auc_p_fwe": "p of AUC, family-wise",
        "higher_in": "More in",
        "n_latents": "Latents",
        "rank_median": "Rank",
        "rank_iqr": "Rank IQR",
    }
    yield Item(
        "lrcpTable",
        html_table(
            shown,
            headers=headers,
            formats={"p_fwe": p_value, "auc_p_fwe": p_value},
            sortable=True,
            max_height=True,
            table_id="lrcp-table",
        ),
        "All regions",
        words(
            "LRCP, its permutation p, the cross-validated share of the region that all latents together explain (R²), and how well that encoded signal separates the groups (AUC).",
            "click on a heading to sort. R² and AUC do not depend on how the latent axes happen to lie; LRCP does.",
            "an R² near or below 0 says that the latent space does not hold this region at all, whatever its LRCP.",
        ),
    )
    profile = results.table("lrcp_profile")
    if profile is not None:
        yield Item(
            "profile",
            profile_heat_map(profile),
            f"Regions by latents, n = {results.n_scans} scans",
            words(
                "the correlation of every region's grey matter with every latent, covariates removed.",
                "purple rises, brown falls with the latent. Point at a field to read it.",
                "signs and the order of latents are arbitrary; a second training run shuffles them.",
            ),
        )


def shap(results: GroupResults) -> Iterator[Item]:
    """Which regions explain where the model errs."""
    table = results.table("shap_regions")
    if table is None:
        return
    facts = results.summary.get("shap") or {}
    supported = bool(facts.get("supported", _truthy(table["supported"]).all() if "supported" in table else True))
    reason = str(facts.get("reason", ""))
    if not supported:
        yield Item(
            "shapNote",
            f'<p class="note"><strong>Not supported.</strong> {esc(reason.rstrip(". ") or "the regression explains nothing of the held-out error")}. '
            "What follows describes a model without any power to predict; it is drawn in grey and must not be interpreted.</p>",
        )
    best = table.sort_values("mean_abs_shap", ascending=False)
    values = results.table("shap_values")
    if values is not None:
        order = [name for name in best["name"] if name in values][:15]
        yield Item(
            "beeswarm",
            charts.beeswarm_figure(values, _same_rows(results.table("regional_gm"), values), order),
            f"Reconstruction error explained by regions{_model_of(facts)}",
            words(
                "how much each region's grey matter moves the predicted reconstruction error of a scan, out of fold; one dot a scan.",
                "dots at the right raise the predicted error. If dark (little grey matter) lies at the right, the model errs on atrophy of that region.",
                "this explains the regression, not the brain, and the error of the autoencoder, not the disease.",
            ),
            "SHAP values of the most important regions",
            faded=not supported,
        )
    atlas = results.atlas
    if atlas is not None:
        series = pd.Series(numeric(table, "mean_abs_shap"), index=table["index"].astype(int))
        if np.nanmax(series.to_numpy(), initial=0) > 0:
            yield Item(
                "shapMap",
                region_figure(
                    series * 1e6, atlas[0], results.template, label="mean |SHAP|, 10⁻⁶ of the mean squared error"
                ),
                "Where on the brain",
                alt="Slices of mean absolute SHAP",
                picture=True,
                faded=not supported,
            )
    headers = {
        column: "Mean |SHAP|, " + column.removeprefix("mean_abs_shap_")
        for column in best
        if column.startswith("mean_abs_shap_")
    }
    headers |= {
        "name": "Region",
        "mean_abs_shap": "Mean |SHAP|",
        "ci_low": "Low",
        "ci_high": "High",
        "direction": "Direction",
    }
    shown = best.drop(columns=["index", "supported"], errors="ignore")
    yield Item(
        "shapTable",
        html_table(shown, headers=headers, formats={"direction": _direction}, sortable=True, max_height=True),
        "All regions",
        words(
            "mean absolute SHAP value with its bootstrap interval, by group where there are groups, and whether more grey matter goes with a larger or a smaller error.",
            "intervals that overlap are not different.",
            "see the note above where the regression is not supported.",
        ),
    )


def validation(results: GroupResults) -> Iterator[Item]:
    """Bounds of the actual risk and permutation tests."""
    table = results.table("validation")
    if table is None:
        return
    eta = results.summary.get("eta", 0.05)
    yield Item(
        "forest",
        charts.forest_figure(table),
        "Worst cases",
        words(
            f"for every claim the out-of-fold error (dot), and how large the error may really be, with probability at least {number(1 - float(eta))} (end of the line).",
            "blue lines end before chance: the effect holds even in the worst case. Orange lines do not.",
            "bounds are cautious by design: with few scans almost nothing can be proved in the worst case, and failing to prove is no disproof. A bound is only as good as its assumption that scans are independent.",
        ),
        "Errors with upper bounds against chance",
    )
    headers = {
        "claim": "Claim",
        "method": "Method",
        "n": "n",
        "error": "Error",
        "bound": "Upper bound",
        "p": "p",
        "alpha": "α",
        "chance": "Chance",
    }
    yield Item(
        "validationTable",
        html_table(
            table,
            headers=headers,
            formats={"p": p_value, "n": lambda v: number(int(v)) if pd.notna(v) else "–"},
            sortable=True,
            max_height=len(table) > 14,
        ),
        "All bounds and tests",
        words(
            "the numbers of the figure.",
            "one line a bound or test.",
            "p values of different lines are not corrected for each other.",
        ),
    )


def sam(results: GroupResults) -> Iterator[Item]:
    """Where a classifier's worst-case error stays below chance."""
    table = results.table("sam_regions")
    if table is None:
        return
    atlas = results.atlas
    for i, contrast in enumerate(results.contrasts("sam_regions")):
        part = table[table["contrast"].astype(str) == contrast]
        margin = numeric(part, "chance") - numeric(part, "bound")
        survives = _truthy(part["survives"]).to_numpy()
        caption = words(
            f"regions whose grey matter alone separates {esc(contrast)} even in the worst case: {int(survives.sum())} of {len(part)} survive.",
            "the colour is how far the upper bound of the error stays below chance.",
            "an empty map is common with few scans, since the bound pays for every region looked at (union bound).",
        )
        series = pd.Series(np.where(survives & (margin > 0), margin, np.nan), index=part["index"].astype(int))
        if atlas is not None and survives.any() and np.isfinite(series).any():
            yield Item(
                f"sam{i}",
                region_figure(series, atlas[0], results.template, label="chance − upper bound of the error"),
                f"{contrast}: agnostic map",
                caption,
                f"Slices of the regions that survive for {contrast}",
                True,
            )
        else:
            yield Item(
                f"sam{i}",
                f"<p>No region of {len(part)} survives for {esc(contrast)}.</p>",
                f"{contrast}: agnostic map",
                caption,
            )


def maps(results: GroupResults) -> Iterator[Item]:
    """All regional maps in one viewer."""
    atlas = results.atlas
    if atlas is None:
        return
    found: dict[str, tuple[pd.Series, str, bool]] = {}
    regions = results.table("lrcp_regions")
    for contrast in results.contrasts():
        part = regions[regions["contrast"].astype(str) == contrast]
        found[f"LRCP, {contrast}"] = _series(part, "lrcp"), "", False
        found[f"AUC of the encoded signal minus 0.5, {contrast}"] = _series(part, "auc") - 0.5, "", True
    if regions is not None:
        found["R² of all latents"] = _series(regions.drop_duplicates("index"), "r2").clip(lower=0), "", False
    if (table := results.table("shap_regions")) is not None:
        found["mean |SHAP|"] = _series(table, "mean_abs_shap"), "", False
    if (table := results.table("sam_regions")) is not None:
        for contrast in results.contrasts("sam_regions"):
            part = table[table["contrast"].astype(str) == contrast]
            found[f"chance minus worst-case error, {contrast}"] = (
                _series(part, "chance") - _series(part, "bound"),
                "",
                True,
            )
    found = {title: entry for title, entry in found.items() if np.isfinite(entry[0]).any()}
    if found:
        yield Item(
            "viewer",
            viewer_html(found, *atlas, results.template),
            f"Walk through the maps, n = {results.n_scans} scans",
            words(
                "any of the regional maps on the template.",
                "click or drag in a slice, or use the arrow keys and page up and down; the name and the value of the region stand above.",
                "the maps are one number a region: a border in the picture is the atlas's, not the effect's.",
            ),
        )


def baselines(results: GroupResults) -> Iterator[Item]:
    """Whether anything simpler does as well."""
    table = results.table("baselines")
    if table is None:
        return
    yield Item(
        "baselines",
        charts.baselines_figure(table),
        "",
        words(
            "how well each set of features separates the groups, out of fold.",
            "the latents earn their keep only where their dot lies to the right of PCA, of plain regional grey matter, and above all of the covariates alone.",
            "overlapping intervals mean that nobody has won.",
        ),
        "Balanced accuracy of latents and simpler features",
    )
    yield Item("baselinesTable", html_table(table, sortable=True, max_height=len(table) > 14))


def _grade(verdict: object) -> Markup:
    css = GRADES.get(str(verdict).strip().lower(), ("none", ""))[0]
    return Markup(f'<span class="grade {css}">{esc(verdict)}</span>')


def _groups(results: GroupResults) -> list[str]:
    column = results.group_column
    if column is None or pd.to_numeric(results.scans[column], errors="coerce").nunique() > 12:
        return ["all"] * len(results.scans)
    return [charts.MISSING if pd.isna(value) else str(value) for value in results.scans[column]]


def _cohort_table(scans: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    rows = []
    sex_column = next((column for column in ("sex", "gender", "Sex", "Gender") if column in scans), None)
    for name in [*dict.fromkeys(groups)]:
        part = scans[np.asarray(groups) == name]
        row = {
            "group": name,
            "participants": int(part["participant_id"].nunique()) if "participant_id" in part else len(part),
            "scans": len(part),
        }
        if "age" in scans:
            years = numeric(part, "age")
            years = years[np.isfinite(years)]
            row["age, years: mean ± SD (range)"] = (
                f"{years.mean():.1f} ± {years.std(ddof=1) if years.size > 1 else 0:.1f} ({years.min():.0f}–{years.max():.0f})"
                if years.size
                else "–"
            )
        if sex_column:
            counts = part[sex_column].fillna("unknown").astype(str).value_counts()
            row["sex"] = join_words([f"{count} {value}" for value, count in counts.items()])
        if "TIV" in part and np.isfinite(numeric(part, "TIV")).any():
            row["intracranial volume, ml"] = f"{np.nanmean(numeric(part, 'TIV')):.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _column(table: pd.DataFrame, *names: str) -> list[str]:
    """The first of these columns as text, empty where missing."""
    for name in names:
        if name in table:
            return ["" if pd.isna(value) else str(value) for value in table[name]]
    return [""] * len(table)


def _series(table: pd.DataFrame, column: str) -> pd.Series:
    return pd.Series(numeric(table, column), index=table["index"].astype(int))


def _same_rows(table: pd.DataFrame | None, like: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of a table for the scans of another one, in its order."""
    if table is None:
        return None
    keys = [column for column in ID_COLUMNS if column in table and column in like]
    return like[keys].merge(table.drop_duplicates(keys), on=keys, how="left")


def _direction(value: object) -> str:
    return "–" if pd.isna(value) or value == 0 else "more GM, more error" if float(value) > 0 else "more GM, less error"


def _truthy(values: pd.Series) -> pd.Series:
    """Yes and no as tables hold them."""
    return values.astype(str).str.lower().isin(("true", "1", "1.0", "yes"))


def _model_of(facts: dict) -> str:
    return f" ({facts['model']})" if facts.get("model") else ""


def about(results: GroupResults) -> Iterator[Item]:
    """Settings and time."""
    shown = (
        "template",
        "resolution",
        "smoothing_fwhm",
        "atlas",
        "latent_dim",
        "folds",
        "n_permutations",
        "alpha",
        "eta",
        "seed",
        "device",
    )
    names = {
        "smoothing_fwhm": "smoothing (FWHM, mm)",
        "resolution": "resolution (mm)",
        "latent_dim": "latents",
        "n_permutations": "permutations",
    }
    facts = [(names.get(key, key), results.summary[key]) for key in shown if results.summary.get(key) is not None]
    for key in ("covariates", "contrasts"):
        if results.summary.get(key):
            facts.append((key, ", ".join(map(str, results.summary[key]))))
    for stage, seconds in (results.summary.get("wall_time") or {}).items():
        facts.append((f"time for {stage}", f"{number(float(seconds))} s"))
    for name, version in (results.summary.get("versions") or {}).items():
        facts.append((f"version of {name}", version))
    notes = "".join(f"<li>{esc(note)}</li>" for note in results.summary.get("notes") or [])
    if facts or notes:
        yield Item("settings", definition_list(facts) + (f"<ul>{notes}</ul>" if notes else ""))
