"""The participant level as steps: which scans are not finished, and what is done to each."""
