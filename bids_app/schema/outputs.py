"""Every file of the output that is not a table: its place and what it is, each once. Tables are in ``catalogue``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

GROUP, FIGURES, LOGS = "group", "figures", "logs"

_PLACEHOLDER = re.compile(r"<(\w+)>")


@dataclass(frozen=True)
class Output:
    """A file of the output, or a family of files.

    Attributes
    ----------
    path : str
        In the output folder; ``<placeholders>`` stand for a group, a contrast, a label.
    description : str
        For the documentation.
    """

    path: str
    description: str

    @property
    def name(self) -> str:
        """File name."""
        return self.path.split("/")[-1]

    @property
    def pattern(self) -> str:
        """The path with ``*`` in place of every placeholder, for `glob`."""
        return _PLACEHOLDER.sub("*", self.path)

    def at(self, root: Path, **labels: str) -> Path:
        """Where it is in a folder, its placeholders replaced by the labels; those without a label become ``*``."""
        return root / _PLACEHOLDER.sub(lambda found: labels.get(found[1], "*"), self.path)

    def find(self, root: Path, **labels: str) -> list[Path]:
        """All such files in a folder, in the order of their names."""
        return sorted(root.glob(_PLACEHOLDER.sub(lambda found: labels.get(found[1], "*"), self.path)))

    def label(self, path: Path) -> str:
        """What stands in a file's name, or in that of its folder, for the last placeholder."""
        names = self.path.split("/")
        depth = next((n for n in range(1, len(names)) if _PLACEHOLDER.search(names[-n])), 1)
        parts = [re.escape(part) for part in _PLACEHOLDER.split("/".join(names[-depth:]))[::2]]
        found = re.fullmatch("(.+)".join(parts), "/".join(path.parts[-depth:]))
        return found[found.lastindex] if found and found.lastindex else ""


@dataclass(frozen=True)
class ScanFile:
    """A file of one scan.

    Attributes
    ----------
    kind : str
        What the program calls it.
    ending : str
        Its name after the scan's own part; ``{std}`` stands for ``space-``, ``cohort-`` and ``res-`` of the template,
        ``{space}`` for its name.
    description : str
        For its sidecar and the documentation.
    more : str
        What the documentation says besides.
    type : str
        Of a mask: what its sidecar has as ``Type``.
    """

    kind: str
    ending: str
    description: str
    more: str = ""
    type: str = ""

    @property
    def is_image(self) -> bool:
        """An image, which has a sidecar."""
        return self.ending.endswith(".nii.gz")

    @property
    def on_template(self) -> bool:
        """Whether it lies on the template's grid."""
        return "{std}" in self.ending

    @property
    def stem(self) -> str:
        """Entities and suffix of its name, those of the scan and of the template left out."""
        return self.ending.removesuffix(".nii.gz").removeprefix("{std}_")


_T1W = "T1-weighted image after N4 bias-field correction"
_BRAIN = "Brain mask"
_TISSUES = {"gm": "Grey-matter probability", "wm": "White-matter probability", "csf": "Cerebrospinal-fluid probability"}
_STD = "In template space"

#: In the order in which they are written. The modulated map comes last: that it is there says that all else is, too.
SCAN_FILES: dict[str, ScanFile] = {
    file.kind: file
    for file in (
        ScanFile("t1w", "desc-preproc_T1w.nii.gz", _T1W, "Own space, RAS"),
        ScanFile("mask", "desc-brain_mask.nii.gz", _BRAIN, "Own space", "Brain"),
        *(ScanFile(k, f"label-{k.upper()}_probseg.nii.gz", said, "Own space") for k, said in _TISSUES.items()),
        ScanFile(
            "hypointensities",
            "desc-hypointensities_mask.nii.gz",
            "White matter that is as dark as grey matter or darker",
            "Looks like a lesion on T1w and counts as white matter. Own space",
            "Lesion",
        ),
        ScanFile("t1w_std", "{std}_desc-preproc_T1w.nii.gz", _T1W, _STD),
        ScanFile("mask_std", "{std}_desc-brain_mask.nii.gz", _BRAIN, _STD, "Brain"),
        *(
            ScanFile(f"{k}_std", f"{{std}}_label-{k.upper()}_probseg.nii.gz", said, _STD)
            for k, said in _TISSUES.items()
        ),
        ScanFile(
            "forward", "from-T1w_to-{space}_mode-image_xfm.h5", "Transform to the template", "ITK composite, no sidecar"
        ),
        ScanFile(
            "inverse",
            "from-{space}_to-T1w_mode-image_xfm.h5",
            "Transform from the template",
            "ITK composite, no sidecar",
        ),
        ScanFile(
            "smoothed",
            "{std}_label-GM_desc-smoothed_probseg.nii.gz",
            "Modulated grey matter after Gaussian smoothing",
            "Smoothed by `--smoothing-fwhm`, for other software: the group level smooths maps itself",
        ),
        ScanFile(
            "recon",
            "{std}_label-GM_desc-recon_probseg.nii.gz",
            "Modulated grey matter as reconstructed by the trained model",
            "With `--model`. Its sidecar has the latents, the position of the error in the training cohort, "
            "whether the participant was in that cohort (`InTrainingCohort`), and a hash of the model's weights "
            "(`ModelWeights`)",
        ),
        ScanFile(
            "modulated",
            "{std}_label-GM_desc-modulated_probseg.nii.gz",
            "Grey-matter probability scaled by the Jacobian determinant of the whole native-to-template transform (ml "
            "of native tissue per ml of template); values may exceed 1",
            "**The map that all later analyses read.** Its sidecar has the quality numbers and the origin of the "
            "map (`SourceFile`: size, time, hashes; for a copied map also `SourceDataset`)",
        ),
    )
}

KEPT_MAP = Output("group/kept_<contrast>.nii.gz", "`kept_ml` painted on the atlas")
LOST_MAP = Output("group/lost_<contrast>.nii.gz", "`lost_ml` painted on the atlas")
R2_MAP = Output("group/r2.nii.gz", "`r2` painted on the atlas")
SHAP_MAP = Output("group/shap.nii.gz", "`mean_abs_shap` painted on the atlas")
SAM_MAP = Output("group/sam_<contrast>.nii.gz", "Distance of SAM's bound below chance, painted on the atlas")
VBM_T = Output("group/vbm_<contrast>_t.nii.gz", "t at each voxel of the smoothed maps, covariates removed")
VBM_T_SIDECAR = Output(
    "group/vbm_<contrast>_t.json",
    "Its sidecar: `Contrast`, `DegreesOfFreedom`, and `DrawnFrom`, the |t| above which the page draws it: the smallest "
    "significant value, or the value for an uncorrected p of .001 if none is significant",
)
VBM_LOGP = Output(
    "group/vbm_<contrast>_logp.nii.gz", "Minus the logarithm (base 10) of the family-wise p at each voxel"
)
VBM_TFCE = Output(
    "group/vbm_<contrast>_tfce_logp.nii.gz",
    "The same for threshold-free cluster enhancement at 3 mm (`--voxelwise tfce`)",
)
EXAMPLES = Output("group/reconstructions.nii.gz", "Example maps beside their reconstructions")
ERROR_MAP = Output("group/error_<group>.nii.gz", "Mean squared error of the reconstructions of a group's maps")
BY_EPOCH = Output(
    "group/reconstructions_by_epoch.nii.gz",
    "A map held out from the full model's first inner training, and its reconstruction after epochs 0, 1, 2, 4, "
    "8 … and the best epoch",
)
TRAVERSALS_IMAGE = Output(
    "group/traversals.nii.gz",
    "Change in the decoded map when one latent moves by two standard deviations, for the latents with the "
    "largest variance",
)
MODEL_WEIGHTS = Output("group/model/model.safetensors", "Weights of the model")
MODEL_CARD = Output(
    "group/model/model.json",
    "Card of the model: architecture, grid, seed, versions, salted hashes of the training participants",
)
FOLD_WEIGHTS = Output("group/model/folds/fold-<number>/model.safetensors", "Weights of the model of a fold")
FOLD_CARD = Output(
    "group/model/folds/fold-<number>/model.json",
    "Its card: `calibration` holds the errors of the people whom it did not see (one per person, sorted), with "
    "which `--model` compares a new error",
)
SUMMARY = Output(
    "group/summary.json",
    "Settings, the space (`template`) and voxel size in mm (`resolution`) of the maps, excluded scans and the "
    "reasons, the basis of the SHAP values (`shap`: supported or not, the reason, R², model), time of every step",
)
GROUP_FIGURES = Output("group/figures/", "The parts of the report, one file for each")

#: Files of the group level besides the tables.
GROUP_FILES: tuple[Output, ...] = (
    KEPT_MAP, LOST_MAP, R2_MAP, SHAP_MAP, SAM_MAP, VBM_T, VBM_T_SIDECAR, VBM_LOGP, VBM_TFCE, EXAMPLES, ERROR_MAP,
    BY_EPOCH, TRAVERSALS_IMAGE, MODEL_WEIGHTS, MODEL_CARD, FOLD_WEIGHTS, FOLD_CARD, SUMMARY, GROUP_FIGURES,
)  # fmt: skip

DESCRIPTION = Output("dataset_description.json", "Name, type and origin of the dataset")
README = Output("README", "A description in plain text")
BIDSIGNORE = Output(".bidsignore", "Files that the BIDS schema does not cover")
DESC_LABELS = Output("descriptions.tsv", "Meaning of the `desc-` labels")
PARTICIPANTS = Output(
    "participants.tsv",
    "Copied from the input: participants who have a folder here, with the identifier of the folder",
)
PARTICIPANTS_DICTIONARY = Output("participants.json", "The dictionary of `participants.tsv`")
ATLAS = Output("tpl-<T>/anat/tpl-<T>_atlas-<A>_dseg.nii.gz", "The atlas as used in the analysis")
ATLAS_REGIONS = Output("tpl-<T>/anat/tpl-<T>_atlas-<A>_dseg.tsv", "Its regions: `index`, `name`")
ATLAS_SIDECAR = Output("tpl-<T>/anat/tpl-<T>_atlas-<A>_dseg.json", "Its sidecar")
ATLAS_DESCRIPTION = Output("atlas-<A>_description.json", "Its name and licence")
RUN_OPTIONS = Output("logs/<run>.toml", "The effective configuration, which `--config-file` can read")
CRASH = Output(
    "logs/crash-<when>-<step>.txt", "For a step that failed: its inputs and the place in the program where it stopped"
)
METHODS_TEXT = Output("logs/CITATION.md", "The methods text")
METHODS_HTML = Output("logs/CITATION.html", "The same as an HTML page")
METHODS_TEX = Output("logs/CITATION.tex", "The same for LaTeX")
REFERENCES = Output("logs/CITATION.bib", "Its references")
GROUP_PAGE = Output("group.html", "The report of the group level")
PARTICIPANT_PAGE = Output("sub-<label>.html", "A participant's report")
PARTICIPANT_FIGURES = Output("sub-<label>/figures/", "The parts of a participant's report, one file for each")

#: Files of the dataset as a whole.
DATASET_FILES: tuple[Output, ...] = (
    DESCRIPTION, README, BIDSIGNORE, DESC_LABELS, PARTICIPANTS, PARTICIPANTS_DICTIONARY, ATLAS, ATLAS_REGIONS,
    ATLAS_SIDECAR, ATLAS_DESCRIPTION, RUN_OPTIONS, CRASH, METHODS_TEXT, METHODS_HTML, METHODS_TEX, REFERENCES,
    GROUP_PAGE, PARTICIPANT_PAGE, PARTICIPANT_FIGURES,
)  # fmt: skip

#: The truth of a simulated dataset, in that dataset.
GROUND_TRUTH = "code/ground_truth.tsv"
GROUND_TRUTH_OF_PARTICIPANTS = "code/ground_truth_participants.tsv"
