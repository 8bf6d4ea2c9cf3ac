"""A synthetic BIDS cohort with planted atrophy: the demonstration, and the ground truth of the tests."""
