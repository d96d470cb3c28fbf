"""Methods that correct the class imbalance of the training beats, one per file."""
