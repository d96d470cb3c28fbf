"""Experiment framework for ECG heartbeats: classification, synthesis of rare classes, comparison."""

__version__ = "0.1.0"
