"""Tables about the sites, in ``group/``; they are there where ``--site-column`` names some."""

from __future__ import annotations

from .columns import Column, Table

_SITE = Column("site", "Site", header="Site")
_REASON = Column("reason", "Why it is not testable; `n/a` where it is", header="Not testable because")

SITE_ERRORS = Table(
    "group/site_errors.tsv",
    "site and model",
    (
        _SITE,
        Column("model", "`autoencoder` (the model in use), `linear` (its linear path) or `pca`", header="Model"),
        Column("n", "Participants of the site, one scan each", header="n"),
        Column("n_train", "Participants of the other sites, on whom the model was trained anew",
               header="Trained on without it"),
        Column("n_train_folds", "Participants whom an ordinary fold's model was trained on (mean)",
               header="Trained on in folds"),
        Column("error", "Mean reconstruction error (1 - explained variance) of the site's people by the model trained "
               "without their site", header="Error without it"),
        Column("error_folds", "The same of the same people by the models of the ordinary folds, which knew their site",
               header="Error in folds"),
        Column("error_same_size", "The same of PCA that may know the site, but was trained on `n_train` people drawn "
               "at random: what is left between it and `error` is the site and not the number of people",
               header="In folds, as few people"),
        Column("increase", "`error` - `error_folds`, mean over the people", header="Increase (95 %)"),
        Column("increase_low", "Its 95 % interval over people (paired t), the trained models as they are: lower end",
               header="from"),
        Column("increase_high", "Upper end", header="to"),
        _REASON,
    ),
)  # fmt: skip
SITE_LATENTS = Table(
    "group/site_latents.tsv",
    "state of the latents",
    (
        Column("latents", "`as encoded`, or `after ComBat` fitted inside the training rows of each fold",
               header="Latents"),
        Column("n", "Participants, one scan each", header="n"),
        Column("sites", "Sites that are told apart", header="Sites"),
        Column("balanced_accuracy", "Mean over the sites of the share of their people who are given their own site, "
               "out of fold", header="Balanced accuracy"),
        Column("chance", "The balanced accuracy of guessing: 1 / `sites`", header="Chance"),
        Column("p", "Share of relabellings of the people's sites, each with its own ComBat, that reach it", header="p"),
        Column("permutations", "Relabellings behind `p`", header="Relabellings"),
        _REASON,
    ),
)  # fmt: skip
