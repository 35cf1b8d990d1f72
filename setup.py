"""What kimi_beam is and needs. Also what Dataflow's ``--setup_file`` takes to build the package for its workers."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_EMULATOR = ["starlette>=0.41", "uvicorn>=0.34"]
_DOCUMENTS = ["lxml>=5.3", "Pillow>=12.1.1", "python-calamine>=0.3", "python-oxmsg>=0.0.2", "selectolax>=0.3.27"]
_COMPLETION = ["shtab>=1.13"]  # MPL-2.0: used by the one command that prints a script
_DOCS = ["furo>=2024.8.6", "myst-parser>=4.0.1", "sphinx>=8.1.3"]
_OTEL = ["opentelemetry-exporter-otlp-proto-http>=1.44.0,<2", "opentelemetry-sdk>=1.44.0,<2"]
_REDACTION = ["phonenumbers>=8.13"]
_TERMINAL = ["rich>=13.7"]
HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "kimi_beam" / "__init__.py").read_text(encoding="utf-8"), re.M)
assert VERSION, "kimi_beam/__init__.py names no version"
setup(
    name="kimi-beam",
    version=VERSION[1],
    description="Structured extraction at scale: an Apache Beam plugin for Kimi on Cloudflare Workers AI.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["kimi_beam", "kimi_beam.*"]),
    package_data={"kimi_beam": ["py.typed"], "kimi_beam.output.page": ["assets/*"]},
    install_requires=[
        "aiohttp>=3.11,<4",
        "apache-beam>=2.77,<3",
        "certifi>=2024.2.2",
        "httpx>=0.28,<1",
        "httpx-aiohttp>=0.2,<1",
        "jsonschema>=4.23,<5",
        "jsonschema-rs>=0.60,<1",
        "jsonschema-specifications>=2023.12.1",
        "msgspec>=0.19",
        "numpy>=1.26",
        "orjson>=3.10.4,<4",
        "pyarrow>=19",
        "pydantic>=2.10,<3",
        "pypdfium2>=5,<6",
        "referencing>=0.35",
        "tomli>=2.0.1; python_version < '3.11'",
        "typing-extensions>=4.12.2",
    ],
    extras_require={
        "aws": ["boto3>=1.35,<2"],
        "browser": ["axe-playwright-python>=0.1.4", "playwright>=1.49"],  # tests of the report's page, in Chromium
        "completion": _COMPLETION,
        "azure": ["apache-beam[azure]"],
        "emulator": _EMULATOR,  # the web server of the stand-in: no worker needs one
        "gcp": ["apache-beam[gcp]"],
        "docs": _DOCS,
        "documents": _DOCUMENTS,  # office files, HTML, mails, and pictures that are made or converted
        "heic": ["pillow-heif>=0.20"],
        "redaction": _REDACTION,  # the rule for phone numbers
        "otel": _OTEL,  # what sends counters and spans to a collector
        "terminal": _TERMINAL,  # the panel that shows a run
        "dev": [
            *_COMPLETION,
            *_DOCS,
            *_DOCUMENTS,
            *_EMULATOR,
            *_OTEL,
            *_REDACTION,
            *_TERMINAL,
            "apache-beam[gcp]",  # Dataflow's own translation
            "boto3>=1.35,<2",
            "bpe-openai>=0.1.3",  # counts tokens as GPT does: the table of character classes is fitted and tested by it
            "cloudflare>=5.9",
            "coverage[toml]>=7.6",
            "duckdb>=1.1",
            "flask>=3",
            "flask-cors>=5",
            "gcp-storage-emulator>=2026.7",
            "hypothesis>=6.120",
            "import-linter>=2.1",
            "moto[s3]>=5.1",  # with Flask, a server that speaks S3
            "mypy>=1.13",
            "odfpy>=1.4.1",
            "openai>=3.54",
            "openpyxl>=3.1",  # these write the office files and PDFs that tests read
            "pandas>=2.2",
            "pillow-heif>=0.20",
            "polars>=1.12",
            "pyarrow-stubs>=17",
            "pypdf>=6",
            "pyte>=0.8.2",  # a terminal, to see what is on its screen
            "pytest>=8.3",
            "pytest-xdist>=3.6.1",
            "python-docx>=1.1",
            "python-pptx>=1.0",
            "reportlab>=4.2",
            "ruff>=0.9",
            "trustme>=1.2",
        ],
    },
    entry_points={"console_scripts": ["kimi-beam = kimi_beam.cli:program"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3 :: Only",
        "Typing :: Typed",
    ],
)
