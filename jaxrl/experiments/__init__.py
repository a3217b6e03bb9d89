"""Experiments: `python -m jaxrl.experiments` lists them."""
