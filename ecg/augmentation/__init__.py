"""More training beats: balancing of the classes before the training, and transforms of the waveform during it."""
