"""The group level, one function per step: plain functions on arrays and tables."""
