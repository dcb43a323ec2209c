"""Reports: one HTML page that holds its data, style and program, and asks the network for nothing."""
