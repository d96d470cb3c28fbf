"""Configuration: the schema of every key, its checks, and the help text. Imports nothing heavy."""
