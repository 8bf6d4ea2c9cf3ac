"""The autoencoder: its volumes, its training, its file format, and the linear model it has to beat."""
