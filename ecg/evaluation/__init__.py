"""Metrics of classifiers and fidelity of synthetic beats. Independent of Hydra, Lightning and W&B."""
