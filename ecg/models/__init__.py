"""Classifier networks, one a file, in plain torch: signals (B, C, T) and RR features (B, R) in, logits out."""
