{#- Methods text of one run, in Markdown with citation keys in Pandoc's way ([@key]). Rendered by bids_app.reports.boilerplate. -#}
# Methods

Grey-matter maps and their latent space were analysed with LatentAtlas {{ version }}, a BIDS App [@bids; @bidsapps]
built on Nipype {{ versions.nipype }} [@nipype].
It implements the approach of "Latent Space Projections and Atlases", subtitled "a cautionary tale" [@gorriz2026].

## Grey-matter maps

{% if sloppy %}
This was a quick trial run with coarse settings (option *sloppy*); its numbers are not results.
{% endif %}
{% if any_given %}
{{ "Grey-matter maps were" if not any_computed else ("The grey-matter maps of " ~ n_given ~ " scans were" if n_given != 1 else "The grey-matter map of 1 scan was") }} not computed by LatentAtlas but taken from {{ source }}{% if source_citations %} [{{ source_citations }}]{% endif %}, in the space of the {{ template }} template.
{% if n_unmodulated %}
{{ ("It was" if n_given == 1 else "They were") if n_unmodulated == n_given else "Of these, " ~ n_unmodulated ~ " " ~ ("were" if n_unmodulated != 1 else "was") }} not modulated, because no transform was available: the values are probabilities, not volumes.
{% else %}
{{ "It was" if n_given == 1 and any_computed else "They were" }} modulated (scaled by the Jacobian determinant of the transform to the template) to preserve regional volume [@good2001].
{% endif %}
{% endif %}
{% if any_computed %}
T1-weighted scans{% if n_scans %} ({{ n_scans }} of {{ n_participants }} participant{{ "s" if n_participants != 1 }}){% endif %} were processed as in voxel-based morphometry [@vbm].
{% if skull_strip == "skip" %}
The scans were assumed to be skull-stripped; no brain extraction was run.
{% elif all_stripped %}
All scans had been skull-stripped before. Their outline was kept, except for tissue outside the brain as identified by deepbet {{ versions.deepbet }} [@deepbet].
{% else %}
The brain was extracted with deepbet {{ versions.deepbet }} [@deepbet]{% if n_stripped %}; {{ n_stripped }} scan{{ "s" if n_stripped != 1 }} had been skull-stripped before and kept {{ "their" if n_stripped != 1 else "its" }} outline{% endif %}.
{% endif %}
Intensity non-uniformity was corrected with N4 [@n4]. Each brain was registered to the {{ template }} template{% if template_citation %} [{{ template_citation }}]{% endif %}{% if template_source == "templateflow" %} (through TemplateFlow {{ versions.templateflow }} [@templateflow]){% endif +%}
by an affine transform, estimated with ANTsPy {{ versions.antspyx }} [@antsx], followed by {% if sloppy %}a coarse diffeomorphic transform only (random seed {{ seed }}). It maximised the correlation of intensities in small windows, on voxels of about 4 mm, with Greedy {{ versions.picsl_greedy }} [@greedy].
{% else %}diffeomorphic transforms in three steps (random seed {{ seed }}). First, Greedy {{ versions.picsl_greedy }} [@greedy] maximised the correlation of intensities in small windows, on voxels of about 4 mm, to place the tissue priors of the template. Second, starting again from the affine transform, symmetric normalisation (SyN) [@syn; @ants] matched grey and white matter to those of the template, as in DARTEL [@dartel]. Third, Greedy refined the result by the correlation of tissues and intensities in small windows.
{% endif %}
Grey matter, white matter and cerebrospinal fluid were segmented {{ segmentation }}.
Hypointense spots in white matter that had been classified as grey matter or fluid were reassigned to white matter.
The grey-matter map was resampled to the template at {{ resolution }} mm and multiplied by the Jacobian determinant of the
whole transform, including the affine part, to preserve the volume of grey matter [@good2001].
{% if n_failed %}
The quality gate rejected {{ n_failed }} scan{{ "s" if n_failed != 1 }}{% if group_level %}, which {{ "were" if n_failed != 1 else "was" }} excluded from the group analysis{% endif %}.
{% endif %}
{% endif %}
{% if smoothing_fwhm %}
Maps were smoothed with a Gaussian kernel of {{ smoothing_fwhm }} mm full width at half maximum{% if group_level %} before they entered the model{% if model_mm %}, and sampled every {{ model_mm }} mm{% endif %}{% endif %}.
{% else %}
Maps were not smoothed.
{% endif %}
{% if encoded_by %}
Each map was encoded with a previously trained model ({{ encoded_by }}), and its reconstruction error was compared with the errors of the model's training cohort.
{% endif %}
{% if conformal %}
A cross-conformal p value [@vovk2015] quantified how unusual the reconstruction error of a map is: the model of each fold compared it with the errors of the people whom that model had not seen. For people from the same population as the training cohort, the probability of a p value of a or less is at most 2a + 2(K - 1)/(n + K), for n people in K folds [@barber2021].
{% endif %}

{% if group_level %}
## Latent space

{% if model_given %}
The {{ n_group_scans }} maps of {{ n_group_participants }} participant{{ "s" if n_group_participants != 1 }} were encoded with a model previously trained on other participants ({{ model_given }}); none of the present data were used in its training.
{% else %}
{{ trained }} was trained on {{ n_group_scans }} maps
of {{ n_group_participants }} participants with PyTorch {{ versions.torch }} [@pytorch], without access to diagnoses.
The duration of training was chosen on participants held out for that purpose.
{% if model_sentence %}
{{ model_sentence }}
{% endif %}
{% endif %}
{% if model_given %}
Classifiers and regressions were cross-fitted over {{ folds }} folds of participants (never single scans of one participant).
{% else %}
Models were cross-fitted: participants (never single scans of one participant) were split into {{ folds }} folds, and every predictive measure and every
reported reconstruction error was computed for participants whom the model in question had not seen.
{% endif %}
A principal component analysis (PCA) with the same number of components, fitted on the same splits, served as the reference throughout.
The random seed was {{ seed }}.

Latent variables were projected by PCA, {% if supervised %}by partial least squares{% if group_column %} (supervised by *{{ group_column }}*, out of fold){% endif %}, {% endif +%}
{{ embeddings }}.

## Regions

{% if atlas %}
Regional grey matter was measured with the {{ atlas }} atlas{% if atlas_citation %} [{{ atlas_citation }}]{% endif %} ({{ n_regions }} regions){% if atlas_way %}, {{ atlas_way }}{% endif %}.
{% endif %}
{% if n_group_scans != n_group_participants and scan_choice == "mean" %}
Scans of one participant that belong to the same group were averaged before testing.
{% elif n_group_scans != n_group_participants %}
Each participant was represented by one scan: the earliest with complete data that belongs to the contrast.
{% endif %}
{% if covariates %}
The influence of {{ covariates_list }} was removed from latent variables and regional volumes by linear regression.
{% else %}
No covariate was removed: any differences in age, sex or head size are part of the results.
{% endif %}
{% if combat %}
Before that, ComBat [@johnson2007; @fortin2018] aligned the location and spread of regional volumes and latent variables across sites (*{{ combat }}*). In each fold it was fitted to one scan of each training participant;
the effects of the other covariates were preserved, and group membership was not used. Maps, reconstruction errors and projections were not harmonised.
{% endif %}
{% if contrasts %}
The following contrast{{ "s were" if contrasts|length > 1 else " was" }} examined: {{ contrasts_list }}.
{% endif %}
Latent-regional correlation profiling (LRCP) assesses which regional differences the latent space preserves.
The equations used here are LatentAtlas's documented reading of the published description [@gorriz2026], not a reproduction of its equations.
Regional grey matter was summed on the model's grid, both over each map and over its reconstruction by a model that had not seen the participant{% if supervised %},{% else %};{% endif +%}
{% if supervised %}
so that each difference splits exactly into a part kept in the reconstructions and a part lost. A region is called *kept* only if the difference, the kept part, and the
correlation of reconstruction and map within the groups are each significant (family-wise over the regions). Differences are given in ml and as Hedges' g (for scores, as correlations){% if covariates %}, with the influence of the covariates removed{% endif %}.
Intervals are bootstrap intervals over participants.
{% else %}
the share of each region's variance contained in the reconstructions is reported. No groups were specified, so no comparison was made.
{% endif %}
The significance of associations between regions and latent variables was assessed family-wise over all pairs, by the maximum statistic of {{ n_permutations }} permutations{% if covariates %}, with the method of Freedman and Lane for covariates [@freedman1983]{% endif %}.
False-discovery rates follow Benjamini and Hochberg [@bh].
{% if shap %}
The out-of-fold reconstruction error (the unexplained share of a map's variance) was regressed on regional grey matter, and the regression was explained by SHAP values [@shap]{% if shap_model %} ({{ shap_model }}, chosen by nested cross-validation){% endif %}.
{% if not shap_supported %}
The regression did not predict the error of held-out participants; its SHAP values are reported but not interpreted.
{% endif %}
{% endif %}

{% if voxelwise != "none" and supervised %}
In addition, the contrast{{ "s were" if contrasts|length > 1 else " was" }} tested at each voxel of the smoothed maps (family-wise by the largest |t| over {{ n_voxelwise }} permutations of the residuals{% if sites %} within sites{% endif %} [@freedman1983]{% if voxelwise == "tfce" %}, and by threshold-free cluster enhancement [@tfce] at 3 mm with {{ n_tfce }} permutations{% endif %}).
{% endif %}

{% if supervised %}
Predictions for held-out participants used linear discriminant analysis with shrinkage (pairs of groups, and all groups at once) or ridge regression (scores). Covariate effects, thresholds and the calibration
of probabilities were estimated on training participants only.
{% if confusion %}
The balanced accuracy for all groups was tested by permuting the labels{% if sites %} within sites{% endif %} and repeating all training.
{% endif %}
{% endif %}
{% if reference_group %}
Deviations of each scan from the group {{ reference_group }} are W-scores: regional volumes, latent variables and the reconstruction error were regressed on the covariates in this group, and the error of prediction was expressed as a normal deviate. No participant had a part in the regression behind their own scores.
{% endif %}

## Validation

{% if supervised %}
Classification was evaluated by its K-fold error together with upper bounds of the actual risk [@cubv]. These were the PAC-Bayesian dropout bound [@mcallester], both in the published form and in a form
for the randomised classifier of the theorem, given the latent variables; Vapnik's bound [@vapnik]; a bound for data in general position; and exact binomial limits of the held-out predictions. Regressions were evaluated in the same way [@sar],
and regions by statistical agnostic mapping [@sam] with a union bound over all regions.
Out-of-fold predictions and regions were tested by {{ n_permutations }} permutations of studentised statistics, which allow the groups to differ in variance [@janssen1997]{% if sites %}; participants were exchanged within sites (*{{ sites }}*) only{% endif %}.
{% if several %}
Within each kind of claim, p values were adjusted for the number of contrasts by Holm's method [@holm1979], and the level of bounds and intervals was divided among the contrasts. No correction was made across kinds of claims.
{% endif %}
{% if primary %}
The contrast {{ primary }} was specified in advance as primary and was tested at the level {{ alpha }} on its own, outside this correction.
{% endif %}
{% else %}
The regression of the reconstruction error was evaluated by an upper bound of its actual risk [@sar].
{% endif %}
Bounds hold with probability {{ confidence }}. An effect is called *supported* if out-of-fold and permutation tests agree (family-wise, alpha {{ alpha }}). It is called *supported in the worst case* only if, in addition, a strict bound (from held-out predictions; for single regions, a uniform bound over all thresholds) stays below the error of guessing.
{% if supervised %}
{% if covariates %}The principal components, the regional volumes and the covariates alone served as baselines. Nested models tested what the latent variables add to the covariates.{% else %}The principal components and the regional volumes served as baselines.{% endif +%}
Standard errors of areas under the ROC curve are DeLong's [@delong1988], multiplied by 1.3 because the predictions come from several models.
{% endif %}
{% if sites_left_out %}
Every model was also retrained without each site (*{{ sites }}*), and the reconstruction error of that site's participants was compared with their error in the ordinary folds.
{% endif %}
{% if sites_told %}
Whether the latent variables carry information about the site was tested out of fold with a support vector machine (Gaussian kernel) and {{ sites_told }} relabellings of the sites, before and after ComBat [@johnson2007; @fortin2018] fitted to the training participants of each fold.
{% endif %}

{% endif %}
## Software

Linear models and cross-validation used scikit-learn {{ versions["scikit-learn"] }} [@sklearn]; images were handled with nibabel {{ versions.nibabel }} and nilearn {{ versions.nilearn }} [@nilearn].
