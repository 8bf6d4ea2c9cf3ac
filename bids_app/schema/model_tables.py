"""Tables about the model, its reconstructions and projections, in ``group/``."""

from __future__ import annotations

from .columns import SCAN, VOLUME, Column, Table

_METHOD = Column("method", "The projection", header="Projection")
_SOURCE = Column("source", "`map` or `reconstruction`")

TRAINING = Table(
    "group/training.tsv",
    "model and epoch",
    (
        Column("fold", "The fold that was left out, or `all`: the model trained on all participants"),
        Column("epoch", "Epoch of the training"),
        Column("train_loss", "Loss on the training participants"),
        Column("valid_loss", "Loss on the participants held out to decide the number of epochs"),
    ),
)
CROSS_FIT = Table(
    "group/cross_fit.tsv",
    "fold",
    (
        Column("fold", "The fold that was left out"),
        Column("n_train", "Number of training scans"),
        Column("n_test", "Number of scans left out"),
        Column(
            "ev_autoencoder",
            "Explained variance of the left-out maps by the model in use, which is an autoencoder if `epochs` is "
            "above 0",
        ),
        Column("ev_pca", "The same by PCA with the same number of components"),
        Column("ev_linear", "The same by the linear model of the same training participants (the linear path)"),
        Column(
            "epochs", "Epochs of training of the convolutions in this fold's model; 0 means that they are not in use"
        ),
    ),
)
PROJECTION_QUALITY = Table(
    "group/projection_quality.tsv",
    "projection and contrast",
    (
        _METHOD,
        Column("trustworthiness", "Share of the shown neighbours that are neighbours among the latents, 0 to 1",
               header="Trustworthiness"),
        Column("continuity", "Share of the neighbours among the latents that are shown as neighbours, 0 to 1",
               header="Continuity"),
        Column("knn_auc", "How well a scan's neighbours in the picture predict its group", header="AUC of neighbours"),
        Column("contrast", "The contrast of `knn_auc`", header="Contrast"),
        Column("dimensions", "2 or 3", header="Dimensions"),
        Column("seed_disparity", "Distance of the pictures from other seeds to that of the first seed; 0 means that "
            "all give the same picture",
               header="Disparity between seeds"),
    ),
)  # fmt: skip
PROJECTION_SEEDS = Table(
    "group/projection_seeds.tsv",
    "projection, seed and scan",
    (
        *SCAN,
        _METHOD,
        Column("seed", "Seed of the projection"),
        Column("x", "First coordinate, aligned with that of the first seed (Procrustes)"),
        Column("y", "Second coordinate, aligned with that of the first seed (Procrustes)"),
    ),
)
RECONSTRUCTIONS = Table(
    "group/reconstructions.tsv",
    "volume of the image of that name",
    (
        VOLUME,
        *SCAN,
        Column("kind", "`typical` or `extreme`: the size of the error in this cohort"),
        _SOURCE,
        Column("error", "Mean squared error in the brain mask, out-of-fold"),
    ),
)
RECONSTRUCTIONS_BY_EPOCH = Table(
    "group/reconstructions_by_epoch.tsv",
    "volume of the image of that name",
    (
        VOLUME,
        *SCAN,
        _SOURCE,
        Column("epoch", "Epoch of the training; 0 is before training"),
        Column("error", "Mean squared error in the brain mask"),
        Column("epochs_in_use", "Epochs for which the model in use was trained"),
    ),
)
TRAVERSALS = Table(
    "group/traversals.tsv",
    "volume of the image of that name",
    (
        VOLUME,
        Column("latent", "Number of the latent, from 1"),
        Column("sd", "Distance by which it is moved", "standard deviations"),
        Column("variance_share", "Its share of the variance of all latents"),
    ),
)
