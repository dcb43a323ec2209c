"""Families of metrics, with the traits that most members share. A member declares its source and the traits that differ."""

from __future__ import annotations

from relrep_cli.metrics.score import MetricFamily

__all__ = ["canonical_metric", "coordinate_metric", "kernel_metric", "neighbourhood_metric", "shape_metric", "statistic_metric"]

canonical_metric = MetricFamily(
    family="canonical",
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs={"n > d"},
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale", "translation"},
)

coordinate_metric = MetricFamily(
    family="coordinates",
    bounds=(-1, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs={"same dims"},
    reads_coordinates=True,
    invariant={"orthogonal", "permutation", "scale"},
)

kernel_metric = MetricFamily(
    family="kernels",
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale", "translation"},
)

shape_metric = MetricFamily(
    family="shapes",
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale", "translation"},
)

neighbourhood_metric = MetricFamily(
    family="neighbourhoods",
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale"},
)

statistic_metric = MetricFamily(
    family="statistics",
    bounds=(0, None),
    identity=0,
    higher_is_closer=False,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale"},
)
