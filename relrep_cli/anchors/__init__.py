"""Strategies that choose anchors, and where the vectors of anchors come from."""
