"""Parts of a comparison that several runs share: what one run writes, and what makes the whole of all parts.

A part is a JSON file with the plan, the results of its pairs, and the content of the files they were computed from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from relrep_cli import __version__
from relrep_cli.base.errors import DataError, RelrepError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.permutations import Layer
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.comparison.runs import PairResult
from relrep_cli.engine.jobs import Outcome
from relrep_cli.engine.shards import Shard, refuse_incomplete
from relrep_cli.engine.shards import to_bytes as sealed

KIND = "compare"
FOREIGN = ("no part of a comparison", "Name files that compare --shard has written.")


@dataclass(frozen=True)
class Part:
    """One part. name: its file. job: what all parts must have in common. contents: of the files, by URI."""

    name: str
    shard: Shard
    job: Mapping[str, Any]
    contents: Mapping[str, str]
    outcomes: Sequence[Outcome]


def to_bytes(plan: Plan, shard: Shard, settings: Mapping[str, Any], outcomes: Sequence[Outcome]) -> bytes:
    """Write a part. plan: of the whole. settings: what else the results depend on. outcomes: one for each pair of the part."""
    contents: dict[str, str] = {}
    for place, outcome in zip(shard.of(len(plan.pairs)), outcomes, strict=True):
        if outcome.error is None:
            contents |= zip(plan.pairs[place], outcome.result.contents, strict=True)
    content = {
        "shard": [shard.number, shard.count],
        "job": {"plan": _plan_to_json(plan), **settings},
        "contents": contents,
        "pairs": [_outcome_to_json(outcome) for outcome in outcomes],
    }
    return sealed(KIND, content)


def _plan_to_json(plan: Plan) -> dict[str, Any]:
    fields = ("groups", "metrics", "reference", "seed", "require_all")
    return {**{name: getattr(plan, name) for name in fields}, "outputs": asdict(plan.outputs)}


def _outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    if outcome.error is not None:
        return {"error": list(outcome.error.args)}
    layers = [[layer.place, layer.key, layer.null.tolist(), layer.rows] for layer in outcome.result.layers]
    return {"records": outcome.result.records, "layers": layers}


def from_json(name: str, content: Mapping[str, Any]) -> Part:
    """Read a part. Raises DataError when it is none, or when another version of relrep has written it."""
    try:
        if content["version"] != __version__:
            finding = f"relrep {content['version']} has written it, and this is {__version__}"
            raise DataError(finding, "Compare again.", file=name)
        shard, contents = Shard(*map(int, content["shard"])), {str(k): str(v) for k, v in content["contents"].items()}
        return Part(name, shard, dict(content["job"]), contents, [_outcome(one) for one in content["pairs"]])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DataError(*FOREIGN, file=name) from None


def _outcome(content: Mapping[str, Any]) -> Outcome:
    if "error" in content:
        finding, remedy, file, place = map(str, content["error"])
        return Outcome(error=DataError(finding, remedy, file=file, place=place))
    layers = [Layer(place, key, np.array(null, np.float64), rows) for place, key, null, rows in content["layers"]]
    return Outcome(PairResult(list(content["records"]), [], layers))


def plan_of(part: Part) -> Plan:
    """The plan of the whole. Raises DataError when the part holds none."""
    try:
        known = part.job["plan"]
        metrics = {
            name: {key: tuple(v) if isinstance(v, list) else v for key, v in params.items()}
            for name, params in known["metrics"].items()
        }
        return make_plan(
            known["groups"],
            metrics,
            Outputs(**known["outputs"]),
            reference=known["reference"],
            seed=known["seed"],
            require_all=known["require_all"],
        )
    except (TypeError, KeyError, AttributeError, RelrepError):
        raise DataError(*FOREIGN, file=part.name) from None


def refuse_other_parts(parts: Sequence[Part]) -> None:
    """Raise UsageError unless the parts are all those of one run, each once, of the same files."""
    refuse_incomplete([(part.name, part.shard, part.job) for part in parts])
    contents: dict[str, tuple[str, Part]] = {}
    for part in parts:
        for uri, content in part.contents.items():
            known, other = contents.setdefault(uri, (content, part))
            if known != content:
                raise UsageError(
                    f"{uri} had other content than for {other.name}", "Compare again with the same files.", file=part.name
                )


def outcomes_of_parts(plan: Plan, parts: Sequence[Part]) -> list[Outcome]:
    """The outcomes of all pairs, in the order of the plan. Raises DataError when a part lacks some of its own."""
    outcomes: list[Outcome] = []
    for part in sorted(parts, key=lambda part: part.shard.number):
        if len(part.outcomes) != len(part.shard.of(len(plan.pairs))):
            raise DataError(*FOREIGN, file=part.name)
        outcomes += part.outcomes
    return outcomes
