"""Experiment framework for ECG heartbeats: synthesise the rare ones, classify all of them, compare honestly."""

__version__ = "0.1.0"
