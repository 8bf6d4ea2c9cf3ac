"""The architectures that a model can have, and the texts that describe each.

A row here and ``model/architectures/<name>.py``, whose class ``Network`` is the network, are all that an architecture
needs: the option's choices, the model's card, the page and the methods text are made from the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Architecture:
    """Name and descriptions of an architecture.

    Attributes
    ----------
    name : str
        As ``--architecture`` takes it, and the file of its network.
    option : str
        What it is, for ``--help``.
    kind : str
        In the model's card.
    label : str
        Of its reconstructions in figures.
    start : str
        What it is before any training (epoch 0); with zero epochs it stays that.
    has_linear_path : bool
        Whether it starts from the linear model and adds to it.
    description : str
        For the model's card.
    methods : str
        What was trained, for the methods text, up to "was trained on"; ``{latent_dim}`` is the number of latents.
    trained, untrained : str
        What the inner held-out participants said, where they gave it epochs and where they gave none.
        ``{epochs}`` is *n epochs*; ``{gain}`` and ``{error}`` are the gain over the start in percentage points of
        their maps' variance, and its standard error.
    plan : mapping
        Fields of the training plan that differ from its defaults.
    """

    name: str
    option: str
    kind: str
    label: str
    start: str
    has_linear_path: bool
    description: str
    methods: str
    trained: str
    untrained: str
    plan: Mapping[str, float] = field(default_factory=dict)


RESIDUAL = Architecture(
    name="residual",
    option="a linear path, plus convolutions where held-out participants gain from them",
    kind="residual-autoencoder",
    label="linear path with convolutions",
    start="linear path",
    has_linear_path=True,
    description="A linear path (principal components of the training maps, as smooth and left-right symmetric as "
    "helps) plus a convolutional residual: four stride-2 blocks and their mirror image around a linear "
    "bottleneck, starting at zero. Maps are (n, V) vectors of mask voxels.",
    methods="A linear model with {latent_dim} latent variables, to which three-dimensional convolutions can be added,",
    trained="Trained for {epochs}, the convolutions explained {gain} (standard error {error}) percentage points more "
    "of the variance of held-out participants than the linear model alone.",
    untrained="The convolutions were not used, because the linear model performed as well without them: at best they "
    "explained {gain} (standard error {error}) percentage points more of the variance of held-out participants.",
)
CONV = Architecture(
    name="conv",
    option="a plain convolutional autoencoder, as in the article, without a linear path",
    kind="convolutional-autoencoder",
    label="convolutional autoencoder",
    start="mean map",
    has_linear_path=False,
    description="A plain convolutional autoencoder: four three-dimensional convolution blocks of stride 2, a linear "
    "bottleneck, and their mirror image; no linear path. It models differences from the mean map and starts "
    "there. Maps are (n, V) vectors of mask voxels.",
    methods="A three-dimensional convolutional autoencoder with {latent_dim} latent variables (four convolution blocks "
    "of stride 2, a linear bottleneck and their mirror image; mean squared error)",
    trained="Trained for {epochs}, it explained {gain} % (standard error {error} %) of the variance of held-out "
    "participants about the mean map.",
    untrained="It did not describe held-out participants better than the mean map, however long it was trained: at "
    "best it explained {gain} % (standard error {error} %) of their variance about that map.",
    # It has further to go than a model that starts from principal components, and its curve has plateaus on the way.
    plan={"learning_rate": 1e-3, "patience": 10},
)
#: The default comes first.
ARCHITECTURES = (RESIDUAL, CONV)
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
BY_KIND = {architecture.kind: architecture for architecture in ARCHITECTURES}
