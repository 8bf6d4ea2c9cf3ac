"""The group level as steps: from maps to verdicts."""
