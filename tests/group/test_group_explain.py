"""SHAP of the reconstruction error: exactness, truth, and when nothing may be said."""

from itertools import permutations

import numpy as np
import pytest
import shap
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge

from bids_app.group.explain import explain, linear_shap, read_relation, tree_shap, write_relation
from bids_app.group.settings import AnalysisSettings


def run(c, **options):
    return explain(c.study(), AnalysisSettings(**({"n_permutations": 200, "n_interval_samples": 200} | options)))


def test_linear_values_are_the_shap_librarys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)), rng.normal(size=50)
    model = Ridge().fit(x, y)
    new = rng.normal(size=(7, 6))
    explainer = shap.LinearExplainer(model, shap.maskers.Independent(x, max_samples=1000))
    np.testing.assert_allclose(linear_shap(model.coef_, x.mean(axis=0), new), explainer.shap_values(new), atol=1e-10)


def test_planted_region_explains_the_error(cohort):
    found = run(cohort)
    table = found.regions
    assert list(table.columns[:5]) == ["index", "name", "mean_abs_shap", "ci_low", "ci_high"]
    assert {"mean_abs_shap_AD", "mean_abs_shap_CN"} <= set(table.columns)
    assert table["mean_abs_shap"].idxmax() == 0
    assert table["direction"][0] == -1
    assert ((table["ci_low"] <= table["mean_abs_shap"]) & (table["mean_abs_shap"] <= table["ci_high"])).all()
    assert found.relation.supported
    assert table["supported"].all()
    assert found.relation.p <= 0.05
    assert found.values.shape == (90, 30)
    assert found.models.set_index("model")["chosen_folds"].tolist()[2] == 5


def test_values_add_up_to_the_out_of_fold_prediction(cohort):
    """The R2 of base + SHAP, computed from scratch, is the one that is reported."""
    found = run(cohort)
    c = cohort
    prediction, target = found.base + found.values.sum(axis=1).to_numpy(), np.zeros(90)
    for f in range(5):
        train, test = c.fold != f, c.fold == f
        fit = LinearRegression().fit(c.covariates.matrix[train], c.err[train])
        target[test] = c.err[test] - fit.predict(c.covariates.matrix[test])
    assert 1 - ((target - prediction) ** 2).sum() / (target**2).sum() == pytest.approx(found.relation.r2, abs=1e-8)


def test_tree_values_are_shapley_values_by_their_definition():
    """Average over all orders of the regions of the change in the path-dependent expectation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = x[:, 0] * (x[:, 1] > 0) + 0.1 * rng.normal(size=80)
    model = GradientBoostingRegressor(n_estimators=4, max_depth=2, random_state=0).fit(x, y)
    values, expected = tree_shap(model, x[:5])

    def expectation(row, known):
        total = model.init_.predict(row[None])[0]
        for tree in (t.tree_ for t in model.estimators_[:, 0]):
            weight = tree.weighted_n_node_samples

            def walk(node, tree=tree, weight=weight):
                left, right = tree.children_left[node], tree.children_right[node]
                if left < 0:
                    return tree.value[node].item()
                if tree.feature[node] in known:
                    return walk(left if row[tree.feature[node]] <= tree.threshold[node] else right)
                return (weight[left] * walk(left) + weight[right] * walk(right)) / weight[node]

            total += model.learning_rate * walk(0)
        return total

    for i in range(5):
        shapley = np.zeros(3)
        for order in permutations(range(3)):
            for place, j in enumerate(order):
                shapley[j] += expectation(x[i], order[: place + 1]) - expectation(x[i], order[:place])
        np.testing.assert_allclose(values[i], shapley / 6, atol=1e-6)
    assert expected == pytest.approx(expectation(x[0], ()), abs=1e-6)


def test_a_step_is_left_to_the_trees(cohort_maker):
    c = cohort_maker(n=150, effect=0)
    rng = np.random.default_rng(0)
    c.err = 1.0 * (np.abs(c.G[:, 20] - c.G[:, 20].mean()) > 0.6) + 0.1 * rng.normal(size=150)
    found = run(c)
    models = found.models.set_index("model")
    assert models.loc["trees", "r2"] > 0.2 > 0.05 > models.loc["linear", "r2"]
    assert models.loc["trees", "chosen_folds"] == 5
    assert 0.3 < found.relation.seed_stability < 1
    assert found.regions["mean_abs_shap"].idxmax() == 20


def test_noise_is_not_supported(cohort):
    cohort.err = np.random.default_rng(1).normal(size=90)
    found = run(cohort)
    assert not found.relation.supported
    assert not found.regions["supported"].any()


def test_an_error_that_only_follows_a_covariate_is_not_supported(cohort):
    c = cohort
    c.err = c.covariates.matrix[:, 0] + 0.1 * np.random.default_rng(1).normal(size=90)
    assert not run(c).relation.supported


def test_missing_values_and_constant_errors(cohort):
    c = cohort
    c.err[3], c.G[4, 0] = np.nan, np.nan
    found = run(c)
    assert found.relation.n == 88
    np.testing.assert_array_equal(np.flatnonzero(found.values.isna().any(axis=1)), [3, 4])
    c.err[:] = 0.5
    found = run(c)
    assert not found.relation.supported
    assert "does not vary" in found.relation.reason
    assert found.relation.sar is None
    assert found.regions["mean_abs_shap"].isna().all()


def test_a_file_brings_back_the_relation_to_the_last_digit(cohort, tmp_path):
    made = run(cohort).relation
    assert made.model.endswith("of 5 folds")
    assert read_relation(write_relation(tmp_path / "relation.json", made)) == made
    cohort.err[:] = 0.5
    nothing = read_relation(write_relation(tmp_path / "relation.json", run(cohort).relation))
    assert (nothing.n, nothing.sar, nothing.model) == (90, None, "")
    assert np.isnan([nothing.r2, nothing.p, nothing.seed_stability]).all()
