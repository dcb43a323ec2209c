"""All strategies that choose anchors. Their modules are imported here alone, so that they register in one order."""

from relrep_cli.anchors.candidates import STRATEGIES, Candidates, choose
from relrep_cli.anchors.elementary import first, frequent, from_file, out_of_domain, per_class, random
from relrep_cli.anchors.geometric import ON_DEVICE, SAMPLE, farthest, herding, kmeans, mixture
from relrep_cli.anchors.paired import Matching, bootstrap, unsupervised
from relrep_cli.anchors.vectors import anchor_vectors

__all__ = [
    "ON_DEVICE",
    "SAMPLE",
    "STRATEGIES",
    "Candidates",
    "Matching",
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
