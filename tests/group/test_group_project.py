"""Projections: faithful, out of fold, safe in small cohorts."""

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from bids_app.group.embeddings import EMBED
from bids_app.group.project import align, knn_auc, pls_scores, project
from bids_app.group.settings import AnalysisSettings
from bids_app.schema.methods import EMBEDDINGS


def run(c, **options):
    return project(c.study(), AnalysisSettings(**({"n_view_seeds": 2} | options)))


@pytest.fixture(scope="module")
def views(cohort_maker):
    c = cohort_maker()
    return c, run(c)


def test_columns_and_quality(views):
    c, found = views
    expected = [f"pca_{i}" for i in (1, 2, 3)]
    for name in ("tsne", "umap", "pacmap"):
        expected += [f"{name}_{i}" for i in (1, 2)] + [f"{name}3d_{i}" for i in (1, 2, 3)]
    expected += [f"pls_{i}" for i in (1, 2, 3)]
    assert list(found.coordinates.columns) == expected
    assert np.isfinite(found.coordinates).all().all()
    assert list(found.quality.columns[:5]) == ["method", "trustworthiness", "continuity", "knn_auc", "contrast"]
    assert found.quality[["trustworthiness", "continuity", "knn_auc"]].stack().between(0, 1).all()
    shaky = found.quality.set_index(["method", "dimensions"])["seed_disparity"]
    assert shaky[[("tsne", 2), ("umap", 2), ("pacmap", 2)]].between(0, 1).all()
    assert shaky["pca"].isna().all()
    scaled = (c.Z - c.Z.mean(0)) / c.Z.std(0)
    row = found.quality.query("method == 'pca' and dimensions == 2").iloc[0]
    xy = found.coordinates[["pca_1", "pca_2"]].to_numpy()
    assert row["trustworthiness"] == pytest.approx(trustworthiness(scaled, xy, n_neighbors=10))
    assert row["continuity"] == pytest.approx(trustworthiness(xy, scaled, n_neighbors=10))
    np.testing.assert_allclose(np.abs(xy), np.abs(PCA(2).fit_transform(scaled)), atol=1e-6)


def test_seeds_are_fitted_onto_the_first(views):
    c, found = views
    for method in EMBED:
        part = found.seeds[found.seeds["method"] == method]
        one, two = (part[part["seed"] == s][["x", "y"]].to_numpy() for s in (0, 1))
        np.testing.assert_allclose(one, found.coordinates[[f"{method}_1", f"{method}_2"]])
        assert (part["row"].to_numpy().reshape(2, -1) == np.arange(len(c.Z))).all()
        # The disparity is the share of the first picture's spread that the fit leaves over.
        left = ((one - two) ** 2).sum() / ((one - one.mean(axis=0)) ** 2).sum()
        shaky = found.quality.query(f"method == '{method}' and dimensions == 2")["seed_disparity"].iloc[0]
        assert left == pytest.approx(shaky, rel=1e-6)


def test_a_turned_mirrored_scaled_picture_is_the_same_picture():
    rng = np.random.default_rng(0)
    xy, angle = rng.normal(size=(20, 2)), 0.7
    turn = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    (first, second), apart = align([xy, 5 + 3 * xy @ turn])
    np.testing.assert_allclose(second, first, atol=1e-10)
    assert apart == pytest.approx(0, abs=1e-12)


def test_groups_show_where_they_differ(views):
    _, found = views
    assert found.quality.query("method == 'pls'")["knn_auc"].iloc[0] > 0.75


def test_pls_of_noise_is_at_chance_because_it_is_out_of_fold():
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(20):
        y = rng.permutation(np.arange(40) % 2).astype(float)
        latents = rng.normal(size=(40, 30))
        scores = pls_scores(latents, y, np.arange(40) % 5, full=latents)
        areas.append(knn_auc(scores, y, np.arange(40)))
    assert abs(np.mean(areas) - 0.5) < 0.08


def test_pls_points_towards_larger_values_in_every_fold_model(cohort):
    y = (cohort.group == "AD").astype(float)
    full = {"full": cohort.Z}
    scores = pls_scores(cohort.Zf, y, cohort.fold, **full)
    assert np.corrcoef(scores[:, 0], y)[0, 1] > 0.4
    y[:10] = np.nan
    assert np.isfinite(pls_scores(cohort.Zf, y, cohort.fold, **full)).all()
    assert pls_scores(cohort.Zf, np.where(np.arange(90) == 0, 1.0, 0.0), cohort.fold, **full) is None
    assert pls_scores(cohort.Zf[..., :1], y, cohort.fold, full=cohort.Z[:, :1]).shape == (90, 1)


def test_the_folds_axes_lie_on_those_of_all(cohort_maker):
    """A scan's place in the picture is where a PLS of everybody, by scikit-learn, puts it, axis by axis."""
    found = []
    for seed in range(8):
        c = cohort_maker(n=60, effect=1.0, seed=seed)
        y = (c.group == "AD").astype(float)
        scores = pls_scores(c.Zf, y, c.fold, full=c.Z)
        everybody = PLSRegression(3).fit(c.Z, y).transform(c.Z)
        found.append([abs(np.corrcoef(scores[:, k], everybody[:, k])[0, 1]) for k in range(3)])
    # As they are the second and third have medians of 0.62 and 0.49, the least 0.04.
    assert (np.median(found, axis=0) > [0.9, 0.75, 0.6]).all()
    assert np.min(found) > 0.3


def test_scans_of_the_same_participant_are_no_neighbours():
    rng = np.random.default_rng(0)
    y = np.repeat(rng.permutation(np.arange(30) % 2), 2).astype(float)
    xy = np.repeat(rng.normal(size=(30, 2)), 2, axis=0) + 1e-6 * rng.normal(size=(60, 2))
    assert knn_auc(xy, y, np.arange(60), k=1) == 1
    assert knn_auc(xy, y, np.repeat(np.arange(30), 2), k=1) < 0.8


def test_small_and_degenerate_cohorts(cohort_maker):
    c = cohort_maker(n=8, folds=4)
    c.Z[:, 0] = 0
    found = run(c)
    assert np.isfinite(found.coordinates).all().all()
    c = cohort_maker(n=5, folds=2, sizes=[3, 2])
    found = run(c)
    assert "tsne_1" not in found.coordinates
    assert (found.quality["contrast"] == "AD-CN").all()
    c = cohort_maker(n=10, k=2, folds=2, seed=1)
    c.Zf, c.contrasts = None, []
    tiny = run(c, n_view_seeds=1)
    assert [name for name in tiny.coordinates if name.startswith("pca")] == ["pca_1", "pca_2"]


def test_same_seed_same_picture(cohort):
    one, two = run(cohort, seed=4), run(cohort, seed=4)
    np.testing.assert_array_equal(one.coordinates, two.coordinates)


def test_every_embedding_has_its_row():
    assert [*EMBED] == [row.name for row in EMBEDDINGS]


@pytest.mark.parametrize("name", EMBED)
@pytest.mark.parametrize("dims", [2, 3])
def test_an_embedding_keeps_clusters_apart_and_depends_on_the_seed_alone(name, dims):
    rng = np.random.default_rng(0)
    centres = np.eye(16)[:4] * 12
    x = np.repeat(centres, 15, axis=0) + rng.normal(size=(60, 16))
    one, same, other = (EMBED[name](x, dims, seed, 1) for seed in (0, 0, 1))
    assert one.shape == (60, dims)
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    cluster = np.repeat(np.arange(4), 15)
    nearest = np.argsort(((one[:, None] - one) ** 2).sum(-1) + np.diag(np.full(60, np.inf)), axis=1)[:, :5]
    assert (cluster[nearest] == cluster[:, None]).mean() > 0.95


@pytest.mark.parametrize("name", EMBED)
@pytest.mark.parametrize("n", [8, 11, 25])
def test_an_embedding_takes_a_small_cohort_with_repeated_scans(name, n):
    x = np.random.default_rng(0).normal(size=(n, 20))
    x[1] = x[0]
    x[:, 3] = 0
    assert np.isfinite(EMBED[name](x, 3, 0, 1)).all()
