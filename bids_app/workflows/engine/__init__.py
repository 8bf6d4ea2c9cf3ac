"""What runs steps, whatever they do: interface, wiring, plug-in, locks, environment. Knows nothing of brains."""
