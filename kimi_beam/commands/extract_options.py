"""The options of `kimi-beam extract` and `redrive`, in the groups in which ``--help`` shows them."""

from __future__ import annotations

import argparse

from kimi_beam.commands import option_values
from kimi_beam.commands.reading_options import add_reading_options


def add_extract_options(parser: argparse.ArgumentParser, *, reads_documents: bool) -> None:
    """Declares the options of `extract` or `redrive`.

    Args:
        parser: The parser of the command.
        reads_documents: Whether the command's input is documents. If not, it is dead letters.
    """
    parser.set_defaults(inputs=())  # kimi-beam.toml may name some
    add = parser.add_argument_group("input and output").add_argument
    file = "the file with options (default: kimi-beam.toml in this directory, where there is one)"
    add("--config", metavar="FILE.toml", help=file)
    add("--schema", required=True, metavar="FILE|module:Class", help="JSON Schema file, or a pydantic model")
    add("--output", required=True, metavar="DIR", help="directory for the result, on any filesystem that Beam knows")
    add("--overwrite", action="store_true", help="replace the finished run in DIR; the journal stays")
    add("--limit", type=option_values.count, metavar="N", help="read only the first N documents")
    add("--preview", type=option_values.count, default=0, metavar="N", help="print the first N rows as well")
    add("--report", action="store_true", help="write report.html and report.json as well (kimi-beam report)")
    shown = (
        "how far it is, on stderr: auto (default) is a panel in a terminal if Rich is installed (kimi-beam[terminal]), "
        "else lines; json: one object a line"
    )
    add("--progress", choices=("auto", "panel", "lines", "json", "none"), default="auto", help=shown)
    collector = (
        "send counters and spans to a collector of OpenTelemetry, such as http://localhost:4318 (kimi-beam[otel])"
    )
    add("--otlp", metavar="URL", help=collector)
    add("--verbose", action="store_true", help="show the workers' own logs and tracebacks")
    if reads_documents:
        add_reading_options(parser.add_argument_group("how documents are read"))
    _add_answer_options(parser.add_argument_group("what is asked"))
    _add_failure_options(parser.add_argument_group("documents that fail"))
    _add_journal_options(parser.add_argument_group("what was paid for"))
    _add_service_options(parser.add_argument_group("the service"))
    _add_pace_options(parser.add_argument_group("how fast, and how long"))
    _add_gateway_options(parser.add_argument_group("AI Gateway"))


def add_dry_run_options(parser: argparse.ArgumentParser) -> None:
    """Declares the options that turn a run into an estimate of it, which no file of options has.

    Args:
        parser: The parser of the command.
    """
    add = parser.add_argument_group("before a run").add_argument
    dry = "say what the run would ask, cost and write, and send nothing; needs no token"
    add("--dry-run", action="store_true", help=dry)
    add("--json", action="store_true", help="print the summary, or the estimate of --dry-run, as one JSON object")


def _add_failure_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    bound = "exit with code 3 when more documents failed than N, or than P%% of all; everything is written all the same"
    add("--max-dead-letters", type=option_values.bound, metavar="N|P%", help=bound)
    early = (
        "send nothing more once N documents have failed, or P%% of the first 200 or more: the others become stopped "
        "dead letters, which redrive takes, and the exit code is 3; counted by each worker process for itself. "
        "Documents that could not be read or sent do not count, as they cost nothing: --max-dead-letters counts them"
    )
    add("--stop-after", type=option_values.bound, metavar="N|P%", help=early)


def _add_journal_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    kept = group.add_mutually_exclusive_group()
    where = "where answers are kept, so that none is paid for again (default: OUTPUT/_journal; none with --emulator)"
    kept.add_argument("--journal", metavar="DIR", help=where)
    kept.add_argument("--no-journal", action="store_true", help="keep no answers: a repeated run pays for all again")
    age = "forget answers that are older, such as 30d, before the run begins (default: keep all)"
    add("--journal-ttl", type=option_values.age, metavar="N[smhd]", help=age)
    doubt = "documents whose submit got no reply, so that the service may have accepted it: submit them again "
    doubt += "(default; they may be billed twice), or make them dead letters"
    cap = (
        "spend no more than so many dollars: what a request may cost at most is reserved before it is sent, and what "
        "all runs with this journal have spent counts; the other documents become budget dead letters, which redrive "
        "takes with a higher one, and the exit code is 3"
    )
    add("--max-cost", type=option_values.budget, metavar="USD", help=cap)
    add("--on-unknown-submit", choices=("resubmit", "dead-letter"), default="resubmit", help=doubt)


def _add_service_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", metavar="ID", help="model id (default: @cf/moonshotai/kimi-k2.6; see: kimi-beam models)")
    how = "batch: the queue (default); run: one request at a time; chat: the same by OpenAI's protocol"
    add("--api", choices=("batch", "run", "chat"), help=how)
    where = group.add_mutually_exclusive_group()
    where.add_argument("--emulator", action="store_true", help="start a stand-in for the service: free, and not Kimi")
    where.add_argument("--base-url", metavar="URL", help="another service: its root before /accounts/…")
    openai = "another server that speaks OpenAI's protocol: its root before /chat/completions"
    where.add_argument("--openai-url", metavar="URL", help=openai)
    add("--account-id", metavar="ID", help="Cloudflare's account id (default: CLOUDFLARE_ACCOUNT_ID)")
    place = "where the workers find the token: env:NAME, file:PATH or gcp-secret:projects/P/secrets/S/versions/N "
    place += "(default: env:CLOUDFLARE_API_TOKEN)"
    add("--token-from", metavar="PLACE", help=place)
    instead = "ask synchronously where the model has no batch queue, or its queue refuses a document with pictures"
    add("--fallback-api", choices=("run",), help=instead)
    add("--no-preflight", action="store_true", help="do not ask the service first whether it takes token and model")
    add(
        "--price",
        type=option_values.dollars,
        metavar="PROMPT:CACHED:COMPLETION",
        help="dollars a million tokens, for the summary and --max-cost",
    )


def _add_pace_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    pace = (
        "synchronous requests, or submits, a minute of the whole job; 0: no limit "
        "(default: on Cloudflare's hosts 20, of the queue 100; elsewhere none)"
    )
    add("--requests-per-minute", type=option_values.count, metavar="N", help=pace)
    add(
        "--max-concurrency",
        type=option_values.at_least_one,
        default=64,
        metavar="N",
        help="synchronous requests at once (64)",
    )
    in_flight = "jobs of the queue at once, a shard (128)"
    at_once = "submits at once, a worker process (8); if it is killed, so many batches may be paid for twice"
    add("--max-submits-at-once", type=option_values.at_least_one, default=8, metavar="N", help=at_once)
    add("--max-in-flight", type=option_values.at_least_one, default=128, metavar="N", help=in_flight)
    polls = "seconds between polls of a job (default: 1:60)"
    add("--poll-interval", type=option_values.interval, default=(1.0, 60.0), metavar="MIN:MAX", help=polls)
    queue = "Cloudflare Queue that gets the model's batch events, so that answers are fetched as soon as they are ready"
    add("--events-queue", metavar="QUEUE_ID", help=queue)
    deadline = "seconds after which a job, or a synchronous answer, is given up (default: 86400)"
    add("--deadline", type=option_values.positive, default=86_400.0, metavar="SECONDS", help=deadline)
    late = "a job that is not done by the deadline: give it up (default), or submit it again, once; both may be billed"
    add("--on-deadline", choices=("resubmit", "dead-letter"), default="dead-letter", help=late)
    doubted = (
        "an answer of the queue with one document's reference and another's index: the reference decides (keep, the "
        "default), or the document is a malformed_item dead letter; both are counted"
    )
    add("--on-mismatch", choices=("keep", "dead-letter"), default="keep", help=doubted)


def _add_gateway_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--gateway", metavar="ID", help="AI Gateway of the account that everything goes through")
    older = "root of the gateway's own URL, its older form (https://gateway.ai.cloudflare.com/v1)"
    add("--gateway-url", metavar="URL", help=older)
    add(
        "--gateway-metadata",
        type=option_values.pairs,
        metavar="KEY=VALUE,…",
        help="metadata for the gateway's log; at most 5 keys",
    )
    add(
        "--gateway-cache-ttl",
        type=option_values.count,
        metavar="SECONDS",
        help="how long equal synchronous requests are cached",
    )
    add("--gateway-skip-cache", action="store_true", help="keep synchronous requests from the gateway's cache")
    add("--gateway-token-from", metavar="env:NAME|file:PATH", help="where the token of an authenticated gateway is")


def _add_answer_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--instructions", metavar="TEXT|@FILE", help="what to tell the model (@FILE: read it from a file)")
    seen = "keys of metadata that are shown to the model (default: none)"
    add("--prompt-metadata", type=option_values.keys, default=[], metavar="KEY,…", help=seen)
    shown = "JSON lines with a text and its right answer each, which the model is shown before every document"
    add("--examples", metavar="FILE.jsonl", help=shown)
    add("--glossary", metavar="FILE.json", help="a JSON object with the meaning of each term, which the model is told")
    spoken = "the documents' language, such as German or de-CH (default: nothing is said of it)"
    add("--language", metavar="LANGUAGE", help=spoken)
    hidden = (
        "replace such values in what is sent, and put them back into the rows: iban, card, email, phone (phone:DE: in "
        "national form too), or a function of a text that gives (start, end, kind)"
    )
    add("--redact", type=option_values.keys, default=[], metavar="RULE|module:function,…", help=hidden)
    pictures = "documents with pictures, which cannot be redacted, with --redact: dead letters (default), or sent"
    add("--redact-images", choices=("refuse", "allow"), help=pictures)
    kept = "dead letters hold redacted documents as they came in, for a redrive (default: without the values)"
    add("--keep-originals", action="store_true", help=kept)
    closed = (
        "make answers with keys that the schema does not name dead letters (default: keep such keys in _additional)"
    )
    add("--closed", action="store_true", help=closed)
    formats = (
        "whether format asserts: strict (default), by which date-times and times need an offset; local: they may lack "
        "one, and their columns are local; off"
    )
    add("--formats", type=option_values.formats, default=True, metavar="strict|local|off", help=formats)
    form = (
        "how the schema is sent: in OpenAI's response_format (default), bare, in the prompt, or as a forced tool call"
    )
    add("--structured-output", choices=("schema", "bare", "prompt", "tool"), default="schema", help=form)
    add("--thinking", action="store_true", help="let the model think first; its thoughts are billed as answer tokens")
    bound = "the most tokens of an answer (default: estimated from the schema)"
    add("--max-completion-tokens", type=option_values.at_least_one, metavar="N", help=bound)
    coerce = "change values of invalid answers to what the schema wants, where there is one way only (docs: repairs)"
    add("--coerce", action="store_true", help=coerce)
    repairs = "ask so many times again where an answer is refused, with what is wrong with it (1); each time is billed"
    add("--repairs", type=option_values.count, default=1, metavar="N", help=repairs)
    samples = "ask for N answers for each document, vote on each value, and say where they differ (1); each is billed"
    add("--samples", type=option_values.at_least_one, default=1, metavar="N", help=samples)
    chunk = "ask for longer documents in parts of so many tokens and merge the answers (default: only if they must be)"
    add("--chunk-tokens", type=option_values.at_least_one, metavar="N", help=chunk)
    ground = "say in a column of each row, _grounding, where its values stand in the document"
    add("--ground", action="store_true", help=ground)
    demanded = (
        "fields whose values have to stand in the document, or all: a document with one that does not is an ungrounded "
        "dead letter; with :null behind the field, such as total:null, the value becomes null instead (sets --ground)"
    )
    add("--require-grounding", type=option_values.keys, default=[], metavar="FIELD,…|all", help=demanded)
