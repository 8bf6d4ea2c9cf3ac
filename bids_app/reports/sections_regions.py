"""Sections of the group report about regions: LRCP, maps, SHAP, SAM."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ..bids.tables import IDENTIFIERS
from ..schema.claims import ALPHA, ERROR_EXPLAINED
from ..schema.region_tables import LRCP_REGIONS, SHAP_REGIONS
from . import charts
from .brain_maps import glass_figure, region_figure, viewer_html
from .group_results import GroupResults, error_is_explained, rows_of_claim
from .interactive import profile_heat_map
from .items import Item, by_region, has_signal, item, truthy
from .style import esc, html_table, join_words, number, p_value

READING = (
    '<p class="note">LRCP is computed here by LatentAtlas\'s own documented reading of the published description '
    "(association times discriminability, with their signs, summed over the latents). It is no transcript of the "
    "article's equations.</p>"
)
NO_LRCP = "<p>No region has an LRCP above 0: nothing that the latent variables know of any region differs here.</p>"


def lrcp(results: GroupResults) -> Iterator[Item]:
    """Which regions the latents encode and whether these latents separate the groups."""
    table = results.table("lrcp_regions")
    if table is None:
        return
    yield Item("lrcpNote", READING)
    for i, contrast in enumerate(results.contrasts()):
        yield from _lrcp_contrast(results, table[table["contrast"].astype(str) == contrast], contrast, i)
    formats = {"p_fwe": p_value, "auc_p_fwe": p_value}
    shown = table.sort_values("lrcp", ascending=False, kind="stable")
    headers = LRCP_REGIONS.headers(shown)
    shown = shown[list(headers)]
    yield item(
        "lrcpTable",
        html_table(shown, headers=headers, formats=formats, sortable=True, max_height=True, table_id="lrcp-table"),
    )
    profile = results.table("lrcp_profile")
    if profile is not None:
        yield item("profile", profile_heat_map(profile), n=results.n_scans)


def _lrcp_contrast(results: GroupResults, part: pd.DataFrame, contrast: str, i: int) -> Iterator[Item]:
    values = by_region(part, "lrcp")
    n = results.n_of(part)
    if not has_signal(values):
        yield Item(f"lrcpNone{i}", NO_LRCP, f"{contrast}: LRCP, n = {n} scans")
        return
    alpha = float(results.summary.get("alpha", ALPHA))
    significant = part["index"].astype(int)[charts.both_p(part) <= alpha].tolist()
    if results.atlas is not None:
        labels, unit = results.atlas[0], "LRCP (no unit)"
        glass = glass_figure(values, labels, label=unit)
        yield item("lrcpGlass", glass, number=i, picture=True, contrast=contrast, n=n)
        yield item(
            "lrcpSlices",
            region_figure(values, labels, results.template, label=unit, outlined=significant),
            number=i,
            picture=True,
            contrast=contrast,
            regions=len(part),
            significant="1 has" if len(significant) == 1 else f"{len(significant) or 'None'} of them have",
            alpha=f"{alpha:g}",
        )
    yield item("lrcpRanks", charts.lrcp_figure(part, n, alpha=alpha), number=i, contrast=contrast)


def maps(results: GroupResults) -> Iterator[Item]:
    """All regional maps in one viewer."""
    if results.atlas is None:
        return
    found: dict[str, tuple[pd.Series, str, bool]] = {}
    regions = results.table("lrcp_regions")
    for contrast in results.contrasts():
        part = regions[regions["contrast"].astype(str) == contrast]
        found[f"LRCP, {contrast}"] = by_region(part, "lrcp"), "", False
        found[f"AUC of the encoded signal minus 0.5, {contrast}"] = by_region(part, "auc") - 0.5, "", True
    if regions is not None:
        found["R² of all latents"] = by_region(regions.drop_duplicates("index"), "r2").clip(lower=0), "", False
    if (table := results.table("shap_regions")) is not None:
        note = "" if _shap_support(results, table)[0] else " (not supported)"
        found[f"mean |SHAP|{note}"] = by_region(table, "mean_abs_shap"), "", False
    if (table := results.table("sam_regions")) is not None:
        for contrast in results.contrasts("sam_regions"):
            part = table[table["contrast"].astype(str) == contrast]
            margin = by_region(part, "chance") - by_region(part, "bound")
            found[f"chance minus worst-case error, {contrast}"] = margin, "", True
    found = {title: entry for title, entry in found.items() if has_signal(entry[0])}
    if found:
        yield item("viewer", viewer_html(found, *results.atlas, results.template), n=results.n_scans)


def shap(results: GroupResults) -> Iterator[Item]:
    """Which regions explain where the model errs."""
    table = results.table("shap_regions")
    if table is None:
        return
    supported, reason = _shap_support(results, table)
    facts = results.summary.get("shap") or {}
    if facts.get("model"):
        said = f"Chosen by nested cross-validation: {esc(facts['model'])}."
        if facts.get("seed_stability") is not None:
            said += f" Rank correlation of the regions between two seeds: {number(facts['seed_stability'])}."
        yield Item("shapModel", f"<p>{said}</p>")
    if supported and facts.get("reason"):
        yield Item("shapNote", f'<p class="note">Supported. {esc(reason)}</p>')
    if not supported:
        yield Item(
            "shapNote",
            f'<p class="note"><strong>Not supported.</strong> {esc(reason)} What follows describes a model that was '
            "not shown to predict anything; it is drawn in grey and must not be interpreted.</p>",
        )
    best = table.sort_values("mean_abs_shap", ascending=False)
    values = results.table("shap_values")
    n = results.n_scans if values is None else len(values)
    if values is not None:
        order = [name for name in best["name"] if name in values][:15]
        figure = charts.beeswarm_figure(values, same_rows(results.table("regional_gm"), values), order)
        yield item("beeswarm", figure, faded=not supported)
    series = by_region(table, "mean_abs_shap")
    if results.atlas is not None and has_signal(series):
        unit = "mean |SHAP|, % of the map's variance"
        figure = region_figure(series * 100, results.atlas[0], results.template, label=unit)
        yield item("shapMap", figure, picture=True, faded=not supported, n=n)
    shown = best.drop(columns=["index", "supported"], errors="ignore")
    yield item(
        "shapTable",
        html_table(
            shown,
            headers=SHAP_REGIONS.headers(shown),
            formats={"direction": _direction},
            caption="" if supported else "Not supported: these values must not be interpreted.",
            sortable=True,
            max_height=True,
        ),
    )


def _shap_support(results: GroupResults, table: pd.DataFrame) -> tuple[bool, str]:
    """Whether the regression predicts anything, and the sentence that says why not."""
    facts = results.summary.get("shap") or {}
    supported = facts.get("supported", truthy(table["supported"]).all() if "supported" in table else True)
    supported = supported and error_is_explained(results.folder)  # what no verdict supports is not interpreted
    reason = str(facts.get("reason") or "")
    verdicts = results.table("verdicts")
    if not reason and verdicts is not None:
        about = rows_of_claim(verdicts, ERROR_EXPLAINED)
        reason = str(about["sentence"].iloc[0]) if len(about) else ""
    reason = reason or "The regression explains nothing of the held-out error"
    return bool(supported), reason[:1].upper() + reason[1:].rstrip(". ") + "."


def sam(results: GroupResults) -> Iterator[Item]:
    """Where a classifier's worst-case error stays below chance."""
    table = results.table("sam_regions")
    if table is None:
        return
    if not truthy(table["survives"]).any():
        regions, contrasts = table["index"].nunique(), join_words(results.contrasts("sam_regions"))
        content = f"<p>No region of {regions} survives for {esc(contrasts)}.</p>"
        yield item("sam", content, contrast=contrasts, survivors="none", regions=regions)
        return
    for i, contrast in enumerate(results.contrasts("sam_regions")):
        part = table[table["contrast"].astype(str) == contrast]
        margin = by_region(part, "chance") - by_region(part, "bound")
        survives = truthy(part["survives"]).to_numpy()
        series = margin.where(survives & (margin > 0).to_numpy())
        content, picture = f"<p>No region of {len(part)} survives for {esc(contrast)}.</p>", False
        if results.atlas is not None and has_signal(series):
            label = "chance − upper bound of the error"
            content, picture = region_figure(series, results.atlas[0], results.template, label=label), True
        elif survives.any():
            content = f"<p>{esc(', '.join(part['name'][survives]))}</p>"
        count = int(survives.sum()) or "none"
        yield item("sam", content, number=i, picture=picture, contrast=contrast, survivors=count, regions=len(part))


def same_rows(table: pd.DataFrame | None, like: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of a table for the scans of another one, in its order."""
    if table is None:
        return None
    keys = [column for column in IDENTIFIERS if column in table and column in like]
    return like[keys].merge(table.drop_duplicates(keys), on=keys, how="left")


def _direction(value: object) -> str:
    return "–" if pd.isna(value) or value == 0 else "more GM, more error" if float(value) > 0 else "more GM, less error"
