"""`kimi-beam extract` and `redrive`: turns arguments into settings, runs the pipeline, and chooses the exit code."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from kimi_beam import emulator
from kimi_beam.commands import console, dry_run, run_redrive, search_path
from kimi_beam.commands.beam_options import take_options
from kimi_beam.commands.checked_inputs import checked_inputs
from kimi_beam.commands.early_end import ending_without_workers, interruptible
from kimi_beam.commands.own_reader import TO_MARKDOWN, reader_of
from kimi_beam.commands.plain_values import plain
from kimi_beam.commands.preflight import Checked, check_events, check_service
from kimi_beam.commands.prompt_files import examples_of, glossary_of, instructions_of
from kimi_beam.commands.reading_options import reading_of
from kimi_beam.commands.redact_option import functions_of, redactor_of
from kimi_beam.commands.report_files import write_files
from kimi_beam.commands.stdin import STDIN, from_stdin
from kimi_beam.commands.telling import Teller
from kimi_beam.commands.watching import mode_of, watched
from kimi_beam.errors import ConfigError, KimiBeamError, UserError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import output
from kimi_beam.input.fields import DEFAULT_READING
from kimi_beam.journal.records import Journaling
from kimi_beam.output.dataset import JOURNAL, check_output, files_of
from kimi_beam.output.parquet import first_rows
from kimi_beam.queue.event_inbox import Events
from kimi_beam.report.logging_reports import REPORTS
from kimi_beam.report.outcomes import StopAfter
from kimi_beam.report.progress import PROGRESS
from kimi_beam.report.progress_figures import dollars_of
from kimi_beam.request.guidance import Guidance
from kimi_beam.request.system_message import DEFAULT_INSTRUCTIONS
from kimi_beam.run import Run, RunSettings, check_stores
from kimi_beam.schema import OutputSchema
from kimi_beam.service.credentials import TOKEN_VARIABLE
from kimi_beam.service.gateway import GATEWAY_HOST, Gateway
from kimi_beam.service.models import DEFAULT_MODEL, MODELS
from kimi_beam.service.polling import Polling
from kimi_beam.service.prices import Price
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.transforms.settings import ExtractSettings


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The inputs and Beam's options, in the order of the command line.

    Returns:
        The exit code.
    """
    try:
        with contextlib.ExitStack() as stack:
            named = filter(None, (args.schema, getattr(args, "reader", None), *functions_of(args.redact)))
            stack.enter_context(search_path.for_references(*named))
            stack.enter_context(_rare_garbage_collection())
            inputs, options = take_options(rest, args.command)
            inputs = inputs or list(args.inputs)
            remote = _on_dataflow(options)
            progress = mode_of(args.progress, verbose=args.verbose)
            settings = _settings(args, inputs, stack, remote=remote)
            if args.dry_run:
                return dry_run.run(settings, options, as_json=args.json)
            check_stores(settings)
            settings = _after_preflight(settings, args, remote=remote)
            teller = Teller(args.otlp, args.command, settings.extract.service.model) if args.otlp else None
            summary = _run_pipeline(Run(settings, options), settings, args, progress, teller)
            page = _written_report(settings) if args.report else ()
    except UserError as e:
        return _fail(str(e), 2)
    except KimiBeamError as e:
        return _fail(console.without_place(str(e)), 1)
    except KeyboardInterrupt:
        return _fail("interrupted: nothing was sent", 130)
    except Exception as e:  # whatever a runner raises
        if args.verbose:
            raise
        return _fail(console.job_failed(e), 1)
    _report(args, summary, page)
    return _exit_code(args, summary)


def _run_pipeline(
    ready: Run, settings: RunSettings, args: argparse.Namespace, progress: str, teller: Teller | None
) -> dict[str, Any]:
    """Runs the pipeline and shows its progress. If it fails, says which files are kept.

    Returns:
        The content of ``summary.json``.
    """
    has_journal = settings.extract.journaling is not None
    if not has_journal and not ready.is_local:
        console.say("no journal: if a worker is lost, its requests are paid for again (--journal DIR)")
    # The reports are silenced, because they would repeat the lines of the progress.
    ends = interruptible(ready, args.output, journal=has_journal), ending_without_workers(ready)
    dollars = dollars_of(settings.extract.service.model, settings.price, emulated=settings.emulated)
    PROGRESS.begin()
    also = teller.look if teller and ready.is_in_process else lambda _: None
    shown = watched(progress, f"kimi-beam {args.command}", dollars, counted=ready.is_in_process, also=also)
    told = teller.run() if teller else contextlib.nullcontext(lambda _: None)
    with told as tell, shown, REPORTS.silenced(), ends[0], ends[1]:
        try:
            summary = ready.run()
            tell(summary)
            return summary
        except Exception:
            if ready.staged:
                console.say(f"files with finished rows are kept under temporary names: {', '.join(ready.staged)}")
            raise


def _exit_code(args: argparse.Namespace, summary: dict[str, Any]) -> int:
    """The exit code of a run that has ended: 3 if too many of its documents failed, or were not paid for, else 0."""
    documents, failed = summary["documents"], sum(summary["dead_letters"].values())
    if stopped := summary["dead_letters"].get("stopped"):
        message = f"{stopped} of {documents} documents were not sent, as too many failed (--stop-after)"
        return _fail(f"{message}; when that is mended: kimi-beam redrive {args.output}", 3)
    if unsent := summary["dead_letters"].get("budget"):
        message = (
            f"{unsent} of {documents} documents were not sent, as they might have cost more than --max-cost allows"
        )
        return _fail(f"{message}; with a higher one: kimi-beam redrive {args.output}", 3)
    if args.max_dead_letters is not None and _exceeds(failed, documents, args.max_dead_letters):
        return _fail(f"{failed} of {documents} documents are dead letters: past --max-dead-letters", 3)
    return 0


@contextlib.contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Makes Python's garbage collector run less often, because it took a fifth of the CPU of a long run (measured)."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _on_dataflow(options: Sequence[str]) -> bool:
    return "dataflow" in str(PipelineOptions(list(options)).get_all_options().get("runner") or "").lower()


def _after_preflight(settings: RunSettings, args: argparse.Namespace, *, remote: bool) -> RunSettings:
    """Asks the service and returns the settings for the run, which may use another API or turn out to be emulated.

    Raises:
        ConfigError: See `_preflight`.
    """
    checked = _preflight(settings, ask=not args.no_preflight, remote=remote)
    if checked.emulated and not args.emulator:
        console.say(f"the emulator answers at {checked.service.root}: this is not Kimi, and nothing is paid for")
    if checked.doubt:
        console.say(f"{checked.doubt}; going on")
    # Only jobs of the batch queue have events.
    events = settings.extract.events if checked.service.api == "batch" else None
    extract = replace(settings.extract, service=checked.service, events=events)
    return replace(settings, extract=extract, emulated=args.emulator or checked.emulated)


def _preflight(settings: RunSettings, *, ask: bool, remote: bool) -> Checked:
    """Checks before anything is sent that the token can be read, and that the service and the queue of events take it.

    Raises:
        ConfigError: A token cannot be read, or the service turns it away, or events cannot be pulled.
    """
    service, events = settings.extract.service, settings.extract.events
    try:
        service.authorization()
    except ConfigError as e:
        if not remote:
            raise
        return Checked(service, f"{e} on this machine; the workers read it for themselves")
    if not ask:
        return Checked(service)
    checked = check_service(service)
    if events is None or checked.service.api != "batch":
        return checked
    doubts = [checked.doubt, check_events(checked.service, events)]
    return replace(checked, doubt="; ".join(doubt for doubt in doubts if doubt))


def _written_report(settings: RunSettings) -> tuple[str, ...]:
    """Writes the report of the run, whose files are complete whether that succeeds or not."""
    try:
        return write_files(settings.output, reading=settings.reading)
    except (KimiBeamError, OSError) as e:
        message = " ".join(str(e).split())[:300]
        console.say(f"the run is complete, its report is not written: {message}; kimi-beam report {settings.output}")
        return ()


_PAST_A_BOUND = 3


def _report(args: argparse.Namespace, summary: dict[str, Any], page: tuple[str, ...]) -> None:
    if args.json:
        rows = first_rows(files_of(args.output, "extractions"), args.preview) if args.preview else []
        console.put_object(summary=summary, rows=plain(rows))
        return
    files = [path for kind in ("extractions", "dead-letters", "summary") for path in files_of(args.output, kind)]
    console.print_summary(summary, [*files, *page])
    if args.preview:
        console.print_rows(first_rows(files_of(args.output, "extractions"), args.preview))


def _fail(message: str, code: int) -> int:
    # Past a bound, which is no error: the summary says it.
    console.say(message) if code == _PAST_A_BOUND else console.ended(message)
    return code


def _exceeds(failed: int, documents: int, bound: tuple[float, bool]) -> bool:
    number, percent = bound
    return failed * 100 > number * documents if percent else failed > number


def _settings(
    args: argparse.Namespace, inputs: Sequence[str], stack: contextlib.ExitStack, *, remote: bool
) -> RunSettings:
    """Turns arguments into settings. All mistakes that can be found without asking the service are found here."""
    if remote and args.emulator:
        raise ConfigError("--emulator runs on this machine: the workers of Dataflow cannot reach it")
    if not inputs:
        raise ConfigError(f"no input: name at least one path or glob (kimi-beam {args.command} --help)")
    schema = OutputSchema(args.schema, closed=args.closed, formats=args.formats)
    for doubt in schema.doubts:
        console.say(f"the schema: {doubt}")
    service = functools.cache(lambda: service_of(args, stack))
    reading = DEFAULT_READING
    if args.command == "extract":
        if args.redact and args.reader == TO_MARKDOWN:
            raise ConfigError(f"--redact: --reader {TO_MARKDOWN} sends whole files before anything is redacted")
        reading = replace(reading_of(args), reader=reader_of(args.reader, service))
        if args.dry_run and args.reader == TO_MARKDOWN:
            console.say(f"--reader {TO_MARKDOWN} would send files: they are read on this machine for the estimate")
            reading = replace(reading, reader=None)
        if STDIN in inputs and remote:
            raise ConfigError(
                "standard input is this machine's: the workers of Dataflow need a file that they can reach"
            )
        inputs = checked_inputs([from_stdin(stack) if name == STDIN else name for name in inputs], reading)
        if not remote:
            reading.options()  # a password that cannot be read is the user's mistake
    if not args.dry_run:  # which may look at the run of an earlier day, and writes nothing
        check_output(args.output, overwrite=args.overwrite)
    first, ceiling = args.poll_interval
    price = Price(*args.price) if args.price else None
    extract = ExtractSettings(
        schema=schema,
        service=service(),
        instructions=instructions_of(args.instructions) if args.instructions else DEFAULT_INSTRUCTIONS,
        prompt_metadata=tuple(args.prompt_metadata),
        guidance=Guidance.of(
            examples_of(args.examples) if args.examples else (),
            glossary_of(args.glossary) if args.glossary else None,
            args.language,
        ),
        redactor=redactor_of(args.redact, args.redact_images, keeps_originals=args.keep_originals),
        polling=Polling(
            first=first,
            ceiling=ceiling,
            deadline=args.deadline,
            on_deadline=args.on_deadline,
            on_mismatch=args.on_mismatch,
        ),
        max_in_flight=args.max_in_flight,
        max_concurrency=args.max_concurrency,
        max_completion_tokens=args.max_completion_tokens,
        structured_output=args.structured_output,
        thinking=args.thinking,
        journaling=_journaling(args),
        events=Events(args.events_queue) if args.events_queue is not None else None,
        record_batches=True,
        max_submits_at_once=args.max_submits_at_once,
        stop_after=StopAfter(*args.stop_after) if args.stop_after is not None else None,
        chunk_tokens=args.chunk_tokens,
        coerce=args.coerce,
        ground=args.ground,
        require_grounding=tuple(args.require_grounding),
        repairs=args.repairs,
        max_cost=args.max_cost,
        price=price,
        samples=args.samples,
    )
    settings = RunSettings(
        inputs=inputs,
        output=args.output,
        extract=extract,
        reading=reading,
        limit=args.limit,
        overwrite=args.overwrite,
        price=price,
        journal_ttl=args.journal_ttl,
    )
    if args.command == "redrive":
        settings = run_redrive.as_redrive(settings, args, stack, remote=remote)
    if remote:
        settings.extract.service.check_remote("Dataflow")
    return settings


def service_of(args: argparse.Namespace, stack: contextlib.ExitStack) -> WorkersAI:
    """The service that the arguments name. An emulator of the run's own is started, and ends with `stack`.

    Raises:
        ConfigError: They name none, or contradict each other.
    """
    base_url = args.base_url
    if args.openai_url and args.api in ("batch", "run"):
        raise ConfigError(f"--openai-url: such a server has the chat API alone, not {args.api}")
    if args.openai_url and not args.model:
        raise ConfigError("--openai-url: name the model that the server serves (--model)")
    if args.emulator and not args.dry_run:
        behaviour = emulator.Behaviour(event_queues=(args.events_queue,) if args.events_queue else ())
        try:
            base_url = stack.enter_context(emulator.Emulator(behaviour=behaviour)).base_url
        except emulator.NotInstalledError as e:
            raise ConfigError(f"--emulator: {e}") from None
        console.say(f"a rule-based stand-in answers at {base_url}: this is not Kimi, and nothing is paid for")
    model = MODELS.get(args.model or DEFAULT_MODEL)
    if model is not None and model.is_deprecated:
        console.say(f"{model.id} is {model.note}")
    return WorkersAI.from_env(
        model=args.model or DEFAULT_MODEL,
        account_id=args.account_id,
        token_from=args.token_from or f"env:{TOKEN_VARIABLE}",
        base_url=base_url,
        api=args.api or "batch",
        openai_url=args.openai_url,
        gateway=_gateway(args),
        requests_per_minute=args.requests_per_minute,
        fallback_api=args.fallback_api,
        sends=not args.dry_run,
    )


def _journaling(args: argparse.Namespace) -> Journaling | None:
    # A run with an emulator of its own keeps no journal unless one is named, because the answers are worth nothing.
    if args.no_journal or (args.emulator and args.journal is None):
        if args.journal_ttl is not None or args.on_unknown_submit == "dead-letter":
            raise ConfigError("--journal-ttl and --on-unknown-submit need a journal: name it by --journal DIR")
        return None
    where = FileSystems.join(output(args.output), JOURNAL) if args.journal is None else args.journal
    return Journaling(output(where), args.on_unknown_submit)


def _gateway(args: argparse.Namespace) -> Gateway | None:
    if args.gateway is None:
        gateway_options = [value for name, value in vars(args).items() if name.startswith("gateway_")]
        if any(value is not None and value is not False for value in gateway_options):
            raise ConfigError("--gateway-…: name the gateway itself too (--gateway ID)")
        return None
    return Gateway(
        args.gateway,
        in_url=args.gateway_url is not None,
        host=args.gateway_url or GATEWAY_HOST,
        metadata=args.gateway_metadata or {},
        cache_ttl=args.gateway_cache_ttl,
        skip_cache=args.gateway_skip_cache,
        token_from=args.gateway_token_from,
    )
