"""Tables about regions, in ``group/``."""

from __future__ import annotations

from .columns import CONTRAST, HIGHER_IN, INDEX, NAME, SCAN, Column, N, Table
from .labels import LABELS


def _estimate(name: str, description: str, units: str = "", header: str = "") -> tuple[Column, Column, Column]:
    """A number and the two ends of its 95 % interval."""
    return (
        Column(name, description, units, header),
        Column(f"{name}_low", f"Lower end of the 95 % interval of `{name}`, one region at a time", units),
        Column(f"{name}_high", f"Upper end of the 95 % interval of `{name}`, one region at a time", units),
    )


LRCP_REGIONS = Table(
    "group/lrcp_regions.tsv",
    "contrast and region",
    (
        INDEX,
        NAME,
        CONTRAST,
        Column("lrcp", "Size of `kept_ml`: the score that ranks regions", "ml", header="LRCP (ml)"),
        Column("label", f"One of {', '.join(f'`{label}`' for label in LABELS)}; with several contrasts at the level "
               "that Holm's method leaves to each, which is below 0.05", header="Label"),
        *_estimate(
            "difference_ml",
            "Difference in the region's grey matter between the groups (first minus second; per unit for a score "
                "or an order), covariates removed",
            "ml",
            "Difference (ml)",
        ),
        Column("difference_p_fwe", "p value of `difference_ml`, family-wise over the regions", header="p"),
        *_estimate("g", "Hedges' g of the difference; for a score, its partial correlation r with the region",
                   header="g (score: r)"),
        *_estimate("kept_ml", "Part of the difference that the held-out reconstructions contain", "ml", "Kept (ml)"),
        Column("kept_p_fwe", "p value of `kept_ml`, family-wise over the regions"),
        *_estimate("kept_share", "`kept_ml` over `difference_ml`; empty where the label says that the region does not "
                   "differ", header="Share kept"),
        *_estimate("lost_ml", "Part of the difference that the reconstructions miss: difference minus kept", "ml",
                   "Lost (ml)"),
        Column("lost_p_fwe", "p value of `lost_ml`, family-wise over the regions", header="p of lost"),
        Column("p_fwe", "p value of \"this difference is kept\": the largest of `difference_p_fwe`, `kept_p_fwe` and "
               "`within_p_fwe`; 1 where the signs disagree or `r2_within` is below 0.1", header="p of kept"),
        Column("r2", "Share of the region's variance that the held-out reconstruction contains, covariates removed",
               header="R²"),
        Column("r2_within", "The same with the contrast removed as well: from person to person within the groups",
               header="R² within"),
        Column("within_p_fwe", "p value of `r2_within`, family-wise over the regions"),
        Column("specific_ml", "`difference_ml` with total grey matter removed as well", "ml"),
        Column("specific_kept_ml", "`kept_ml` with total grey matter removed as well", "ml"),
        Column("specific_p_fwe", "p value of `specific_ml`, family-wise over the regions"),
        Column("specific_r2_within", "`r2_within` with total grey matter removed as well"),
        HIGHER_IN,
        Column("rank_median", "Median rank by `lrcp` in bootstrap samples of participants", header="Median rank"),
        Column("rank_iqr", "Interquartile range of that rank"),
        Column("lrcp_literal", "The literal reading of the article: correlation with each latent that survives a "
            "family-wise test, times how well that latent discriminates the groups, summed; in sample"),
        N,
    ),
)  # fmt: skip
DISEASE_AXIS = Table(
    "group/disease_axis.tsv",
    "contrast and region",
    (
        INDEX,
        NAME,
        CONTRAST,
        *_estimate("observed_ml_per_sd", "Grey matter of the region per standard deviation along the contrast's axis "
                   "in latent space, within the groups", "ml"),
        *_estimate("reconstructed_ml_per_sd", "The same in the held-out reconstructions", "ml"),
        Column("decoded_ml_per_sd", "Change drawn by the decoder for one standard deviation along the axis, mean of "
            "the fold models; empty where latents were harmonised", "ml"),
        N,
    ),
)  # fmt: skip
PARCELS = Table(
    "group/lrcp_parcels.tsv",
    "contrast",
    (
        CONTRAST,
        Column("between_regions", "Share of the variance of the voxelwise differences that lies between the regions "
            "of the atlas"),
        Column("between_random", "Median of that share over random parcels of the same sizes as the regions"),
        Column("p", "Share of the random parcellations with at least as much variance between their parcels"),
        Column("cuts", "Number of random parcellations"),
        Column("regions", "Number of regions"),
        N,
    ),
)  # fmt: skip
LRCP_PROFILE = Table(
    "group/lrcp_profile.tsv",
    "region and latent",
    (
        INDEX,
        NAME,
        Column("latent", "Name of the latent, as in `group/latents_full.tsv`"),
        Column("rho", "Correlation of region and latent, covariates removed"),
        Column("p_fwe", "Its p value, family-wise over all regions and latents"),
        Column("q", "Its false-discovery rate (Benjamini and Hochberg)"),
    ),
)
VBM_PEAKS = Table(
    "group/vbm_peaks.tsv",
    "peak",
    (
        CONTRAST,
        Column("cluster", "Number of the cluster of significant voxels, largest first", header="Cluster"),
        Column("cluster_ml", "Its volume", "ml", header="Size (ml)"),
        *(Column(axis, f"Coordinate {axis} of the peak in the template's space", "mm", header=axis) for axis in "xyz"),
        Column("t", "The contrast's t at the peak, covariates removed", header="t"),
        Column("p_fwe", "Family-wise p of the peak over the voxels", header="p, family-wise"),
        Column("region", "Region of the atlas", header="Region"),
        N,
    ),
)
SAM_REGIONS = Table(
    "group/sam_regions.tsv",
    "contrast and region",
    (
        INDEX,
        NAME,
        CONTRAST,
        Column("error", "Out-of-fold balanced error of the region's grey matter alone"),
        Column("bound", "Upper limit of the error in the published form, for all regions at once"),
        Column("chance", "Error of guessing"),
        Column("survives", "Whether `bound` lies below `chance`"),
        Column("error_strict", "Balanced error of the best threshold on all participants"),
        Column("bound_strict", "Upper limit of that error, for all thresholds and regions at once"),
        Column("survives_strict", "Whether `bound_strict` lies below `chance`"),
        Column("p_fwe", "p value of the difference of means (studentised permutation), family-wise over the regions"),
        Column(
            "level", "Level with which that p value is compared: less than 0.05 if there are several contrasts (Holm)"
        ),
        Column(
            "auc",
            "Probability that a participant of the first group has more grey matter in the region than one of the "
            "second",
        ),
        HIGHER_IN,
        N,
    ),
)
SHAP_REGIONS = Table(
    "group/shap_regions.tsv",
    "region",
    (
        INDEX,
        NAME,
        Column(
            "mean_abs_shap",
            "Mean absolute SHAP value, as a share of the map's variance",
            header="Mean |SHAP|",
        ),
        Column("ci_low", "Lower end of its 95 % bootstrap interval", header="Low"),
        Column("ci_high", "Upper end of its 95 % bootstrap interval", header="High"),
        Column("mean_abs_shap_<group>", "The same for the group <group> alone", header="Mean |SHAP|, <group>"),
        Column(
            "direction", "1 if more grey matter goes with a larger error, -1 if with a smaller one", header="Direction"
        ),
        Column("supported", "Whether the regression predicts the error at all"),
    ),
)
SHAP_VALUES = Table(
    "group/shap_values.tsv",
    "scan",
    SCAN,
    Column("<region>", "Out-of-fold SHAP value of <region>, as a share of the map's variance"),
)
