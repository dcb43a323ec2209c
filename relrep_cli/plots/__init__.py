"""The only door to matplotlib and plotly: pictures as bytes. No display, no state, equal bytes for equal input."""

from relrep_cli.plots.curves import curves, training
from relrep_cli.plots.dots import dots
from relrep_cli.plots.drawing import ready
from relrep_cli.plots.matrices import Look, Panel, distributions, heatmap, indexes, short
from relrep_cli.plots.rates import rates
from relrep_cli.plots.scatters import Cloud, Picture, scatter
from relrep_cli.plots.stitching_maps import attentions
from relrep_cli.plots.strips import Strip, fitting, pictures, strips

__all__ = [
    "Cloud",
    "Look",
    "Panel",
    "Picture",
    "Strip",
    "attentions",
    "curves",
    "distributions",
    "dots",
    "fitting",
    "heatmap",
    "indexes",
    "pictures",
    "rates",
    "ready",
    "scatter",
    "short",
    "strips",
    "training",
]
