"""From recordings to beats: sources, windows, protocols and the LightningDataModule."""
