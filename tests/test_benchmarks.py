"""The arithmetic that the benchmarks share."""

import sys
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import references


def test_a_line_with_an_intercept_each_group_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    group, x = np.repeat([0, 1, 2], [5, 7, 9]), rng.normal(size=21)
    y = 0.3 * x + group + rng.normal(size=21)
    fitted = sm.OLS(y, np.column_stack([x, group[:, None] == [0, 1, 2]])).fit()
    found = references.fit_line(x, y, group)
    assert (found.slope, found.error) == pytest.approx((fitted.params[0], fitted.bse[0]))
    alone = sm.OLS(y, sm.add_constant(x)).fit()
    found = references.fit_line(x, y)
    assert (found.slope, found.error) == pytest.approx((alone.params[1], alone.bse[1]))
    assert references.p_value(found) == pytest.approx(alone.pvalues[1])
    assert found.r == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_two_points_have_no_error():
    assert references.fit_line([1, 2], [1, 2]) is None
    assert references.fit_line([1, 1, 1], [1, 2, 3]) is None


def test_collections_are_told_by_their_names():
    assert [references.scanner(name) for name in ("ixi10", "ixi15", "old10")] == ["ixi", "ixi", "old"]
