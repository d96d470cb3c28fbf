"""From recordings to beats: sources, windows, splits and the LightningDataModule."""
