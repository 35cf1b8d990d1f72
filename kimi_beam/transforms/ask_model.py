"""The step of `Extract` that asks the model: through the queue, or by a synchronous request for each document."""

from __future__ import annotations

import apache_beam as beam

from kimi_beam.beam_extensions.reply_coder import Replies
from kimi_beam.beam_extensions.timer_names import with_own_timers
from kimi_beam.errors import ConfigError
from kimi_beam.report.outcomes import OutcomesHandle
from kimi_beam.transforms.dispatch import DispatchAtOnce, DispatchBounded, DispatchUnbounded
from kimi_beam.transforms.request import Request, RequestWithShare, Separate, SeparateWithShard, Values
from kimi_beam.transforms.runner_traits import keeps_state
from kimi_beam.transforms.settings import ExtractSettings


def ask_model(
    batches: beam.PCollection, settings: ExtractSettings, outcomes_handle: OutcomesHandle, rate_shares: int
) -> beam.PCollection:
    """Adds the step that asks the model.

    Args:
        batches: ``(shard, batch)``, as `MakeBatches` gives them.
        settings: The settings of the `Extract`.
        outcomes_handle: What the steps of one process know of its documents' outcomes.
        rate_shares: By how many the service's limit of requests a minute is divided, because so many may ask at once.

    Returns:
        ``PCollection[Replies]``.
    """
    if settings.service.api != "batch":
        return _request(batches, settings, outcomes_handle, rate_shares)
    step = label_of_extract(batches)
    if not batches.is_bounded:
        dispatch = with_own_timers(DispatchUnbounded, step)(settings, outcomes_handle, rate_shares)
        return batches | "Dispatch" >> _giving_replies(dispatch)
    if not keeps_state(batches.pipeline):
        at_once = DispatchAtOnce(settings, outcomes_handle, rate_shares)
        return batches | beam.GroupByKey() | "Dispatch" >> _giving_replies(at_once)
    bounded = with_own_timers(DispatchBounded, step)(settings, outcomes_handle, rate_shares)
    return batches | "Dispatch" >> _giving_replies(bounded)


def _request(
    batches: beam.PCollection, settings: ExtractSettings, outcomes_handle: OutcomesHandle, rate_shares: int
) -> beam.PCollection:
    """Adds the step for a synchronous API. It needs no state: a bundle ends when its requests are answered."""
    has_shares = settings.max_cost is not None and rate_shares > 1
    request = (RequestWithShare if has_shares else Request)(
        settings, outcomes_handle, rate_shares, bounded=batches.is_bounded
    )
    if has_shares and not batches.is_bounded:
        raise ConfigError(
            "Extract: max_cost by a synchronous API is for bounded input or for one process: several workers of a "
            "stream have no shares of a budget that each of them could keep to; the queue has (api='batch')"
        )
    if not batches.is_bounded:
        return batches | Values() | "Request" >> _giving_replies(request)
    # Documents with the same id are in the same shard. After they are compared, batches are reshuffled so that any
    # free worker can take one.
    grouped = batches | beam.GroupByKey()
    if has_shares:  # a shard's batches stay together, because one worker at a time may draw on its share
        keyed = grouped | "Separate" >> beam.ParDo(SeparateWithShard()).with_output_types(tuple[str, bytes])
        return keyed | "Request" >> _giving_replies(request)
    sendable = grouped | "Separate" >> beam.ParDo(Separate()).with_output_types(bytes)
    # The type is set on the input of the reshuffle: Flink reads its output by the coder that wrote its input.
    sendable.element_type = bytes
    # Failed documents go the same way: a Flatten would end the stage, and all answers would be pickled on the way.
    return sendable | beam.Reshuffle() | "Request" >> _giving_replies(request)


def label_of_extract(batches: beam.PCollection) -> str:
    """The full label of this `Extract` in the user's pipeline, such as ``Invoices/Extract``."""
    label: str = batches.producer.full_label
    return label.rpartition("/MakeBatches")[0]


def _giving_replies(do: beam.DoFn) -> beam.ParDo:
    return beam.ParDo(do).with_output_types(Replies)
