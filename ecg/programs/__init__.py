"""The programs `ecg train` and `ecg synth`: compose, check, build, fit, evaluate."""
