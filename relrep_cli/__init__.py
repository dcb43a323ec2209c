"""relrep: saved embeddings made comparable and interchangeable."""

__version__ = "0.1.0"
