"""Registries: what a decorator records and refuses, that all entries agree, and that a plugin appears as an option."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from relrep_cli.anchors.strategies import STRATEGIES
from relrep_cli.base import registry
from relrep_cli.base.errors import UsageError
from relrep_cli.base.registry import Entry, Param, Registry, load_plugins
from relrep_cli.encoders import ENCODERS
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.heads.heads import HEADS
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.families import shape_metric
from relrep_cli.metrics.score import FamilyTraits, OwnTraits
from relrep_cli.plots.reductions import METHODS
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.sources import SOURCES
from relrep_cli.stitching.translators import TRANSLATORS

REGISTRIES = {
    "metric": METRICS,
    "similarity": SIMILARITIES,
    "strategy": STRATEGIES,
    "head": HEADS,
    "encoder": ENCODERS,
    "translator": TRANSLATORS,
    "source": SOURCES,
    "task": EVALUATIONS,
    "method": METHODS,
}
ENTRIES = [(noun, name) for noun, known in REGISTRIES.items() for name in known]
every_entry = pytest.mark.parametrize(("noun", "name"), ENTRIES)
Size = Annotated[int, Param("How large.", minimum=1, maximum=9)]
Kind = Annotated[Literal["plain", "fancy"], Param("Which kind.", choices=("plain", "fancy"))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Thing(Entry[Callable[..., None]]):
    """An entry with two traits, which registers in the shelf it is given for."""

    colour: str
    source: str


def shelf() -> Registry[Thing]:
    """A registry with two entries."""
    known = Registry("thing", Thing)

    def register(entry: Thing) -> Callable[[Callable[..., None]], None]:
        return lambda function: known.add(entry.of(function))

    @register(Thing(colour="red", source="a book"))
    def small_thing(x: Any, *, size: Size = 3) -> None:
        """Something small.

        And more about it.
        """

    @register(Thing(colour="blue", source="a book"))
    def list_(x: Any, *, kind: Kind = "plain", hidden: int = 1) -> None:
        """A name that Python has taken."""

    return known


# What a registry does


def test_an_entry_is_what_was_declared() -> None:
    known = shelf()
    assert list(known) == ["small-thing", "list"] and len(known) == 2
    entry = known["small-thing"]
    assert (entry.colour, entry.source, entry.summary) == ("red", "a book", "Something small")
    with pytest.raises(AttributeError, match="weight"):
        _ = entry.weight
    keyword = known.keywords()["size"]
    assert (keyword.option, keyword.type, keyword.default, keyword.param.help) == ("--size", int, 3, "How large.")
    assert set(known["list"].keywords) == {"kind"}, "a keyword without a Param is no option"


@pytest.mark.parametrize(
    "traits", [{}, {"colour": "red"}, {"colour": "red", "source": "s", "weight": 1}], ids=["none", "one missing", "one unknown"]
)
def test_traits_have_no_defaults_and_no_strangers(traits: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"missing .* keyword-only argument|unexpected keyword argument 'weight'"):
        Thing(**traits)


@every_entry
def test_every_trait_is_declared_by_every_entry(noun: str, name: str) -> None:
    known = REGISTRIES[noun]
    assert "source" in known.traits
    traits = [field for field in fields(known.kind) if field.name in known.traits]
    assert all(field.default is MISSING and field.default_factory is MISSING for field in traits), known.kind
    assert type(known[name]) is known.kind and set(known.traits) <= set(vars(known[name]))


def test_a_family_gives_what_its_metric_does_not_declare() -> None:
    assert (METRICS["procrustes"].family, METRICS["procrustes"].symmetric, METRICS["procrustes"].identity) == (
        "shapes",
        True,
        0,
    )
    assert METRICS["cca"].invariant > METRICS["svcca"].invariant, "one member's own traits are not another's"
    assert OwnTraits.__optional_keys__ == {field.name for field in fields(FamilyTraits)} - {"family"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'symetric'"):
        shape_metric(source="a test", symetric=False)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["small_thing", "list", "list_"])
def test_a_name_is_registered_once(name: str) -> None:
    def again() -> None:
        """Again."""

    again.__name__ = name
    with pytest.raises(TypeError, match=r"thing [a-z-]+ is registered twice"):
        shelf().add(Thing(colour="red", source="s").of(again))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown thing 'smal-thing'\. Did you mean small-thing\? Known: small-thing, list\."):
        _ = shelf()["smal-thing"]
    with pytest.raises(UsageError, match=r"unknown thing '\\\\x1b\[31m'\. Known: small-thing, list\."):
        _ = shelf()["\x1b[31m"]
    assert "small-thing" in shelf() and "smal-thing" not in shelf()


def test_choose_fills_in_defaults() -> None:
    assert shelf().choose(["small-thing", "list"], {"size": 5, "kind": None}) == {
        "small-thing": {"size": 5},
        "list": {"kind": "plain"},
    }


def test_an_option_that_no_chosen_entry_takes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--size is not an option of thing list\. It belongs to small-thing"):
        shelf().choose(["list"], {"size": 3})
    assert shelf().choose(["list"], {"size": None}) == {"list": {"kind": "plain"}}
    assert shelf().choose(["list", "small-thing"], {"size": 3})["small-thing"] == {"size": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "--size is 0. It must be from 1 to 9."),
        ({"size": 10}, "--size is 10. It must be from 1 to 9."),
        ({"kind": "fanci"}, "unknown value of --kind: 'fanci'. Did you mean fancy? Known: plain, fancy."),
    ],
)
def test_a_value_out_of_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        shelf().choose(["small-thing", "list"], given)


def test_a_bound_on_one_side() -> None:
    with pytest.raises(UsageError, match=r"--k is 0. It must be at least 1\."):
        Param("How many.", minimum=1).check("--k", 0)
    Param("How many.", minimum=1).check("--k", 10**9)


# What every entry of every registry is


@every_entry
def test_names_are_lowercase_with_hyphens(noun: str, name: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(:[a-z]+(-[a-z]+)*)?", name)
    assert REGISTRIES[noun][name].name == name


@every_entry
def test_the_docstring_begins_with_a_sentence(noun: str, name: str) -> None:
    first = (REGISTRIES[noun][name].function.__doc__ or "").split("\n")[0]
    assert re.fullmatch(r"[A-Z].*\.", first) and len(first) < 120


@every_entry
def test_it_says_where_it_comes_from(noun: str, name: str) -> None:
    source = REGISTRIES[noun][name].source
    assert isinstance(source, str) and len(source.split()) >= 2 and not source.endswith(".")


@every_entry
def test_its_options_are_complete(noun: str, name: str) -> None:
    for keyword in REGISTRIES[noun][name].keywords.values():
        assert re.fullmatch(r"[A-Z].*\.", keyword.param.help), keyword.option
        assert keyword.default is not None, f"{keyword.option} has no default"
        keyword.param.check(keyword.option, keyword.default)
        if keyword.param.choices:
            assert all(isinstance(choice, str) for choice in keyword.param.choices)
        else:
            assert isinstance(keyword.default, keyword.type)


@pytest.mark.parametrize("noun", REGISTRIES)
def test_one_keyword_means_one_thing(noun: str) -> None:
    """A registry gives each name one option with one help; where its defaults differ, the help says whose is which."""
    seen: dict[str, tuple[Any, ...]] = {}
    for entry in REGISTRIES[noun].values():
        for keyword in entry.keywords.values():
            meaning = (keyword.type, keyword.param)
            assert seen.setdefault(keyword.name, meaning) == meaning, f"{keyword.option} of {entry.name}"
            stated = str(REGISTRIES[noun].keywords()[keyword.name].default)
            parts = re.split(r"; |, (?=[^,;]+ for )", stated)
            own = next((part for part in parts if re.search(rf"( for|,) {entry.name}(,|$)", part)), parts[0])
            assert own.partition(" for ")[0] == str(keyword.default), (stated, entry.name)


def test_options_of_entries_do_not_hide_those_of_commands() -> None:
    from relrep_cli.cli import COMMANDS, load

    for command in COMMANDS:
        flags = [flag for parameter in load(command).params for flag in parameter.opts]
        assert len(flags) == len(set(flags)), command


# Plugins

PLUGIN = '''
from typing import Annotated
import numpy as np
from relrep_cli.metrics.score import Score, metric
from relrep_cli.plots.reductions import METHODS
from relrep_cli.base.registry import Param

Sharpness = Annotated[float, Param("How sharp the probe is.", minimum=0)]

@metric(family="probes", bounds=(None, None), identity=0, higher_is_closer=False, symmetric=True, needs={"same dims"},
        reads_coordinates=True, invariant={"orthogonal", "permutation", "translation"}, source="a test of relrep")
def probe_distance(x, y, *, sharpness: Sharpness = 2.5) -> Score:
    """Mean distance of paired rows, sharpened."""
    rows = sharpness * np.linalg.norm(x - y, axis=1)
    return Score(float(rows.mean()), 0.0, f"sharpness {sharpness}", rows)
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder like those that pip fills: a module, and metadata that name it under the entry-point group."""
    (tmp_path / "relrep_probe.py").write_text(PLUGIN)
    metadata = tmp_path / "relrep_probe-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: relrep-probe\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[relrep.plugins]\nprobe = relrep_probe\n")
    return tmp_path


def relrep(plugin: Path, environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    env = {**environment, "PYTHONPATH": f"{plugin}:{environment['PYTHONPATH']}", "COLUMNS": "200"}
    command = [sys.executable, "-m", "relrep_cli", *words]
    return subprocess.run(command, env=env, cwd=plugin, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_a_decorated_function_of_a_plugin_is_the_whole_change(plugin: Path, environment: Mapping[str, str]) -> None:
    shown = relrep(plugin, environment, "compare", "--help")
    assert shown.returncode == 0, shown
    assert "probe-distance" in "".join(shown.stdout.split()), "wherever help breaks its lines"
    page = relrep(plugin, environment, "compare", "--help", "probe-distance").stdout
    assert re.search(r"--sharpness\s+\S+\s+How sharp the probe is\. \[default: 2\.5\]", page), page
    x = np.zeros((20, 2))
    np.save(plugin / "a.npy", x)
    np.save(plugin / "b.npy", x + np.array([3.0, 4.0]))
    words = ["compare", "a.npy", "b.npy", "-m", "probe-distance", "--sharpness", "2", "--format", "tsv"]
    ran = relrep(plugin, environment, *words)
    assert ran.returncode == 0, ran
    record = dict(zip(*(line.split("\t") for line in ran.stdout.splitlines()), strict=True))
    assert (record["metric"], float(record["value"]), record["convention"]) == ("probe-distance", 10, "sharpness 2.0")
    refused = relrep(plugin, environment, "compare", "a.npy", "b.npy", "-m", "cka", "--sharpness", "2")
    assert refused.returncode == 2
    assert "--sharpness is not an option of metric cka. It belongs to probe-distance" in refused.stderr


def test_a_broken_plugin_is_named(plugin: Path, environment: Mapping[str, str]) -> None:
    (plugin / "relrep_probe.py").write_text("raise RuntimeError('out of\\nprobes')")
    ran = relrep(plugin, environment, "compare", "a.npy", "b.npy")
    assert ran.returncode == 2, ran
    message = "plugin probe of relrep-probe cannot be loaded: RuntimeError: out of\\nprobes. Mend or uninstall relrep-probe."
    assert ran.stderr == f"relrep compare: {message}\n"
    helped = relrep(plugin, environment, "--help")
    assert helped.returncode == 0 and "compare" in helped.stdout, "the list of commands needs no plugin"


@pytest.fixture
def imported(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entry]:
    """The probe, registered in this process and forgotten afterwards."""
    monkeypatch.syspath_prepend(plugin)
    load_plugins()
    load_plugins()  # a second command of one process loads nothing twice
    yield METRICS["probe-distance"]
    del METRICS._entries["probe-distance"]
    sys.modules.pop("relrep_probe")


def test_plugins_are_loaded_once(imported: Entry) -> None:
    assert imported.summary == "Mean distance of paired rows, sharpened"
    assert registry.PLUGINS == "relrep.plugins"
