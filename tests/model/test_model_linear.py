import numpy as np
import pytest
from sklearn.decomposition import PCA

from bids_app.model import linear_model
from bids_app.model.linear_model import Prior, choose_prior, fit_linear, held_out_explained


def same_space(a, b):
    """Cosines of the principal angles between two row spaces."""
    return np.linalg.svd(np.linalg.qr(a.T)[0].T @ np.linalg.qr(b.T)[0], compute_uv=False)


def test_is_pca(linear_cohort):
    index = np.arange(3, 27)
    oracle = PCA(6, svd_solver="full").fit(linear_cohort.rows(index).astype(float))
    model = fit_linear(linear_cohort, index, 6)
    X = linear_cohort.rows(np.arange(30))
    assert np.allclose(model.mean, oracle.mean_, atol=1e-5)
    assert np.allclose(np.abs(model.encode(X)), np.abs(oracle.transform(X)), atol=2e-3)
    assert np.allclose(model.reconstruct(X), oracle.inverse_transform(oracle.transform(X)), atol=2e-3)
    assert np.allclose(model.components @ model.components.T, np.eye(6), atol=1e-5)
    assert np.allclose(model.scale, oracle.transform(linear_cohort.rows(index)).std(0), rtol=1e-3)


def test_both_solvers_agree(linear_cohort, monkeypatch):
    index = np.arange(30)
    exact = fit_linear(linear_cohort, index, 5)
    monkeypatch.setattr(linear_model, "GRAM_LIMIT", 10)
    iterated = fit_linear(linear_cohort, index, 5)
    assert same_space(exact.components, iterated.components).min() > 0.9999


def explicit(volumes, index, prior):
    """The cohort of a prior, spelt out: smoothed maps followed by their weighted mirror images."""
    A = volumes.rows(index) - volumes.mean(index)
    B = volumes.grid.smooth(A, prior.smoothing) if prior.smoothing else A
    return np.vstack([B, np.sqrt(prior.mirror_weight) * B[:, volumes.grid.mirror]]).astype(float)


@pytest.mark.parametrize("prior", [Prior(0, 0), Prior(1, 0), Prior(0.5, 0), Prior(0, 10), Prior(0.25, 10)])
def test_prior_is_pca_of_the_cohort_it_describes(linear_cohort, prior):
    train, test = np.arange(24), np.arange(24, 30)
    oracle = np.linalg.svd(explicit(linear_cohort, train, prior), full_matrices=False)[2][:5]
    model = fit_linear(linear_cohort, train, 5, prior=prior)
    assert same_space(model.components, oracle).min() > 0.999
    # What the inner products alone predict for unseen maps is what those maps show.
    products = linear_model._Maps(linear_cohort, np.arange(30), prior.smoothing).products()
    predicted = held_out_explained(products, train, test, 5, prior.mirror_weight)
    T = linear_cohort.rows(test) - linear_cohort.mean(train)
    assert np.allclose(predicted, ((T @ oracle.T) ** 2).sum(1) / (T**2).sum(1), atol=2e-3)


def test_chosen_prior_helps_unseen_maps(linear_cohort):
    train, test = np.arange(20), np.arange(20, 30)
    splits = [(np.arange(20)[np.arange(20) % 4 != f], np.flatnonzero(np.arange(20) % 4 == f)) for f in range(4)]
    prior, tried = choose_prior(linear_cohort, train, splits, 8)
    assert tried[prior] == max(tried.values())
    X = linear_cohort.rows(test)

    def left(model):
        return ((model.reconstruct(X) - X) ** 2).sum()

    chosen = fit_linear(linear_cohort, train, 8, prior=prior)
    assert prior != Prior()
    assert left(chosen) < left(fit_linear(linear_cohort, train, 8))


def test_fewer_dimensions_than_asked_are_filled_with_zeros(linear_cohort):
    model = fit_linear(linear_cohort, np.array([0, 1, 1, 1]), 4)
    assert model.components.shape[0] == 4
    assert (np.abs(model.components).sum(1) > 0).tolist() == [True, False, False, False]
    assert np.isfinite(model.reconstruct(linear_cohort.rows([2]))).all()
