"""The only door to matplotlib and plotly: pictures as bytes. No display, no state, equal bytes for equal input."""
