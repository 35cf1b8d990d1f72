"""The README and the pages do what they say: each block runs as a test, or says why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from fenced_blocks import PAGES, Block, blocks
from page_runner import PageError, page_runner

_WITH_BLOCKS = [page for page in PAGES if blocks(page)]


@pytest.mark.parametrize("page", _WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_of_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    with page_runner(tmp_path) as runner:
        for block in blocks(page):
            runner.run(block)


def _block(language: str, text: str, *instructions: tuple[str, str]) -> Block:
    return Block(ROOT / "README.md", 1, language, text, instructions)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (_block("", "x\n"), "nothing says how to run"),
        (_block("text", "x\n"), "nothing says how to run"),
        (_block("sh", "gcloud run\n"), "not known here"),
        (_block("sh", "gcloud run\n", ("not run", "")), "does not say why"),
        (_block("sh", "kimi-beam extract in --shema x\n", ("not run", "it needs an account")), "--shema"),
        (_block("sh", "kimi-beam models --jsn\n"), "--jsn"),
        (_block("sh", "python pipelines/stream.py --inputs x\n", ("not run", "it needs an account")), "--inputs"),
        (_block("sh", "make demo-out\n"), "demo-out"),
        (_block("sh", "pip install 'kimi-beam[azur]'\n"), "no extra azur"),
        (_block("sh", "kimi-beam schema show no.json\n"), "ended with 2"),
        (_block("text", "something else\n", ("output", "")), "the output is another"),
    ],
)
def test_a_block_that_is_wrong_or_says_nothing_is_noticed(block: Block, told: str, tmp_path: Path) -> None:
    with page_runner(tmp_path) as runner, pytest.raises(PageError, match=told):
        runner.run(block)


def test_a_python_block_that_fails_fails_its_page(tmp_path: Path) -> None:
    with page_runner(tmp_path) as runner, pytest.raises(AttributeError, match="Extrakt"):
        runner.run(_block("python", "import kimi_beam as kb\nkb.Extrakt\n"))
