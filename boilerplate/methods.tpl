{#- Methods text of one run, in Markdown with citation keys in Pandoc's way ([@key]). Rendered by bids_app.reports.boilerplate. -#}
# Methods

Grey-matter maps and their latent space were analysed with LatentAtlas {{ version }}, a BIDS App [@bids; @bidsapps]
built on Nipype {{ versions.nipype }} [@nipype].
It implements the approach of "Latent Space Projections and Atlases", subtitled "a cautionary tale" [@gorriz2026].

## Grey-matter maps

{% if sloppy %}
This was a coarse and quick trial (option *sloppy*): its numbers are not results.
{% endif %}
{% if any_given %}
{{ "Grey-matter maps were" if not any_computed else "The grey-matter maps of " ~ n_given ~ " scan" ~ ("s were" if n_given != 1 else " was") }} not computed by LatentAtlas but taken from {{ source }}{% if source_citations %} [{{ source_citations }}]{% endif %}, in the space of the {{ template }} template.
{% if n_unmodulated %}
No transform was there to modulate {{ "them" if n_unmodulated == n_given else n_unmodulated ~ " of them" }} with: their values are probabilities and not volumes.
{% else %}
They were modulated (scaled by the Jacobian determinant of the transform to the template) so that regional volume is kept [@good2001].
{% endif %}
{% endif %}
{% if any_computed %}
T1-weighted scans{% if n_scans %} ({{ n_scans }} of {{ n_participants }} participant{{ "s" if n_participants != 1 }}){% endif %} were processed in the manner of voxel-based morphometry [@vbm].
{% if skull_strip == "skip" %}
The scans were taken to hold nothing but brain; no brain extraction was run.
{% elif all_stripped %}
All scans came without a skull and kept their own outline, less what lay beyond the brain as deepbet {{ versions.deepbet }} [@deepbet] saw it.
{% else %}
The brain was extracted with deepbet {{ versions.deepbet }} [@deepbet]{% if n_stripped %}; {{ n_stripped }} scan{{ "s" if n_stripped != 1 }} came without a skull and kept {{ "their" if n_stripped != 1 else "its" }} own outline{% endif %}.
{% endif %}
Brightness was made even with N4 [@n4], and each brain was registered to the {{ template }} template{% if template_citation %} [{{ template_citation }}]{% endif %}{% if template_source == "templateflow" %} (through TemplateFlow {{ versions.templateflow }} [@templateflow]){% endif +%}
by an affine transform, estimated with ANTsPy {{ versions.antspyx }} [@antsx], and diffeomorphic ones (random seed {{ seed }}){% if sloppy %}, of which only the first, coarse one was run: by the correlation of intensities in small windows, on voxels of about 4 mm, with Greedy {{ versions.picsl_greedy }} [@greedy].
{% else %}: first by the correlation of intensities in small windows, on voxels of about 4 mm, with Greedy {{ versions.picsl_greedy }} [@greedy], which places the tissue priors of the template; then, from the affine transform, by grey and white matter in the manner of DARTEL [@dartel] with symmetric normalisation (SyN) [@syn; @ants]; and from there by the correlation of tissues and intensities in small windows, with Greedy again.
{% endif %}
Grey matter, white matter and cerebrospinal fluid were told apart {{ segmentation }};
hypointense spots of white matter that read as grey matter or fluid were given back to white matter.
The grey-matter map was brought to the template at {{ resolution }} mm and multiplied by the Jacobian determinant of the
whole transform, the affine part included, so that the volume of grey matter is kept [@good2001].
{% if n_failed %}
{{ n_failed }} scan{{ "s" if n_failed != 1 }} failed the quality gate{% if group_level %} and {{ "were" if n_failed != 1 else "was" }} left out of the group analysis{% endif %}.
{% endif %}
{% endif %}
{% if smoothing_fwhm %}
Maps were smoothed with a Gaussian kernel of {{ smoothing_fwhm }} mm full width at half maximum{% if group_level %} before they entered the model{% if model_mm %}, and sampled every {{ model_mm }} mm{% endif %}{% endif %}.
{% else %}
Maps were not smoothed.
{% endif %}
{% if encoded_by %}
Each map was encoded with a model that had been trained before ({{ encoded_by }}), and its reconstruction error compared with that of the model's training cohort.
{% endif %}
{% if conformal %}
How unusual the reconstruction error of a map is was told by a cross-conformal p value [@vovk2015]: models of the cross-fitting's folds compared it with the errors of the people whom they had not seen. At a level a, people like those of the training cohort reach it with a probability of at most 2a + 2(K - 1)/(n + K), for n people in K folds [@barber2021].
{% endif %}

{% if group_level %}
## Latent space

{% if model_given %}
The {{ n_group_scans }} maps of {{ n_group_participants }} participant{{ "s" if n_group_participants != 1 }} were encoded with a model that had been trained before on others ({{ model_given }}); its training saw nothing of this data set.
{% else %}
{{ trained }}, was trained on {{ n_group_scans }} maps
of {{ n_group_participants }} participants with PyTorch {{ versions.torch }} [@pytorch], without any knowledge of diagnosis.
Participants held out for that purpose decided how long it was trained.
{% if model_sentence %}
{{ model_sentence }}
{% endif %}
{% endif %}
{% if model_given %}
Classifiers and regressions were cross-fitted over {{ folds }} folds of participants (never single scans of one participant).
{% else %}
Models were cross-fitted: participants (never single scans of one participant) were split into {{ folds }} folds, and every predictive number and every
reconstruction error reported was computed for participants whom the model in question had not seen.
{% endif %}
A principal component analysis with the same number of components, trained on the same splits, was the reference throughout.
Random numbers started from seed {{ seed }}.

Latent variables were projected by principal component analysis, {% if supervised %}by partial least squares{% if group_column %} (supervised by *{{ group_column }}*, out of fold){% endif %}, {% endif +%}
{{ embeddings }}.

## Regions

{% if atlas %}
Regional grey matter was measured with the {{ atlas }} atlas{% if atlas_citation %} [{{ atlas_citation }}]{% endif %} ({{ n_regions }} regions){% if atlas_way %}, {{ atlas_way }}{% endif %}.
{% endif %}
{% if n_group_scans != n_group_participants and scan_choice == "mean" %}
Scans of one participant that belong to one group were averaged before anything was tested.
{% elif n_group_scans != n_group_participants %}
One scan stood for each participant: the earliest with complete data that takes part in the contrast.
{% endif %}
{% if covariates %}
{{ covariates_list }} {{ "were" if covariates|length > 1 else "was" }} removed from latent variables and from regional volumes by linear regression.
{% else %}
No covariate was removed: differences in age, sex or head size, if there are any, are part of the results.
{% endif %}
{% if combat %}
Before that, ComBat [@johnson2007; @fortin2018] gave the sites (*{{ combat }}*) the same location and spread in regional volumes and latent variables; in each fold it was fitted to one scan of each training participant,
the other covariates were kept and the groups had no part in it. Maps, reconstruction errors and projections were not harmonised.
{% endif %}
{% if contrasts %}
The contrast{{ "s" if contrasts|length > 1 else "" }} examined: {{ contrasts_list }}.
{% endif %}
Latent-regional correlation profiling (LRCP) asks which regional differences the latent space holds.
The equations used here are LatentAtlas's documented reading of the published description [@gorriz2026], not a transcript of it:
regional grey matter was summed on the model's grid over each map and over its reconstruction by a model that had not seen the participant,
{% if supervised %}
so that each difference splits exactly into a part that is kept in the reconstructions and a part that is lost. A region is called *kept* only where the difference, the kept part, and the
correlation of reconstruction and map within the groups are each significant, family-wise over the regions;
intervals are bootstrap intervals over participants.
{% else %}
and the share of each region's variance that the reconstructions hold is reported; no groups were named, so that nothing was compared.
{% endif %}
Significance of associations was family-wise over all regions and latent variables by the maximum statistic of {{ n_permutations }} permutations,
{% if covariates %}with the method of Freedman and Lane for covariates [@freedman1983]; {% endif %}false-discovery rates follow Benjamini and Hochberg [@bh].
{% if shap %}
The out-of-fold reconstruction error (the share of a map's variance that is left unexplained) was regressed on regional grey matter, and the regression explained by SHAP values [@shap]{% if shap_model %} ({{ shap_model }}, chosen by nested cross-validation){% endif %}.
{% if not shap_supported %}
The regression did not predict the error of held-out participants; its SHAP values are reported but not interpreted.
{% endif %}
{% endif %}

{% if voxelwise != "none" and supervised %}
Beside these, the contrast{{ "s were" if contrasts|length > 1 else " was" }} tested at each voxel of the smoothed maps (family-wise by the largest |t| over {{ n_permutations }} permutations of the residuals [@freedman1983]{% if voxelwise == "tfce" %}; and by threshold-free cluster enhancement [@tfce] at 3 mm{% endif %}).
{% endif %}

{% if supervised %}
Held-out participants were predicted by linear discriminant analysis with shrinkage (two groups and all groups at once) or ridge regression (scores); covariates, threshold and the calibration
of probabilities were learnt on training participants only.
{% endif %}

## Validation

{% if supervised %}
Classification was judged by its K-fold error together with an upper bound of the actual risk [@cubv]: the PAC-Bayesian dropout bound [@mcallester] in the published form and in one
for the randomised classifier that the theorem is about, given the latent variables, Vapnik's bound [@vapnik], a bound for data in general position, and exact binomial limits of the held-out predictions. Regressions were judged in the same manner [@sar],
and regions by statistical agnostic mapping [@sam] with a union bound over all regions.
Out-of-fold predictions and regions were tested by {{ n_permutations }} permutations of statistics that let the groups differ in variance [@janssen1997]{% if sites %}, people being exchanged within sites (*{{ sites }}*) only{% endif %}.
{% if several %}
Within each kind of claim p values were adjusted for the contrasts by Holm's method [@holm1979], and bounds and intervals share the level among them; different kinds of claims are not corrected for each other.
{% endif %}
{% if primary %}
The contrast {{ primary }} had been named beforehand and was tested at {{ alpha }} by itself, outside that correction.
{% endif %}
{% else %}
The regression of the reconstruction error was judged by an upper bound of its actual risk [@sar].
{% endif %}
Bounds hold with probability {{ confidence }}. An effect is called *supported in the worst case* only where a strict bound (held-out predictions; of single regions, a uniform bound over all thresholds) stays below the error of guessing;
*supported* where out-of-fold and permutation tests (family-wise, alpha {{ alpha }}) agree without that.
{% if supervised %}
Baselines were the principal components, the regional volumes{% if covariates %}, and the covariates alone, and what the latent variables add to the covariates was asked in nested models{% endif %}.
Areas under the ROC curve have DeLong's standard error [@delong1988], widened by 1.3 because several models gave the predictions.
{% endif %}
{% if sites_left_out %}
Every model was also trained anew without each site (*{{ sites }}*), and the reconstruction error of that site's people compared with their error in the ordinary folds.
{% endif %}
{% if sites_told %}
Whether the latent variables know the site was asked with a support vector machine (Gaussian kernel), out of fold, before and after ComBat [@johnson2007; @fortin2018] fitted to the training participants of each fold, by {{ sites_told }} relabellings of the sites.
{% endif %}

{% endif %}
## Software

Linear models and cross-validation used scikit-learn {{ versions["scikit-learn"] }} [@sklearn], images nibabel {{ versions.nibabel }} and nilearn {{ versions.nilearn }} [@nilearn].
