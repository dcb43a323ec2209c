"""All strategies that choose anchors: importing this module registers them."""

from relrep_cli.anchors.candidates import STRATEGIES, Candidates, choose
from relrep_cli.anchors.elementary import first, frequent, from_file, out_of_domain, per_class, random
from relrep_cli.anchors.geometric import farthest, herding, kmeans, mixture
from relrep_cli.anchors.paired import bootstrap, unsupervised
from relrep_cli.anchors.vectors import anchor_vectors

__all__ = [
    "STRATEGIES",
    "Candidates",
    "anchor_vectors",
    "bootstrap",
    "choose",
    "farthest",
    "first",
    "frequent",
    "from_file",
    "herding",
    "kmeans",
    "mixture",
    "out_of_domain",
    "per_class",
    "random",
    "unsupervised",
]
