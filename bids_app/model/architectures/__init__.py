"""The networks, one module each, named as ``--architecture`` names it (see ``schema.architectures``)."""

from __future__ import annotations

from importlib import import_module

from bids_app.model.network import MapNetwork


def network_class(name: str) -> type[MapNetwork]:
    """The class ``Network`` of the module of that name."""
    return import_module(f"{__name__}.{name}").Network
