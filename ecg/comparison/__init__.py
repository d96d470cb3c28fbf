"""Comparison of runs: run records, paired statistics, leaderboard."""
