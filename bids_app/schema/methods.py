"""How tables name methods, and what pages call them."""

from __future__ import annotations

#: Column ``method`` of ``group/validation.tsv``.
TESTS = {
    "pac-bayes (published)": "PAC-Bayes, as published",
    "pac-bayes (Gibbs), given the latents": "PAC-Bayes (Gibbs), given the latents",
    "held-out (strict)": "held-out, strict",
    "vapnik": "Vapnik",
    "igp": "in general position",
    "sar (held out)": "SAR, held out",
    "sar (as in sarlib)": "SAR, as in sarlib",
    "sam (igp)": "SAM, in general position",
    "sam (strict)": "SAM, strict",
    "permutation": "permutation",
    "not testable": "not testable",
}
#: What the error of a bound is the error of, for sentences.
ERRORS = {
    "held-out (strict)": "a linear SVM's balanced error",
    "sam (strict)": "the best region's balanced error",
    "sar (held out)": "SAR's loss",
}
#: Column ``features`` of ``group/baselines.tsv``.
FEATURES = {
    "latent": "latents",
    "latent, covariates removed": "latents, covariates removed",
    "pca": "PCA",
    "regional GM": "regional grey matter",
    "covariates": "covariates",
    "covariates + latents": "covariates and latents",
}
#: Column ``method`` of the tables of projections, and the start of the names of coordinates.
PROJECTIONS = {
    "pca": "PCA",
    "tsne": "t-SNE",
    "tsne3d": "t-SNE (3D)",
    "pls": "PLS (supervised)",
    "umap": "UMAP",
    "umap3d": "UMAP (3D)",
}
