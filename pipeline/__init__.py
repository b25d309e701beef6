"""Akshara: from a Wikipedia dump to a document classifier, in stages."""

__version__ = "0.1.0"
