"""The form in which a server of OpenAI's protocol accepts requests for JSON, found out once in each process.

Some servers support ``json_schema``, others only ``json_object``, with or without a schema in it, and others neither.
None says so before it is asked. A refusal costs nothing, so the forms are tried in the order of `Prompt.forms`, the
strictest first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from kimi_beam.report.progress import PROGRESS
from kimi_beam.request.answer_forms import FORM_NAMES
from kimi_beam.request.prompt import Prompt
from kimi_beam.service.per_process import PerProcess
from kimi_beam.synchronous.after_reply import AskAgain, Call, Halt, Settle
from kimi_beam.types.failure import Failure
from kimi_beam.wire.completions import Answered, RunResult
from kimi_beam.wire.envelopes import Exchange, HttpReply, Refused, bare_error
from kimi_beam.wire.form_refusals import RefusedRequest, refused_field, refused_request
from kimi_beam.wire.service_errors import ServiceError

_LOG = logging.getLogger(__name__)


_ENOUGH = 3
"""After so many documents that were refused in each form without a reason, the server is to blame and not the
documents, unless one of the documents in flight is answered: a refusal comes at once, while an answer takes seconds."""

_SETTINGS = {
    "temperature": "--thinking (thinking=True in code) leaves it out",
    "chat_template_kwargs": "--thinking (thinking=True in code) leaves it out",
    "max_completion_tokens": "--max-completion-tokens (max_completion_tokens in code) sets its value",
    "max_tokens": "--max-completion-tokens (max_completion_tokens in code) sets its value",
    "stream": "--structured-output schema (structured_output in code) does not stream",
    "stream_options": "--structured-output schema (structured_output in code) does not stream",
}
"""The setting that changes a field which is the same in every request."""


@dataclass
class ServerForm:
    """What this process knows of the forms that a server accepts. Used on one event loop.

    Attributes:
        server: The root of its URL, for messages.
        prompt: The prompt, with the forms.
        form: The index in `Prompt.forms` of the form that a new document is asked in.
        is_answered: Whether the server has answered a request of that form. From then on a refusal concerns one
            document, and the others keep the form.
    """

    server: str
    prompt: Prompt
    form: int = 0
    is_answered: bool = False
    _refusal: str = field(default="", repr=False)
    _refused_in_each: int = field(default=0, repr=False)
    """Documents that were refused in each form, or for a field of every request, while none was answered."""

    def applied(self, call: Call) -> Call:
        """The call with a form that is not known to be refused."""
        return replace(call, form=self.form) if call.form < self.form else call

    def answered(self, form: int) -> None:
        """Records that the server has answered a request of this form."""
        if not self.is_answered and form > self.form:
            self._move(form)
        elif form < self.form:
            # The answer took longer than the refusal of another document did: the stricter form works after all.
            self.form = form
        self.is_answered = True

    def next_step(
        self, call: Call, exchange: Exchange, result: RunResult, now: float, *, halts: bool
    ) -> AskAgain | Settle | Halt | None:
        """What to do if the server refuses a request as it is; None if it does not.

        Args:
            call: The state of the document.
            exchange: The reply.
            result: The same, decoded.
            now: Unix seconds.
            halts: See `refused`.
        """
        if isinstance(result, Answered):
            self.answered(call.form)
            return None
        if not isinstance(exchange, HttpReply) or not (isinstance(result, Refused) or exchange.status >= 400):
            return None
        error = result.error if isinstance(result, Refused) else bare_error(exchange, now)
        if error.code is not None or error.is_redirect:
            return None  # the code says what to do, or the URL is wrong
        why = refused_request(exchange, error.status, has_tool=self.prompt.answer_tool is not None)
        if why is None:
            return None
        return self.refused(call, error, why, halts=halts, field=refused_field(exchange))

    def refused(
        self, call: Call, error: ServiceError, why: RefusedRequest, *, halts: bool, field: str | None = None
    ) -> AskAgain | Settle | Halt:
        """Decides what to do after the server has refused a request as it is.

        Args:
            call: The state of the document.
            error: The server's error.
            why: What the server objects to, as far as it says so.
            halts: Whether a server that accepts none of the forms ends the run; otherwise each document is given up.
            field: The field of every request that the server does not accept, if `why` is `RefusedRequest.FIELD`.
        """
        self._refusal = str(error)
        message = f"the server refused the request: {error}"
        following = max(call.form + 1, self.form)
        is_first = call.form == self.form and not self.is_answered
        call = replace(call, attempts=call.attempts + 1)
        may_be_the_form = why is RefusedRequest.FORM or (
            why is RefusedRequest.UNSPECIFIED and (is_first or call.form < self.form or call.form > self.form)
        )
        if may_be_the_form and following < call.forms:
            if why is RefusedRequest.FORM and is_first:
                self._move(following)
            return AskAgain(replace(call, form=following), 0.0, message)
        is_field = why is RefusedRequest.FIELD and not self.is_answered
        self._refused_in_each += is_field or (may_be_the_form and not self.is_answered)
        problem = (
            "it refuses each way of asking for JSON that was tried; name another by --structured-output "
            f"(structured_output in code): {error.message}"
        )
        if is_field:
            problem = f"it does not take {field} as it is sent; {_SETTINGS[field or '']}: {error.message}"
            message = f"the server refused the request: {problem}"
        own = Failure("submit", "refused", message, retryable=error.status >= 500)
        if not self.is_answered and (why is RefusedRequest.FORM or self._refused_in_each >= _ENOUGH):
            if halts:
                otherwise = None if why is RefusedRequest.FORM else own
                return Halt(call, replace(error, message=problem), is_certain=True, unless_answered=otherwise)
            own = replace(own, message=f"the server takes no request: {problem}")
        # A 5xx may also be trouble that passes, so such a failure is retryable.
        return Settle(call, own)

    def _move(self, form: int) -> None:
        before, now = (FORM_NAMES[self.prompt.forms[number]] for number in (self.form, form))
        self.form = form
        message = f"{self.server} refuses {before} ({self._refusal}): it is asked by {now} from now on"
        _LOG.warning("%s", message)
        PROGRESS.add_notice(f"{message}; --structured-output chooses how")


_forms = PerProcess[ServerForm]()


def server_form_of(server: str, prompt: Prompt) -> ServerForm:
    """What this process knows of a server and a prompt: a server may accept one schema and refuse another."""
    return _forms.get((server, prompt.identity), lambda: ServerForm(server, prompt))


def forget_server_forms() -> None:
    """Lets the next pipeline of this process find out anew: the server may have been restarted with other settings."""
    _forms.forget_all()
