"""Hints to XLA: what to compute once, what to split between devices, and how to lower random numbers."""
