import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_app.errors import DatasetError
from bids_app.model.cross_fitting import (
    _mean_history,
    choose_epochs,
    collect,
    cross_fit_one,
    cross_fit_table,
    inner_splits,
    split_participants,
)
from bids_app.model.plan import make_plan, validation_size


@given(
    ids=st.lists(st.integers(0, 30), min_size=2, max_size=80).filter(lambda x: len(set(x)) > 1),
    folds=st.integers(2, 8),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_split_never_tears_a_participant_and_deals_evenly(ids, folds, seed, data):
    group = {i: data.draw(st.sampled_from(["a", "b", None, 3])) for i in sorted(set(ids))}
    for strata in (None, [group[i] for i in ids]):
        fold = split_participants([f"sub-{i}" for i in ids], folds, seed, strata)
        owner = {i: {f for j, f in zip(ids, fold, strict=True) if j == i} for i in set(ids)}
        assert all(len(f) == 1 for f in owner.values())
        assert set(fold) == set(range(min(folds, len(owner))))
        counts = np.bincount([next(iter(f)) for f in owner.values()])
        assert np.ptp(counts) <= 1
    for level in set(group.values()):
        counts = np.zeros(min(folds, len(owner)), int)
        for i, f in owner.items():
            counts[next(iter(f))] += group[i] == level
        assert np.ptp(counts) <= 1


def test_split_follows_the_seed_and_ignores_the_order_of_labels():
    ids = [f"sub-{i % 20}" for i in range(50)]
    assert (split_participants(ids, 5, 3) == split_participants(ids, 5, 3)).all()
    assert (split_participants(ids, 5, 3) != split_participants(ids, 5, 4)).any()
    strata = ["x" if i % 20 < 7 else "y" for i in range(50)]
    renamed = [{"x": "q", "y": "p"}[s] for s in strata]
    assert (split_participants(ids, 5, 3, strata) == split_participants(ids, 5, 3, renamed)).all()
    with pytest.raises(DatasetError):
        split_participants(["sub-1"] * 9, 5)


@given(n=st.integers(4, 400))
@settings(max_examples=60, deadline=None)
def test_every_training_split_has_more_participants_than_latents(n):
    ids = np.array([f"sub-{i:03d}" for i in range(n)] * 2)
    fold = split_participants(ids, 5, 0)
    try:
        plan = make_plan(ids, fold, latent_dim=64)
    except DatasetError:
        assert n < 7
        return
    for f in [None, *range(fold.max() + 1)]:
        train = ids[fold != f] if f is not None else ids
        for learn, hold in inner_splits(train, plan.inner_runs, 1):
            assert not set(train[learn]) & set(train[hold])
            assert len(set(train[learn])) > plan.latent_dim
            assert 1 <= len(set(train[hold])) <= validation_size(len(set(train)))
    assert plan.latent_dim == 64 or any("latents instead of 64" in note for note in plan.notes)


def test_epochs_need_more_than_luck():
    start = np.full((1, 8), 0.3)
    rng = np.random.default_rng(0)
    noise = start + np.vstack([np.zeros(8), rng.standard_normal((10, 8)) * 0.05 - 0.02])
    real = start + np.vstack([np.zeros(8), np.linspace(0.01, 0.1, 10)[:, None] + rng.standard_normal((10, 8)) * 0.01])
    assert choose_epochs([noise])[0] == 0
    assert choose_epochs([real])[0] == 10
    assert choose_epochs([real, real[:6]])[0] == 5  # only epochs that every training reached
    assert choose_epochs([start])[0] == 0
    ends = [np.array([0.29, 0.29, 0.31, 0.31]) + size * 0.02 / np.sqrt(12) for size in (1.9, 2.1)]
    # Their standard deviation is 0.02 / sqrt(3), the standard error of the mean half of that.
    assert [choose_epochs([np.stack([start[0, :4], end])])[0] for end in ends] == [0, 1]


@pytest.fixture(scope="module")
def fitted(linear_cohort):
    ids = np.array([f"sub-{i // 2:02d}" for i in range(30)])  # two sessions each
    fold = split_participants(ids, 3, 0)
    plan = make_plan(ids, fold, latent_dim=6, max_epochs=2, inner_runs=1)
    runs = [cross_fit_one(linear_cohort, ids, fold, f, plan, seed=1, device="cpu") for f in [None, 0, 1, 2]]
    return ids, fold, plan, runs


def test_products_have_the_shapes_and_come_from_the_right_model(fitted, linear_cohort):
    _, fold, _, ((full, _), *parts) = fitted
    out = collect(full, [arrays for arrays, _ in parts])
    assert (out["fold"] == fold).all()
    assert out["Zf"].shape == out["Zpca_f"].shape == (3, 30, 6)
    for i in range(30):
        X = linear_cohort.rows([i])
        model = parts[fold[i]][1].model
        error = ((model.reconstruct(X) - X) ** 2).mean()
        assert out["err"][i] == pytest.approx(error, rel=1e-3)
        assert out["ev_ae"][i] == pytest.approx(1 - error / ((X - model.mean) ** 2).mean(), abs=1e-3)
    table = cross_fit_table(out)
    assert list(table) == ["fold", "n_train", "n_test", "ev_autoencoder", "ev_pca", "ev_linear", "epochs"]
    assert (table.n_train + table.n_test == 30).all()
    with pytest.raises(ValueError, match="exactly one"):
        collect(full, [parts[0][0], parts[0][0], parts[1][0]])


def test_autoencoder_explains_at_least_what_pca_does(fitted):
    _, _, _, ((full, _), *parts) = fitted
    out = collect(full, [arrays for arrays, _ in parts])
    assert out["ev_ae"].mean() >= out["ev_pca"].mean() - 0.005


def test_held_out_participants_leave_no_trace_in_their_fold(fitted, linear_cohort):
    """Replace the held-out maps by something else entirely: the fold's model must not change by a bit."""
    ids, fold, plan, (_, first, *_) = fitted
    data = linear_cohort.data.copy()
    data[fold == 0] = np.random.default_rng(9).uniform(0, 1, data[fold == 0].shape)
    other, refit = cross_fit_one(
        dataclasses.replace(linear_cohort, data=data), ids, fold, 0, plan, seed=1, device="cpu"
    )
    assert np.array_equal(other["Z"][fold != 0], first[0]["Z"][fold != 0])
    assert np.array_equal(refit.model.mean, first[1].model.mean)
    assert refit.choices == first[1].choices


def test_no_epochs_is_the_linear_path(linear_cohort, fitted):
    ids, fold, _, _ = fitted
    plan = make_plan(ids, fold, latent_dim=6, max_epochs=0)
    arrays, result = cross_fit_one(linear_cohort, ids, fold, 1, plan, device="cpu")
    X = linear_cohort.rows(np.flatnonzero(fold == 1))
    assert np.allclose(result.model.encode(X), result.model.linear.encode(X), atol=1e-4)
    assert result.choices["epochs"] == 0
    assert "performed as well" in result.choices["sentence"]
    assert np.isfinite(arrays["err"]).all()


def test_a_torn_participant_is_refused(linear_cohort, fitted):
    ids, fold, plan, _ = fitted
    torn = fold.copy()
    torn[0] = (torn[1] + 1) % 3  # one session of the first participant on the other side
    with pytest.raises(DatasetError, match="sub-00"):
        cross_fit_one(linear_cohort, ids, torn, 0, plan)


def test_learning_curves_are_averaged_as_far_as_every_training_went():
    def history(*losses):
        return pd.DataFrame({"epoch": range(len(losses)), "train_loss": losses, "valid_loss": [2 * v for v in losses]})

    mean = _mean_history([history(4.0, 3.0, 2.0, 1.0), history(6.0, 5.0)])
    assert mean["epoch"].tolist() == [0, 1]
    assert mean["train_loss"].tolist() == [5, 4]
    assert mean["valid_loss"].tolist() == [10, 8]
