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
        Column("n_train", "Participants of the other sites, on whom the model was retrained",
               header="Trained on without it"),
        Column("n_train_folds", "Participants on whom the model of an ordinary fold was trained (mean)",
               header="Trained on in folds"),
        Column("error", "Mean reconstruction error of the site's participants, by the model trained without their "
            "site: share of each map's squared distance to the mean map of its fold that is left unexplained",
               header="Error without it"),
        Column("error_folds", "The same for the same participants by the models of the ordinary folds, which knew "
            "their site",
               header="Error in folds"),
        Column("error_same_size", "The same for PCA trained on `n_train` participants (or all that a fold leaves, if "
            "fewer) drawn at random, who may come from the site. For a site larger than a fold, any remaining "
            "difference from `error` is due to the site, not to the number of participants",
               header="In folds, same sample size"),
        Column("increase", "`error` - `error_folds`, mean over the participants", header="Increase (95 %)"),
        Column("increase_low", "Lower end of its 95 % interval over participants (paired t), given the trained models",
               header="from"),
        Column("increase_high", "Upper end of its 95 % interval", header="to"),
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
        Column("sites", "Sites that are distinguished", header="Sites"),
        Column("balanced_accuracy", "Mean over the sites of the share of participants assigned to their own site, out "
            "of fold", header="Balanced accuracy"),
        Column("chance", "Balanced accuracy of guessing: 1 / `sites`", header="Chance"),
        Column("p", "Share of random relabellings of the participants' sites, each with its own ComBat, that reach "
            "this accuracy", header="p"),
        Column("permutations", "Number of relabellings behind `p`", header="Relabellings"),
        _REASON,
    ),
)  # fmt: skip
