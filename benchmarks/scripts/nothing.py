"""A Python that does nothing: python nothing.py."""
