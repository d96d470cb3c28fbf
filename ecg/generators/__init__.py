"""Generators of heartbeats in plain torch: networks, losses and sampling, one generator in each file."""
