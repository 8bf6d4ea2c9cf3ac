"""Who takes part: demographics, diagnosis, score and the loss planted in each region, drawn person by person.

Each person has an own random stream of (seed, number), so participant 7 of 12 is participant 7 of 1000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIAGNOSES = ("CN", "MCI", "AD")
SHARE_OF_EFFECT = {"CN": 0.0, "MCI": 0.5, "AD": 1.0}  # atrophy grows with the diagnosis
MEAN_AGE = {"CN": 71.0, "MCI": 72.0, "AD": 73.0}
CONFOUNDED_AGE = {"CN": 64.0, "MCI": 72.0, "AD": 80.0}
MMSE = {"CN": (29.0, 1.0), "MCI": (26.0, 1.8), "AD": (21.0, 2.5)}  # mean, sd
GM_LOSS_PER_YEAR = 0.35  # percent of all grey matter, about the middle age
MIDDLE_AGE = 72.0
TIV_ML = {"F": (1390.0, 105.0), "M": (1550.0, 120.0)}  # mean, sd
YEARS_BETWEEN_SESSIONS = 1.5
PROGRESS = 0.2  # growth of the planted loss from one session to the next


@dataclass(frozen=True)
class Person:
    """One participant.

    Attributes
    ----------
    number : int
        From 1.
    label : str
        BIDS label without ``sub-``.
    age : float
        Years at the first session.
    sex, diagnosis, site : str
    mmse : int
        Mini-mental state examination at the first session, 0 to 30; falls with the severity of the atrophy.
    tiv : float
        Intracranial volume in ml.
    severity : ndarray, (R,)
        Loss planted in each region as a share of the whole effect (0 in CN).
    """

    number: int
    label: str
    age: float
    sex: str
    diagnosis: str
    site: str
    mmse: int
    tiv: float
    severity: np.ndarray

    def age_at(self, session: int) -> float:
        """Age in years at session 0, 1, ..."""
        return round(self.age + YEARS_BETWEEN_SESSIONS * session, 1)

    def mmse_at(self, session: int) -> int:
        """Score at session 0, 1, ...: patients lose points as they progress."""
        slope = {"CN": 0.0, "MCI": 0.7, "AD": 1.6}[self.diagnosis]
        return max(0, round(self.mmse - slope * session))

    def gm_loss_at(self, session: int) -> float:
        """Percent of all grey matter that age has taken, relative to the middle age."""
        return GM_LOSS_PER_YEAR * (self.age_at(session) - MIDDLE_AGE)

    def change_at(self, session: int, weights: np.ndarray, effect: float) -> np.ndarray:
        """Planted relative change of each region's grey matter, shape (R,), at most 0."""
        loss = effect * weights * self.severity * (1 + PROGRESS * session)
        return -np.minimum(loss, 0.6)


def draw_person(number: int, n_regions: int, seed: int, confound: bool = False, width: int = 2) -> Person:
    """Draw one participant.

    Parameters
    ----------
    number : int
        From 1; diagnoses alternate CN, MCI, AD.
    n_regions : int
        Regions with planted atrophy.
    seed : int
    confound : bool
        Let age follow the diagnosis.
    width : int
        Least digits of the label.
    """
    rng = stream(seed, number, "person")
    diagnosis = DIAGNOSES[(number - 1) % 3]
    sex = "FM"[int(rng.integers(2))]
    age = float(np.clip(rng.normal((CONFOUNDED_AGE if confound else MEAN_AGE)[diagnosis], 6.5), 50, 95))
    site = ("north", "south")[int(rng.integers(2))]
    mean, sd = TIV_ML[sex]
    tiv = float(np.clip(rng.normal(mean, sd), mean - 2.5 * sd, mean + 2.5 * sd))
    # The n-th of a group: evenly spread, so that already few of them average the planted effect.
    shared = 0.5 * (_spread((number - 1) // 3 + 1) - 0.5)
    local = np.clip(rng.normal(0, 0.05, n_regions), -0.15, 0.15)
    severity = SHARE_OF_EFFECT[diagnosis] * (1 + shared + local)
    mean, sd = MMSE[diagnosis]
    drop = 6 * shared * SHARE_OF_EFFECT[diagnosis]
    mmse = int(np.clip(round(rng.normal(mean - drop, sd)), 0, 30))
    return Person(number, f"{number:0{width}d}", round(age, 1), sex, diagnosis, site, mmse, tiv, severity)


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """The random stream of one person for one purpose; independent of every other."""
    return np.random.default_rng([seed, number, int.from_bytes(purpose.encode()[:8], "little")])


def planted_changes(weights: np.ndarray, effect: float) -> dict[str, np.ndarray]:
    """Relative change planted in each region by diagnosis, on average and at the first session."""
    return {diagnosis: -effect * np.asarray(weights) * SHARE_OF_EFFECT[diagnosis] for diagnosis in DIAGNOSES}


def _spread(number: int) -> float:
    """The n-th of a sequence that fills (0, 1) evenly from its first members on (van der Corput's, base 2)."""
    value, share = 0.0, 0.5
    while number:
        value, number, share = value + share * (number % 2), number // 2, share / 2
    return value
