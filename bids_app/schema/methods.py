"""How tables name methods, and what pages call them."""

from __future__ import annotations

from typing import NamedTuple

#: Column ``method`` of ``group/validation.tsv``.
TESTS = {
    "pac-bayes (published)": "PAC-Bayes, as published",
    "pac-bayes (strict)": "PAC-Bayes, strict",
    "held-out (strict)": "held-out, strict",
    "vapnik": "Vapnik",
    "igp": "in general position",
    "sar": "SAR",
    "sam (igp)": "SAM, in general position",
    "sam (strict)": "SAM, strict",
    "permutation": "permutation",
    "not testable": "not testable",
}
#: Column ``features`` of ``group/baselines.tsv``.
FEATURES = {
    "latent": "latents",
    "latent, covariates removed": "latents, covariates removed",
    "pca": "PCA",
    "regional GM": "regional grey matter",
    "covariates": "covariates",
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
PROJECTIONS = {
    "pca": "PCA",
    "pls": "PLS (supervised)",
    **{each.name: each.title for each in EMBEDDINGS},
    **{f"{each.name}3d": f"{each.title} (3D)" for each in EMBEDDINGS},
}
