"""The quality numbers of a scan: keys of the map's sidecar, columns of ``phenotype/quality.tsv``, rows of the page."""

from __future__ import annotations

from dataclasses import dataclass

from .columns import Column


@dataclass(frozen=True)
class Measure:
    """A number of the sidecar.

    Attributes
    ----------
    key : str
        Key of the sidecar and column of the table.
    name : str
        What the participant's page calls it.
    description : str
        For dictionaries and documentation.
    units : str
        Of the value; empty for a ratio.
    scale : (float, float), optional
        Ends of the scale on which the page draws it, beside its usual range (`schema.limits`).
    shown_unit : str
        What stands behind the number on the page, where that is not its unit.
    rule : str
        The rule it falls under; default its own key. A rule on a share of the intracranial volume is drawn in ml.
    """

    key: str
    name: str
    description: str
    units: str = ""
    scale: tuple[float, float] | None = None
    shown_unit: str = ""
    rule: str = ""

    @property
    def column(self) -> Column:
        """Its column of the quality table."""
        return Column(self.key, self.description, self.units)


_TISSUES = {"csf": "cerebrospinal fluid", "gm": "grey matter", "wm": "white matter"}

#: In the order of the columns of the quality table.
MEASURES = (
    Measure("GMVolume", "Grey matter", "Grey matter in the scan's own space", "ml", (200, 1300), rule="GMFraction"),
    Measure("WMVolume", "White matter", "White matter in the scan's own space", "ml", (100, 1100), rule="WMFraction"),
    Measure("CSFVolume", "Cerebrospinal fluid", "Cerebrospinal fluid in the scan's own space", "ml", (0, 900),
            rule="CSFFraction"),
    Measure("WMHypointensityVolume", "White matter as dark as grey matter (hypointensities)",
            "White matter as dark as grey matter or darker, in the scan's own space, part of `WMVolume`; not a "
                "measure of hyperintensities, because about half of the planted volume is found and FLAIR shows "
                "other lesions",
            "ml"),
    Measure("TIV", "Intracranial volume", "Total intracranial volume in the scan's own space", "ml", (700, 2400)),
    Measure("ModulatedGMVolume", "Grey matter in the modulated map", "Sum of the modulated map", "ml"),
    Measure("GMVolumeConservation", "Grey matter kept by modulation",
            "Modulated over native grey-matter volume; 1 is exact", scale=(0.97, 1.03)),
    Measure("GMFraction", "Grey matter, share of the intracranial volume",
            "Grey matter as a share of the intracranial volume"),
    Measure("WMFraction", "White matter, share of the intracranial volume",
            "White matter as a share of the intracranial volume"),
    Measure("CSFFraction", "Fluid, share of the intracranial volume",
            "Cerebrospinal fluid as a share of the intracranial volume"),
    Measure("GMIntensityAgreement", "Grey matter relative to the estimate from intensities",
            "Grey matter of the map over a plain partial-volume estimate from the scan's intensities",
                scale=(0.7, 1.3)),
    Measure("RimOutsideShare", "Bone or membrane in the rim of the mask",
            "Share of the mask's rim that is bone, or a membrane with fluid beneath it; not computed for scans "
                "that were already stripped",
            scale=(0, 0.6), shown_unit="of the rim"),
    Measure("MaskOverlap", "Overlap with the template's brain",
            "Dice overlap of the warped brain mask with the template's", scale=(0.8, 1.0), shown_unit="Dice"),
    Measure("PriorCorrelation", "Similarity to the template's grey matter",
            "Correlation of the warped grey matter with the template's", scale=(0.4, 1.0), shown_unit="r"),
    Measure("MapLikeness", "Similarity of a map from another program to the template's grey matter",
            "Correlation of a map from another program with the template's grey matter, both smoothed by 6 mm",
            scale=(0, 1.0), shown_unit="r"),
    Measure("MapCoverage", "Grey matter inside the field of view of a map from another program",
            "Share of the template's grey matter inside the field of view of a map from another program"),
    Measure("AsymmetryLikeness", "Difference between right and left as in most brains",
            "How much right and left differ in the modulated map as they do in most people, -1 to 1; negative for a "
                "mirror image; in MNI152 spaces only",
            scale=(-0.3, 0.3)),
    Measure("GreyWhiteContrast", "Contrast between grey and white matter",
        "Distance between the intensities of grey "
        "and white matter",
            "standard deviations", (0, 10), "SD"),
    Measure("SurfaceBrightness", "Brightness of the mask's rim",
            "Brightness of the mask's rim, as a share of the brightness of white matter; high values suggest "
                "skull left in the mask",
            scale=(0, 2), shown_unit="of white matter"),
    Measure("CutShare", "Part of the rim where brain seems cut off",
            "Share of the mask's rim where brain continues outside; high values suggest that the mask cuts brain "
                "off",
            scale=(0, 1), shown_unit="of the rim"),
    Measure("CutArea", "Brain where the scan ends",
            "Area of brain on the faces of the field of view, and in whole heads on space that was set to zero: "
                "the scan ends there, and brain beyond it is not measured",
            "cm2", shown_unit="cm²"),
    Measure("MissingShare", "Brain missing in the scan",
            "Share of deepbet's brain outline that is a hole at least 6 mm wide and open to the outside: brain "
                "removed by an earlier stripping or defacing; not computed with `--skull-strip skip`",
            scale=(0, 0.2), shown_unit="of the brain"),
    Measure("SidesUncertain", "Left and right uncertain in the header",
            "0 if left and right are certain, 1 if neither sform nor qform has a code, 2 if the two disagree; "
                "unless it is 0, a result for one side may belong to the other"),
    Measure("VoxelSizesDiffer", "Voxel sizes of sform and qform differ by",
            "Largest relative difference of the voxel sizes that sform and qform give; all volumes depend on which "
                "of them is right"),
    Measure("FoldedShare", "Share of the brain that the deformation folds",
            "Share of the brain where the Jacobian determinant is 0 or less"),
    Measure("Noise", "Noise, as a share of the brightness of white matter",
            "Noise in white matter relative to its mean"),
    Measure("BiasRange", "Corrected unevenness of brightness, brightest over darkest place",
            "Range of the bias field in the brain, brightest over darkest place"),
    Measure("JacobianMin", "Smallest local volume, relative to the template",
            "Smallest Jacobian determinant in the brain; 0 or less is a fold"),
    Measure("JacobianMax", "Largest local volume, relative to the template",
        "Largest Jacobian determinant in the "
        "brain"),
    Measure("ResolutionMark", "Mark of the voxel size",
            "Mark of the voxel size, root mean square; 1 is good, 6 is poor"),
    Measure("NoiseMark", "Mark of the noise", "Mark of the noise relative to the contrast between grey and white "
        "matter"),
    Measure("BiasMark", "Mark of the bias",
            "Mark of the unevenness before correction relative to the contrast between grey and white matter"),
    Measure("ImageQualityMark", "Mark of resolution, noise and bias",
            "Power mean of the three marks; the worst mark dominates", scale=(0.5, 9.5), shown_unit="(1 good, 6 poor)"),
    Measure("cjv", "Joint variation of grey and white matter (MRIQC's cjv; lower is better)",
            "Coefficient of joint variation of grey and white matter (MRIQC)"),
    Measure("cnr", "Contrast-to-noise ratio of grey and white matter (MRIQC's cnr; higher is better)",
            "Contrast-to-noise ratio of grey and white matter (MRIQC); missing if there is no air around the "
                "head (stripped scans, background set to one value)"),
    Measure("efc", "Entropy focus criterion (MRIQC's efc; lower is better)", "Entropy focus criterion (MRIQC)"),
    *(
        Measure(f"snr_{key}", f"Signal-to-noise ratio, {name} (MRIQC's snr_{key}; higher is better)",
                f"Signal-to-noise ratio of {name} (MRIQC)")
        for key, name in _TISSUES.items()
    ),
    Measure("snr_total", "Signal-to-noise ratio, mean of the three tissues (MRIQC's snr_total; higher is better)",
            "Mean of the three signal-to-noise ratios (MRIQC)"),
    *(
        Measure(f"icvs_{key}", f"Share of the intracranial volume, {name} (MRIQC's icvs_{key})",
                f"Share of {name} in the intracranial volume (MRIQC)")
        for key, name in _TISSUES.items()
    ),
    *(
        Measure(f"rpve_{key}", f"Residual partial volume error, {name} (MRIQC's rpve_{key}; lower is better)",
                f"Residual partial volume error of {name} (MRIQC's definition)")
        for key, name in _TISSUES.items()
    ),
)  # fmt: skip
#: Of the reconstruction, where a model encoded the map; not in the quality table.
ENCODED = (
    Measure("ReconstructionErrorPercentile", "Reconstruction error within the training cohort",
            "Percentile of the error in the training cohort", "percentile", (0, 100)),
    Measure("ReconstructionError", "Reconstruction error", "Mean squared error of the reconstruction, in the mask"),
    Measure("ReconstructionErrorP", "p of the reconstruction error among unseen people",
            "Share of the training cohort, counting this person, whose unexplained share of the map's sum of "
                "squares is at least as large by models that did not see them (conformal; P(p ≤ a) is at most 2a + 2 "
                "(K - 1) / (n + K)); missing for participants of the training cohort"),
    Measure("ReconstructionErrorPBound", "p of the reconstruction error, valid for any cohort and model",
            "Twice the weighted mean of the folds' p values: a p value without approximation, at least "
            "2 / (1 + n / K)"),
    Measure("ExplainedVariance", "Explained variance",
            "Share of the map's variance about the training mean that the reconstruction explains"),
)  # fmt: skip
#: The judgement of them.
VERDICT = Column("QualityVerdict", "`pass`, `look` or `fail`; the group level excludes failed scans and lists them")
REASONS = Column("QualityReasons", "Why the verdict is not `pass`")
QUALITY_COLUMNS = (*(measure.column for measure in MEASURES), VERDICT, REASONS)
NAMED = {measure.key: measure for measure in (*MEASURES, *ENCODED)}
