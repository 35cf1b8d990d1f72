"""curator in batch mode: one batch of OpenAI's Batch API, looked for each second, in a cache directory that is new."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from job import MODEL, Invoice, arguments, documents, messages, report

args = arguments()
litellm = Path(importlib.util.find_spec("litellm").origin).parent
os.environ.update(
    CURATOR_CACHE_DIR=str(args.directory / "cache"),
    HF_DATASETS_CACHE=str(args.directory / "datasets"),
    HF_HUB_OFFLINE="1",
    CURATOR_VIEWER="0",
    TELEMETRY_ENABLED="false",
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    OPENAI_API_KEY="any",
    TIKTOKEN_CACHE_DIR=str(litellm / "litellm_core_utils" / "tokenizers"),  # else it is downloaded at each start
)

from bespokelabs import curator  # noqa: E402 - it reads the environment when it is imported


class Extractor(curator.LLM):
    """A row in, an invoice out."""

    response_format = Invoice

    def prompt(self, row: dict[str, str]) -> list[dict[str, str]]:
        """The chat for a row."""
        return messages(row["text"])

    def parse(self, row: dict[str, str], response: Invoice) -> list[dict[str, object]]:
        """The row that is kept."""
        return [response.model_dump()]


if __name__ == "__main__":
    given = documents(args.input)
    extractor = Extractor(
        model_name=MODEL,
        backend="openai",
        batch=True,
        backend_params={
            "base_url": args.openai_url,
            "batch_size": 10_000,
            "batch_check_interval": 1,
            "require_all_responses": False,
        },
    )
    found = extractor(given)
    dataset = getattr(found, "dataset", found)
    dataset.to_parquet(str(args.directory / "rows.parquet"))
    report(given, dataset["number"])
