"""Sections of the group report about regions: LRCP, maps, SHAP, SAM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from ..bids.files import read_json
from ..bids.tables import IDENTIFIERS
from ..schema.claims import ALPHA, ERROR_EXPLAINED
from ..schema.labels import DIFFERING, KEPT, LABELS, LOST, MEANINGS, PARTLY
from ..schema.outputs import VBM_LOGP, VBM_T, VBM_T_SIDECAR, VBM_TFCE
from ..schema.region_tables import (
    DISEASE_AXIS,
    LRCP_PROFILE,
    LRCP_REGIONS,
    PARCELS,
    SAM_REGIONS,
    SHAP_REGIONS,
    SHAP_VALUES,
    VBM_PEAKS,
)
from ..schema.scan_tables import AXIS_PLACES, DEVIATIONS, REGIONAL
from ..schema.verdict_tables import VERDICTS
from . import region_charts
from .brain_maps import glass_figure, region_figure, viewer_html
from .group_results import GroupResults, error_is_explained, rows_of_claim, same_rows
from .interactive import profile_heat_map
from .items import Item, by_region, has_signal, item, truthy
from .style import esc, html_table, join_words, number, p_text

READING = (
    '<p class="note">LRCP is computed here by LatentAtlas\'s own documented reading of the published description. The '
    "article's equations were not available. On held-out participants, each regional difference is split "
    "exactly: <strong>difference = kept</strong> (it is in the reconstruction from the latent space) <strong>+ "
    "lost</strong> (it is in the map but not in the reconstruction).</p>"
)


UNUSUAL = 2.0  # W-scores beyond this are shown


def lrcp(results: GroupResults) -> Iterator[Item]:
    """Which regional differences the latent space keeps and which it loses."""
    table = results.table(LRCP_REGIONS)
    if table is None:
        return
    contrasts = results.contrasts() if table["label"].notna().any() else []
    yield Item("lrcpNote", READING + (_legend() if contrasts else ""))
    for i, contrast in enumerate(contrasts):
        yield from _lrcp_contrast(results, table[table["contrast"].astype(str) == contrast], contrast, i)
    r2 = by_region(table.drop_duplicates("index"), "r2").clip(lower=0)
    if results.atlas is not None and has_signal(r2):
        figure = region_figure(r2, results.atlas[0], results.template, label="R² of the held-out reconstruction")
        yield item("r2Map", figure, picture=True, n=results.n_of(table))
    shown = table.sort_values("lrcp", ascending=False, kind="stable")
    headers = LRCP_REGIONS.headers(shown)
    shown = shown[[name for name in headers if shown[name].notna().any()]]
    formats = dict.fromkeys((name for name in map(str, shown) if name.endswith("p_fwe")), p_text)
    content = html_table(shown, headers=headers, formats=formats, sortable=True, max_height=True, table_id="lrcp-table")
    yield item("lrcpTable", content)
    profile = results.table(LRCP_PROFILE)
    if profile is not None:
        yield item("profile", profile_heat_map(profile), n=results.n_scans)


def _lrcp_contrast(results: GroupResults, part: pd.DataFrame, contrast: str, i: int) -> Iterator[Item]:
    n, unit = results.n_of(part), _unit(results, contrast)
    yield Item(f"lrcpSaid{i}", _said(results, part, contrast), f"{contrast}: kept and lost, n = {n} participants")
    painted = split_values(part)
    if results.atlas is not None and has_signal(painted):
        partly = part.loc[part["label"] == PARTLY, "index"].astype(int).tolist()
        figure = region_figure(
            painted,
            results.atlas[0],
            results.template,
            label=f"lost (brown)  ←  0  →  kept (purple), {unit}",
            diverging=True,
            outlined=partly,
        )
        yield item("lrcpSlices", figure, number=i, picture=True, contrast=contrast, regions=len(part), n=n)
    yield item("lrcpSplit", region_charts.split_figure(part, n, unit), number=i, contrast=contrast, n=n)
    axis, places = results.table(DISEASE_AXIS), results.table(AXIS_PLACES)
    column = f"place_{contrast}"
    if axis is None or places is None or column not in places:
        return
    steps, groups = axis[axis["contrast"].astype(str) == contrast], results.groups_of(places)
    score = results.score(contrast, places)
    figure = region_charts.axis_figure(pd.to_numeric(places[column], errors="coerce"), groups, steps, score)
    yield item("axis" if score is None else "axisOfScore", figure, number=i, contrast=contrast, n=n)


def split_values(part: pd.DataFrame) -> pd.Series:
    """One number per region for one picture: ml kept above 0, ml lost below, NaN where neither may be said."""
    kept, lost = by_region(part, "kept_ml").abs(), by_region(part, "lost_ml").abs()
    label = part["label"].to_numpy()
    values = np.where(np.isin(label, (KEPT, PARTLY)), kept, np.where(label == LOST, -lost, np.nan))
    return pd.Series(values, index=kept.index)


def _unit(results: GroupResults, contrast: str) -> str:
    """What a difference is in; that of a score goes with one unit of it."""
    return f"ml per unit of {contrast}" if contrast in results.scans else "ml"


def _said(results: GroupResults, part: pd.DataFrame, contrast: str) -> str:
    """What became of the contrast's regional differences (HTML)."""
    counts = part["label"].value_counts()
    known = [f"{counts[label]} {esc(label)}" for label in LABELS if label in counts]
    text = f"<p>Of {len(part)} regions: {join_words(known)}."
    for title, labels, column in (("Kept most", (KEPT, PARTLY), "kept_ml"), ("Lost most", (LOST,), "lost_ml")):
        mine = part[part["label"].isin(labels)].sort_values(
            column, key=lambda x: x.astype(float).abs(), ascending=False
        )
        if len(mine):
            names = [
                f"{esc(name)} ({number(float(ml))} {esc(_unit(results, contrast))})"
                for name, ml in zip(mine["name"], mine[column], strict=True)
            ]
            text += f" {title}: {join_words(names[:5])}."
    text += "</p>"
    parcels = results.table(PARCELS)
    own = None if parcels is None else parcels[parcels["contrast"].astype(str) == contrast]
    if own is not None and len(own):
        row = own.iloc[0]
        if not part["label"].isin(DIFFERING).any():
            verdict = "however, no region differs, and a chance pattern follows anatomy, too"
        elif row["p"] <= ALPHA:
            verdict = "the pattern follows the borders of this atlas better than those of random parcels"
        else:
            verdict = "the pattern should not be attributed to the named regions"
        text += (
            f"<p>Do the region names matter? {100 * row['between_regions']:.0f} % of the variance of the voxelwise "
            f"differences lies between the regions of the atlas, and {100 * row['between_random']:.0f} % "
            "(median) between random parcels of the same sizes (p "
            f"{'= ' if row['p'] >= 0.001 else ''}{p_text(row['p'])}, {int(row['cuts'])} random parcellations): "
            f"{verdict}.</p>"
        )
    return text


def _legend() -> str:
    items = "".join(f"<dt>{esc(label)}</dt><dd>{esc(meaning)}</dd>" for label, meaning in MEANINGS.items())
    return f'<dl class="legend">{items}</dl>'


def maps(results: GroupResults) -> Iterator[Item]:
    """All regional maps in one viewer."""
    if results.atlas is None:
        return
    found: dict[str, tuple[pd.Series, str, bool]] = {}
    regions = results.table(LRCP_REGIONS)
    by_contrast = [] if regions is None else list(regions.groupby(regions["contrast"].astype(str), sort=False))
    for contrast, part in by_contrast:
        found[f"kept (above 0) and lost (below), {contrast}"] = split_values(part), "ml", True
        found[f"difference, {contrast}"] = by_region(part, "difference_ml"), "ml", True
    if regions is not None:
        found["R² of the held-out reconstruction"] = (
            by_region(regions.drop_duplicates("index"), "r2").clip(lower=0),
            "",
            False,
        )
    if (table := results.table(SHAP_REGIONS)) is not None:
        note = "" if _shap_support(results, table)[0] else " (not supported)"
        found[f"mean |SHAP|{note}"] = by_region(table, "mean_abs_shap"), "", False
    if (table := results.table(SAM_REGIONS)) is not None:
        for contrast in results.contrasts(SAM_REGIONS):
            part = table[table["contrast"].astype(str) == contrast]
            margin = by_region(part, "chance") - by_region(part, "bound")
            found[f"chance minus worst-case error, {contrast}"] = margin, "", True
    found = {title: entry for title, entry in found.items() if has_signal(entry[0])}
    if found:
        yield item("viewer", viewer_html(found, *results.atlas, results.template), n=results.n_scans)


def shap(results: GroupResults) -> Iterator[Item]:
    """Which regions explain where the model errs."""
    table = results.table(SHAP_REGIONS)
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
            f'<p class="note"><strong>Not supported.</strong> {esc(reason)} The figures below describe a model that '
            "was not shown to predict anything; they are grey and must not be interpreted.</p>",
        )
    best = table.sort_values("mean_abs_shap", ascending=False)
    values = results.table(SHAP_VALUES)
    n = results.n_scans if values is None else len(values)
    if values is not None:
        order = [name for name in best["name"] if name in values][:15]
        volumes = results.table(REGIONAL)
        figure = region_charts.beeswarm_figure(values, None if volumes is None else same_rows(volumes, values), order)
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
    verdicts = results.table(VERDICTS)
    if not reason and verdicts is not None:
        about = rows_of_claim(verdicts, ERROR_EXPLAINED)
        reason = str(about["sentence"].iloc[0]) if len(about) else ""
    reason = reason or "The regression explains none of the held-out error"
    return bool(supported), reason[:1].upper() + reason[1:].rstrip(". ") + "."


def sam(results: GroupResults) -> Iterator[Item]:
    """Where a classifier's worst-case error stays below chance."""
    table = results.table(SAM_REGIONS)
    if table is None:
        return
    if not truthy(table["survives"]).any():
        regions, contrasts = table["index"].nunique(), join_words(results.contrasts(SAM_REGIONS))
        none = f"<p>No region of {regions} survives for {esc(contrasts)}.</p>"
        yield item("sam", none, contrast=contrasts, survivors="none", regions=regions)
        return
    for i, contrast in enumerate(results.contrasts(SAM_REGIONS)):
        part = table[table["contrast"].astype(str) == contrast]
        margin = by_region(part, "chance") - by_region(part, "bound")
        survives = truthy(part["survives"]).to_numpy()
        series = margin.where(survives & (margin > 0).to_numpy())
        content: str | Figure = f"<p>No region of {len(part)} survives for {esc(contrast)}.</p>"
        picture = False
        if results.atlas is not None and has_signal(series):
            label = "chance − upper bound of the error"
            content, picture = region_figure(series, results.atlas[0], results.template, label=label), True
        elif survives.any():
            content = f"<p>{esc(', '.join(part['name'][survives]))}</p>"
        count = int(survives.sum()) or "none"
        yield item("sam", content, number=i, picture=picture, contrast=contrast, survivors=count, regions=len(part))


def voxels(results: GroupResults) -> Iterator[Item]:
    """The voxelwise t test, beside which everything regional should be read."""
    table = results.table(VBM_PEAKS)
    for i, path in enumerate(VBM_T.find(results.output_dir)):
        slug = VBM_T.label(path)
        facts = read_json(VBM_T_SIDECAR.at(results.output_dir, contrast=slug))
        contrast = facts.get("Contrast", slug)
        image: Any = nib.load(path)
        beside: Any = nib.load(VBM_LOGP.at(results.output_dir, contrast=slug))
        logp = np.asanyarray(beside.dataobj)
        significant = logp >= -np.log10(ALPHA)
        least = facts.get("DrawnFrom")
        if least is None:  # an output of a version that wrote no sidecar
            least = float(np.abs(np.asanyarray(image.dataobj)[significant]).min(initial=np.inf))
            least = least if np.isfinite(least) else 3.3
        count = int(significant.sum())
        voxels_are = "1 voxel is" if count == 1 else f"{count} voxels are"
        said = f"{voxels_are} significant family-wise (|t| of {least:.2f} or more)"
        if not significant.any():
            said = f"no voxel is significant family-wise; |t| of {least:.1f} or more is drawn, which is not a finding"
        if (enhanced := VBM_TFCE.at(results.output_dir, contrast=slug)).exists():
            said += f"; {_enhanced(enhanced)}"
        figure = glass_figure(image, least * 0.9999, label="t")
        yield item("vbm", figure, number=i, picture=True, contrast=contrast, said=said, faded=not significant.any())
    if table is not None:
        headers = VBM_PEAKS.headers(table)
        content = html_table(
            table[list(headers)], headers=headers, formats={"p_fwe": p_text}, sortable=True, max_height=True
        )
        yield item("vbmPeaks", content)


def _enhanced(path: Path) -> str:
    """What cluster enhancement found, in its own voxels."""
    image: Any = nib.load(path)
    zooms = image.header.get_zooms()[:3]
    count = int((np.asanyarray(image.dataobj) >= -np.log10(ALPHA)).sum())
    volume = count * float(np.prod(zooms)) / 1000
    found = f"{count} voxels of {max(zooms):g} mm ({volume:.1f} ml) are" if count else "no voxel is"
    return f"with threshold-free cluster enhancement, {found} significant family-wise"


def norms(results: GroupResults) -> Iterator[Item]:
    """How far each person lies from what the reference group leads one to expect."""
    table = results.table(DEVIATIONS)
    if table is None:
        return
    keys = [column for column in IDENTIFIERS if column in table]
    regions = [c for c in table if c not in keys and DEVIATIONS.column(str(c)) is DEVIATIONS.others]
    if not regions:  # no reference group, a model from elsewhere alone
        return
    scores = table[regions].apply(pd.to_numeric, errors="coerce")
    shown = table[keys].assign(group=results.groups_of(table))
    shown["less"], shown["more"] = (scores <= -UNUSUAL).sum(axis=1), (scores >= UNUSUAL).sum(axis=1)
    latents = table.filter(like="latent_").apply(pd.to_numeric, errors="coerce")
    shown["latents"], shown["error"] = (latents.abs() >= UNUSUAL).sum(axis=1), table["error"]
    shown["lowest"] = [_lowest(row) for _, row in scores.iterrows()]
    shown = shown[scores.notna().any(axis=1)].sort_values("less", ascending=False, kind="stable")
    if shown.empty:
        yield Item(
            "normsNone", "<p>The reference group has too few participants with complete data to serve as a norm.</p>"
        )
        return
    expected = number(len(regions) * 2 * stats.norm.sf(UNUSUAL), 2)
    yield item(
        "normsPicture", region_charts.deviation_figure(shown, len(regions)), expected=expected, regions=len(regions)
    )
    headers = {
        "group": "Group",
        "less": f"Regions with W ≤ −{UNUSUAL:g}",
        "more": f"W ≥ {UNUSUAL:g}",
        "latents": f"Latents beyond {UNUSUAL:g}, of {latents.shape[1]}",
        "error": "W of the reconstruction error",
        "lowest": "Lowest regions (W)",
    }
    content = html_table(shown, headers=headers, sortable=True, max_height=True, table_id="norms-table")
    yield item("norms", content, reference=results.summary.get("reference_group") or "the reference group")


def _lowest(scores: pd.Series, count: int = 3) -> str:
    low = scores.dropna().nsmallest(count)
    return ", ".join(f"{name} ({value:.1f})" for name, value in low.items() if value <= -UNUSUAL)


def _direction(value: Any) -> str:
    return "–" if pd.isna(value) or value == 0 else "more GM, more error" if float(value) > 0 else "more GM, less error"
