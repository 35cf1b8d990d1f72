"""What the pages say of the code in passing: options, names, arguments, links and codes that exist."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from command_lines import all_options, options_of
from conftest import ROOT
from fenced_blocks import PAGES, blocks, prose

import kimi_beam as kb
from kimi_beam.types.failure import Code, Stage

DESIGN = ROOT / "kimi_beam" / "DESIGN.md"
OTHERS = {
    *("--source", "--model-name", "--events"),  # wrangler's
    *("--file", "--tag", "--image", "--sdk-language", "--metadata-file"),  # docker's and gcloud's
    *("--template-file-gcs-location", "--parameters", "--update"),
    *("--only", "--all-files", "--gil"),  # of the benchmarks and of py-spy
}
"""Options of other programs."""
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=_named)


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1_200


def test_the_design_is_short() -> None:
    assert len(DESIGN.read_text().splitlines()) <= 120


def test_every_failure_code_and_stage_is_explained() -> None:
    text = (ROOT / "docs" / "howto" / "dead-letters.md").read_text()
    words = (*Code.__args__, *Stage.__args__)  # type: ignore[attr-defined]
    assert [word for word in words if f"`{word}`" not in text] == []


@each_page
def test_no_page_names_an_option_that_is_not_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"(?<![\w<-])--[a-z][a-z0-9_-]*", text)) - OTHERS
    assert sorted(named - all_options()) == []


@each_page
def test_no_page_names_a_name_or_an_argument_that_is_not_there(page: Path) -> None:
    codes = [block.text for block in blocks(page) if block.language == "python"]
    codes += [code for code in re.findall(r"`([^`\n]+)`", prose(page)) if code.startswith("kb.") and "…" not in code]
    for code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "kb":
                assert node.attr in kb.__all__, code
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id == "kb":
                    known = inspect.signature(getattr(kb, node.func.attr)).parameters
                    assert [word.arg for word in node.keywords if word.arg and word.arg not in known] == [], code
                    # A list of arguments in prose, as in kb.Gateway(id, in_url): plain names of parameters.
                    if code.startswith("kb.") and all(isinstance(each, ast.Name) for each in node.args):
                        assert [
                            each.id for each in node.args if isinstance(each, ast.Name) and each.id not in known
                        ] in (
                            [],
                            ["schema"],
                        ), code


@each_page
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{_named(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{_named(page)} links to {target}#{anchor}"


def test_the_options_of_the_program_that_is_launched_are_told() -> None:
    text = (ROOT / "docs" / "howto" / "pipelines.md").read_text()
    (told,) = re.findall(r"and takes (.*?) and Beam's options", text, re.DOTALL)
    named = re.findall(r"`(--[a-z-]+)`", told)
    assert set(named) | {"--help"} == {option for option in options_of("pipelines/extract.py") if "_" not in option} - {
        "--runner"
    }


_FILE = re.compile(r"\b(?:kimi_beam|tests|pipelines|schemas|docs)/[\w./-]+\.(?:py|md|json)\b")
_IN_FILE = re.compile(r"`(\w+)`(?:,\s+`(\w+)`)? in\s+`((?:kimi_beam|tests)/[\w/]+\.py)`")


with_the_design = pytest.mark.parametrize("page", [*PAGES, DESIGN], ids=_named)


@with_the_design
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(_FILE.findall(page.read_text()))
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


@with_the_design
def test_what_a_page_finds_in_a_file_is_defined_there(page: Path) -> None:
    for *names, path in _IN_FILE.findall(page.read_text()):
        text = (ROOT / path).read_text()
        for name in filter(None, names):
            assert re.search(rf"^(?:class|def|async def) {name}\b|^{name}\b.* = ", text, re.MULTILINE), (name, path)


def test_the_words_that_the_glossary_has_of_the_code_are_there() -> None:
    named = re.findall(r"^\*\*[\w ]+\*\* \(`(\w+)`\)$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    code = "".join(path.read_text() for path in (ROOT / "kimi_beam").rglob("*.py"))
    assert len(named) >= 3
    assert [word for word in named if not re.search(rf"\b{word}\b", code)] == []
