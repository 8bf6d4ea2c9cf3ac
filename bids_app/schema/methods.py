"""How tables name methods, and what pages call them."""

from __future__ import annotations

from typing import NamedTuple

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
    "sam (strict)": "the best region's in-sample balanced error",
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


class Embedding(NamedTuple):
    """A picture of the latents that depends on a seed.

    Attributes
    ----------
    name : str
        As in ``group.embeddings.EMBED``, and the start of the names of its coordinates.
    title : str
    citation : str
        Key in ``boilerplate/references.bib``.
    """

    name: str
    title: str
    citation: str


EMBEDDINGS = (
    Embedding("tsne", "t-SNE", "tsne"),
    Embedding("umap", "UMAP", "umap"),
    Embedding("pacmap", "PaCMAP", "pacmap"),
)
#: Column ``method`` of the tables of projections, and the start of the names of coordinates.
PROJECTION_TITLES = {
    "pca": "PCA",
    "pls": "PLS (supervised)",
    **{each.name: each.title for each in EMBEDDINGS},
    **{f"{each.name}3d": f"{each.title} (3D)" for each in EMBEDDINGS},
}

#: Permutations of the voxelwise test at most: more change little at the level of 0.05, and each is a look at every
#: voxel. And those of its cluster enhancement, which takes seconds for one map of 1.5 mm.
VOXELWISE_PERMUTATIONS, TFCE_PERMUTATIONS = 5000, 1000
