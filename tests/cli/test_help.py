"""Help in two levels: a screen for -h, panels for --help, and a page for each metric, encoder or other entry."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from conftest import Workdir, only_line

from relrep_cli.cli import COMMANDS, load

WITH_ENTRIES = [name for name in COMMANDS if load(name).registries]


@cache
def command(name: str) -> Any:
    return load(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_screen_is_short_and_names_what_exists(empty: Workdir, name: str) -> None:
    shown = empty.here(f"relrep {name} -h").stdout
    lines = shown.splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 80 and "…" not in shown
    assert lines[0].startswith(f"Usage: relrep {name} [OPTIONS]")
    assert f"All options, with examples: relrep {name} --help" in lines
    by_name = {p.name: p for p in command(name).params}
    assert set(command(name).common) <= set(by_name)
    listed = [by_name[common] for common in command(name).common]
    assert all(p.opts[0] in shown for p in listed if p.param_type_name == "option")


@pytest.mark.parametrize("name", COMMANDS)
def test_all_options_stand_in_panels_and_those_of_entries_under_their_owners(empty: Workdir, name: str) -> None:
    full, own = empty.here(f"relrep {name} --help").stdout, command(name)
    flat = full.partition("Options of one ")[0]
    assert f"\n{own.title}:\n" in flat and "\nRunning:\n" in flat
    owned = {k.option for registry in own.registries for k in registry.keywords().values()}
    for parameter in own.params:
        if parameter.param_type_name == "option":
            assert max(parameter.opts, key=len) in full, parameter.name
    listed = {line.split()[0].rstrip(",") for line in flat.splitlines() if line.startswith("  --")}
    declared = {opt for p in own.params for opt in p.opts if p.name in command(name).panels or p.name in own.common}
    assert not (listed & owned) - declared


@pytest.mark.parametrize("name", WITH_ENTRIES)
def test_each_entry_has_a_page_with_its_options(name: str) -> None:
    for registry in command(name).registries:
        for entry in registry.values():
            page = command(name).page_of(entry.name, 100)
            first = next(actual for actual in command(name).registries if entry.name in actual)
            shown = first[entry.name]  # of two registries with one name, the first is shown
            assert page.startswith(f"{first.noun} {entry.name}\n") and shown.summary.split()[0] in page
            assert all(k.param.help.split()[0] in page for k in shown.keywords.values())


def test_a_page_on_the_command_line(empty: Workdir) -> None:
    shown = empty.here("relrep compare --help cka").stdout
    assert "metric cka" in shown and "--estimator" in shown and "Kornblith" in shown
    assert "Did you mean cka?" in only_line(empty.here("relrep compare --help CKAA", 2))
    assert "Did you mean cka?" in only_line(empty.here("relrep compare a b -m CKA", 2))


@pytest.mark.parametrize(
    ("words", "same"), [("help", "--help"), ("help plot", "plot --help"), ("help cka", "compare --help cka")]
)
def test_help_is_a_word_too(empty: Workdir, words: str, same: str) -> None:
    assert empty.here(f"relrep {words}").stdout == empty.here(f"relrep {same}").stdout


def test_help_of_nothing_says_what_there_is(empty: Workdir) -> None:
    assert "Did you mean compare?" in only_line(empty.here("relrep help compere", 2))
    assert "Did you mean procrustes?" in only_line(empty.here("relrep help procrusts", 2))


def test_help_after_a_separator_is_a_file_name(work: Workdir) -> None:
    assert "--help: no such file" in only_line(work.here("relrep info -- --help", 3))


def test_md_is_markdown(work: Workdir) -> None:
    md, markdown = (work.here(f"relrep info a.h5 --format {kind}").out for kind in ("md", "markdown"))
    assert md == markdown and md.startswith(b"| file")
