"""Scores of a classifier, through `evaluate`, with scripts that lie in this folder: no network."""
