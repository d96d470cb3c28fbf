"""Random transforms of training beats, one per file, and the pipelines that apply them."""
