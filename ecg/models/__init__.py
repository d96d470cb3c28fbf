"""Classifier networks in plain torch, one in each file."""
