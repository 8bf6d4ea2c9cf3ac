"""Embeddings of the latents: pictures that depend on a seed.

A function here with a line in ``EMBED``, and a row of ``schema.methods.EMBEDDINGS``, are all that one needs. Each takes
standardised latents (N, K), the number of dimensions, a seed and a number of threads, and returns coordinates
(N, dimensions). All start at random places, so that the seeds show how much of the picture is the seed's.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import numpy as np

Embed = Callable[[np.ndarray, int, int, int], np.ndarray]


def tsne(x: np.ndarray, dims: int, seed: int, n_threads: int) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(2.0, (len(x) - 1) / 3))
    # The library's own learning rate of at least 50 tears small cohorts apart in three dimensions.
    rate = max(10.0, len(x) / 12)
    model = TSNE(dims, perplexity=perplexity, init="random", learning_rate=rate, random_state=seed, n_jobs=n_threads)
    return model.fit_transform(x.astype(np.float32))


def umap(x: np.ndarray, dims: int, seed: int, n_threads: int) -> np.ndarray:
    """UMAP (McInnes et al. 2018) of exact neighbours; one thread, or the seed would not decide alone."""
    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP  # compiles on import: only where it is used

    x = x.astype(np.float32)
    neighbours = int(min(15, max(2, len(x) // 3)))
    # UMAP's own search compiles for seconds in every process, and is approximate above 4096 scans.
    distances, nearest = NearestNeighbors(n_neighbors=neighbours).fit(x).kneighbors(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = UMAP(n_neighbors=neighbours, n_components=dims, random_state=seed, init="random", n_jobs=1,
                     precomputed_knn=(nearest, distances.astype(np.float32)))  # fmt: skip
        return model.fit_transform(x)


def pacmap(x: np.ndarray, dims: int, seed: int, n_threads: int) -> np.ndarray:
    """PaCMAP (Wang et al. 2021): near, middle and far pairs, so that distances between clusters mean something, too."""
    import numba
    from pacmap import PaCMAP  # compiles on import: only where it is used

    logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of the seed, and of pairs that few scans do not have
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set when numba is imported
    numba.set_num_threads(min(n_threads, most))
    neighbours = int(min(10, max(2, len(x) // 3)))
    x = np.pad(x, ((0, 0), (0, max(0, dims - x.shape[1]))))  # it refuses fewer columns than dimensions
    model = PaCMAP(n_components=dims, n_neighbors=neighbours, random_state=seed, apply_pca=False)
    return model.fit_transform(x.astype(np.float32), init="random")


#: By the names of ``schema.methods.EMBEDDINGS``.
EMBED: dict[str, Embed] = {"tsne": tsne, "umap": umap, "pacmap": pacmap}
