"""The boundary to BIDS: find inputs, name outputs, write sidecars, dataset-level files and tables."""
