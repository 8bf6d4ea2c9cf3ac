"""Tables of one row per scan, in ``phenotype/``."""

from __future__ import annotations

from .columns import SCAN, Column, Table
from .measures import QUALITY_COLUMNS
from .methods import EMBEDDINGS

LATENTS = Table(
    "phenotype/latents.tsv",
    "scan",
    (
        *SCAN,
        Column(
            "latent_<number>",
            "Latent variable computed by a model that did not see this participant, rotated onto the axes of the "
            "model trained on all participants (arbitrary units)",
        ),
    ),
)
LATENTS_FULL = Table(
    "group/latents_full.tsv",
    "scan",
    (
        *SCAN,
        Column(
            "latent_<number>",
            "Latent variable computed by the model trained on all participants, including this one (arbitrary "
            "units): predictions from it cannot be evaluated on the same participants",
        ),
    ),
)
REGIONAL = Table(
    "phenotype/regional_gm.tsv",
    "scan",
    SCAN,
    Column("<region>", "Grey matter of <region>", "ml"),
)
RECONSTRUCTION = Table(
    "phenotype/reconstruction.tsv",
    "scan",
    (
        *SCAN,
        Column(
            "error",
            "Out-of-fold reconstruction error, 1 - `explained_variance`: share of this map's variance about the "
            "training mean that remains unexplained by a model that did not see this participant",
        ),
        Column(
            "explained_variance",
            "Share of this map's variance about the training mean that the model explains, out-of-fold; values "
            "below 0 are worse than the mean map",
        ),
        Column("explained_variance_pca", "The same for PCA with the same number of components"),
        Column(
            "mean_squared_error",
            "Mean squared difference between map and reconstruction in the brain mask, by the same model; it "
            "grows with head size",
        ),
        Column("fold", "Fold in which this participant was held out"),
        Column(
            "explained_variance_linear",
            "The same for the linear path fitted to the same training participants",
        ),
    ),
)
PROJECTIONS = Table(
    "phenotype/projections.tsv",
    "scan",
    (
        *SCAN,
        Column("pca_<number>", "Coordinate of the principal component analysis of the latents (unsupervised)"),
        *(
            Column(f"{each.name}{suffix}_<number>", f"Coordinate of {each.title} in {many} dimensions (unsupervised)")
            for each in EMBEDDINGS
            for suffix, many in (("", "two"), ("3d", "three"))
        ),
        Column(
            "pls_<contrast>_<number>",
            "Coordinate of the partial least squares of <contrast>, out-of-fold (supervised)",
        ),
        Column(
            "pls_<number>", "Coordinate of the partial least squares of the first contrast, out-of-fold (supervised)"
        ),
    ),
)
AXIS_PLACES = Table(
    "phenotype/axis.tsv",
    "scan",
    (
        *SCAN,
        Column(
            "place_<contrast>",
            "Held-out position on the axis of <contrast> in latent space, in standard deviations within the "
            "groups; 0 is the mean of the second group (of all participants for a score)",
        ),
    ),
)
DEVIATIONS = Table(
    "phenotype/deviations.tsv",
    "scan",
    (
        *SCAN,
        Column("error", "W-score of the reconstruction error relative to the reference group, covariates removed"),
        Column(
            "error_p",
            "With `--model`: share of the training cohort, counting this person, whose reconstruction error (as "
            "a share of the map's own sum of squares) is at least as large by models that did not see them "
            "(conformal; P(p ≤ a) is at most 2a + 2 (K - 1) / (n + K))",
        ),
        Column(
            "error_p_bound",
            "Twice the weighted mean of the folds' p values: a p value without approximation, at least 2 / (1 + n / K)",
        ),
        Column("latent_<number>", "W-score of the held-out latent relative to the reference group, covariates removed"),
    ),
    Column("<region>", "W-score of the grey matter of <region> relative to the reference group, covariates removed"),
)
QUALITY = Table(
    "phenotype/quality.tsv",
    "scan",
    (
        *SCAN,
        *QUALITY_COLUMNS,
        Column(
            "CohortReasons",
            "Why the scan stands out from this cohort, determined again on every run; it turns `pass` into "
            "`look` in this table, while the sidecar keeps the scan's own verdict",
        ),
    ),
)
COHORT = Table(
    "phenotype/cohort.tsv",
    "scan",
    SCAN,
    Column(
        "<variable>",
        "The columns of `participants.tsv` and of the sessions tables as they were analysed, including `tiv`",
    ),
)
