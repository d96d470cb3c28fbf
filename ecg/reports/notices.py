"""Sentences that the reports and the console share."""

SIMULATED = "Simulated recordings: these scores do not apply to real ECGs."
SHARED_PATIENTS = "Training and test beats come from the same patients. Scores on new patients are usually lower."
