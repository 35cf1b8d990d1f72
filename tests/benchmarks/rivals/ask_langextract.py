"""langextract in batch mode: OpenAI's Batch API, looked for each second; one example and its schema, no chunking."""

from __future__ import annotations

import langextract as lx
from job import CONCURRENCY, INSTRUCTIONS, MODEL, arguments, documents, report
from langextract.factory import ModelConfig

EXAMPLE = lx.data.ExampleData(
    text="INVOICE INV-9999999\nVendor: Foo Ltd, GB\nDate: 2025-01-02\nTotal: GBP 10.00, unpaid\n",
    extractions=[
        lx.data.Extraction(name, text, attributes={"currency": "GBP"})
        for name, text in {
            "number": "INV-9999999",
            "vendor": "Foo Ltd",
            "invoice_date": "2025-01-02",
            "total": "10.00",
        }.items()
    ],
)


def main() -> None:
    """Runs it."""
    args = arguments()
    given = documents(args.input)
    found = list(
        lx.extract(
            text_or_documents=[lx.data.Document(text=d["text"], document_id=d["id"]) for d in given],
            prompt_description=INSTRUCTIONS,
            examples=[EXAMPLE],
            config=ModelConfig(
                model_id=MODEL,
                provider="openai",
                provider_kwargs={
                    "api_key": "any",
                    "base_url": args.openai_url,
                    "max_workers": CONCURRENCY,
                    "batch": {"enabled": True, "threshold": 1, "poll_interval": 1},
                },
            ),
            max_workers=CONCURRENCY,
            batch_length=len(given),
            max_char_buffer=4_000,
            show_progress=False,
            use_schema_constraints=True,
        )
    )
    lx.io.save_annotated_documents(found, output_name="rows.jsonl", output_dir=str(args.directory), show_progress=False)
    report(given, (e.extraction_text for d in found for e in d.extractions if e.extraction_class == "number"))


main()
