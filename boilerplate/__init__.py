"""Methods text and bibliography, shipped inside the wheel as ``bids_app.boilerplate``."""
