"""All tables of the group level, by their place in the output."""

from __future__ import annotations

from . import model_tables, region_tables, scan_tables, site_tables, verdict_tables
from .columns import Table

#: In the order of the documentation.
TABLES: tuple[Table, ...] = (
    verdict_tables.VERDICTS,
    verdict_tables.VALIDATION,
    verdict_tables.BASELINES,
    verdict_tables.PREDICTIONS,
    verdict_tables.PREDICTION_QUALITY,
    verdict_tables.CONFUSION,
    region_tables.LRCP_REGIONS,
    region_tables.LRCP_PROFILE,
    region_tables.DISEASE_AXIS,
    region_tables.PARCELS,
    region_tables.SAM_REGIONS,
    region_tables.VBM_PEAKS,
    region_tables.SHAP_REGIONS,
    region_tables.SHAP_VALUES,
    site_tables.SITE_ERRORS,
    site_tables.SITE_LATENTS,
    model_tables.TRAINING,
    model_tables.CROSS_FIT,
    model_tables.PROJECTION_QUALITY,
    model_tables.PROJECTION_SEEDS,
    model_tables.RECONSTRUCTIONS,
    model_tables.RECONSTRUCTIONS_BY_EPOCH,
    model_tables.TRAVERSALS,
    scan_tables.LATENTS,
    scan_tables.LATENTS_FULL,
    scan_tables.REGIONAL,
    scan_tables.RECONSTRUCTION,
    scan_tables.PROJECTIONS,
    scan_tables.AXIS_PLACES,
    scan_tables.DEVIATIONS,
    scan_tables.QUALITY,
    scan_tables.COHORT,
)
