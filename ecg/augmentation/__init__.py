"""Augmentation of training beats: class balance before the training, transforms of the waveform during it."""
