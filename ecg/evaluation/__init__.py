"""Metrics, plots and reports. Knows nothing of Hydra, Lightning or W&B."""
