"""The Python library: the functions that `import relrep_cli` offers, thin over the same core as the command line."""
