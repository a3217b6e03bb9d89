"""What `python -m jaxrl.experiments.benchmark` measures, and how."""
