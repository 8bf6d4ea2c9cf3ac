"""Tables about the claims, in ``group/``."""

from __future__ import annotations

from .claims import CLAIMS, GRADES
from .columns import CONTRAST, SCAN, Column, N, Table

_CLAIM = Column("claim", "The claim in words", header="Claim")
_CLAIM_ID = Column("claim_id", f"Kind of claim: {', '.join(f'`{claim.id}`' for claim in CLAIMS)}")

VERDICTS = Table(
    "group/verdicts.tsv",
    "claim",
    (
        _CLAIM,
        Column("verdict", ", ".join(f"`{grade.name}`" for grade in GRADES[:-1]) + f" or `{GRADES[-1].name}`",
               header="Verdict"),
        Column("deciding_number", "The number that decided the verdict", header="Deciding number"),
        Column("sentence", "The verdict in words", header="In words"),
        Column("decided_by", "What that number measures"),
        CONTRAST,
        N,
        _CLAIM_ID,
    ),
)  # fmt: skip
VALIDATION = Table(
    "group/validation.tsv",
    "bound or test of a claim",
    (
        _CLAIM,
        Column("method", "The bound or the test", header="Method"),
        N,
        Column("error", "Error; `sample` says for which participants. Of the test of a score, an order or the "
            "reconstruction error, 1 - R²; of convolutions, their error over the linear model's", header="Error"),
        Column("bound", "Upper limit of the error", header="Upper bound"),
        Column("p", "p value of the permutation test", header="p"),
        Column("alpha", "Level of the test over all contrasts of this kind of claim; for a bound, one minus its "
            "confidence, which is that level divided among the contrasts", header="α"),
        Column("p_adjusted", "The p value adjusted for the contrasts of this kind of claim (Holm); the primary "
               "contrast keeps its own", header="p, adjusted"),
        Column("auc", "For the out-of-fold prediction that the p value tests: probability that a participant of the "
            "first group has the larger prediction; for a score or an order, the c-index", header="AUC"),
        Column("auc_low", "Lower end of its interval, at the confidence of the bounds", header="low"),
        Column("auc_high", "Upper end of its interval", header="high"),
        Column("chance", "Error of guessing", header="Chance"),
        Column("sample", "`held-out`: participants whom the model had not seen; `in-sample`: those on whom it was "
            "fitted",
               header="Sample"),
        CONTRAST,
        Column("strict", "Whether the bound may give the top grade", header="Strict"),
        Column("note", "Remarks on the test", header="Note"),
        _CLAIM_ID,
    ),
)  # fmt: skip
BASELINES = Table(
    "group/baselines.tsv",
    "contrast and features",
    (
        CONTRAST,
        Column("features", "Input of the classifier or the regression", header="Features"),
        N,
        Column("balanced_accuracy", "Out-of-fold balanced accuracy for two groups", header="Balanced accuracy"),
        Column("ci_low", "Lower end of its 95 % interval", header="95 % low"),
        Column("ci_high", "Upper end of its 95 % interval", header="95 % high"),
        Column("auc", "Area under the ROC curve; for an order or a score, the c-index", header="AUC"),
        Column("delta_vs_latent", "Latents minus these features, in units of `delta_of`",
               header="Latents minus these"),
        Column("delta_ci_low", "Lower end of its 95 % interval", header="95 % low"),
        Column("delta_ci_high", "Upper end of its 95 % interval", header="95 % high"),
        Column("delta_p", "p value of the difference", header="p"),
        Column("delta_of", "Measure of which the difference is taken", header="of"),
        Column("gain", "What the latents add to the covariates, out-of-fold, in units of `gain_of`", header="Gain"),
        Column("gain_low", "Lower end of its interval, at the confidence of the bounds", header="low"),
        Column("gain_high", "Upper end of its interval", header="high"),
        Column("gain_p", "p value of the gain", header="p of gain"),
        Column("gain_p_adjusted", "The same adjusted for the contrasts (Holm); the primary contrast keeps its own",
               header="p, adjusted"),
        Column("gain_of", "Measure of which the gain is taken", header="of"),
        Column("gain_level", "One minus the confidence of its interval"),
    ),
)  # fmt: skip
PREDICTIONS = Table(
    "group/predictions.tsv",
    "contrast and scan",
    (
        *SCAN,
        CONTRAST,
        Column("truth", "The scan's group, step or score"),
        Column("predicted", "Prediction of a model that never saw the participant; for two groups, at `threshold`"),
        Column("probability", "Probability of the first group, calibrated on training rows"),
        Column("score", "Discriminant score of the first group against the second"),
        Column("threshold", "Probability above which the first group is predicted, chosen on training rows"),
        Column("fold", "Fold in which the participant was held out"),
    ),
)
PREDICTION_QUALITY = Table(
    "group/prediction_quality.tsv",
    "contrast and measure",
    (
        CONTRAST,
        Column(
            "measure",
            "`auc`, `sensitivity` and `specificity` (for the first group), `balanced_accuracy`, `brier`; for "
            "orders and scores `mae` (mean absolute error), `r`, `c_index`, `r_within_groups`",
            header="Measure",
        ),
        Column("value", "Its value on held-out participants", header="Value"),
        Column("low", "Lower end of its 95 % interval", header="95 % low"),
        Column("high", "Upper end of its 95 % interval", header="95 % high"),
        Column("chance", "Its value without any information", header="Chance"),
        Column("p", "p value, labels permuted", header="p"),
        N,
    ),
)
CONFUSION = Table(
    "group/confusion.tsv",
    "true and predicted group",
    (
        Column("truth", "The participant's group"),
        Column("predicted", "The group predicted by a model that never saw the participant, all groups at once"),
        Column("people", "Number of participants"),
    ),
)
