"""The measurements of `python -m jaxrl.experiments.benchmark`."""
