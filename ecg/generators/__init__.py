"""Generators of heartbeats, one a file: networks, losses and sampling, in plain torch."""
