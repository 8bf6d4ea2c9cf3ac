"""Tables about regions, in ``group/``."""

from __future__ import annotations

from .columns import CONTRAST, HIGHER_IN, INDEX, NAME, SCAN, Column, N, Table

LRCP_REGIONS = Table(
    "group/lrcp_regions.tsv",
    "contrast and region",
    (
        INDEX,
        NAME,
        CONTRAST,
        Column("lrcp", "Latent-regional correlation profile: the score that ranks regions", header="LRCP"),
        Column("p_fwe", "p value of `lrcp`, family-wise over the regions", header="p, family-wise"),
        Column("r2", "Share of the region's variance that all latents predict, out-of-fold", header="R²"),
        Column(
            "auc",
            "How well that predicted signal separates the groups, 0.5 to 1 (of a score or an order: the c-index)",
            header="AUC",
        ),
        Column("rank_median", "Median rank by `lrcp` over fold models and bootstrap samples", header="Median rank"),
        Column("rank_iqr", "Interquartile range of that rank", header="IQR"),
        Column("auc_p_fwe", "p value of `auc`, family-wise over the regions", header="p of AUC, family-wise"),
        HIGHER_IN,
        Column("n_latents", "Latents that follow the region, family-wise", header="Single latents"),
        Column("lrcp_thresholded", "The plainer reading of LRCP, from those latents alone"),
        N,
    ),
)
LRCP_PROFILE = Table(
    "group/lrcp_profile.tsv",
    "region and latent",
    (
        INDEX,
        NAME,
        Column("latent", "Name of the latent, as in `phenotype/latents.tsv`"),
        Column("rho", "Correlation of region and latent, covariates removed"),
        Column("p_fwe", "Its p value, family-wise over all regions and latents"),
        Column("q", "Its false-discovery rate (Benjamini and Hochberg)"),
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
        Column("level", "What that p value is held against: less than 0.05 where there are several contrasts (Holm)"),
        Column("auc", "Probability that one of the first group has more of the region than one of the second"),
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
            "Mean absolute SHAP value, in shares of the map's variance",
            header="Mean |SHAP|",
        ),
        Column("ci_low", "Lower end of its 95 % bootstrap interval", header="Low"),
        Column("ci_high", "Upper end of its 95 % bootstrap interval", header="High"),
        Column("mean_abs_shap_<group>", "The same for the group <group> alone", header="Mean |SHAP|, <group>"),
        Column("direction", "1 where more grey matter goes with more error, -1 where with less", header="Direction"),
        Column("supported", "Whether the regression predicts the error at all"),
    ),
)
SHAP_VALUES = Table(
    "group/shap_values.tsv",
    "scan",
    SCAN,
    Column("<region>", "Out-of-fold SHAP value of <region>, in shares of the map's variance"),
)
