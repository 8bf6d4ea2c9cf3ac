"""The group level, one function a stage: plain functions on arrays and tables."""
