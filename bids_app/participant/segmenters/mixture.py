"""The program's own model."""

from bids_app.participant.tissue import segment

__all__ = ["segment"]
