"""Which way of asking for JSON a server of OpenAI's protocol takes: found out once, and kept for the process.

Some know ``json_schema``, others ``json_object`` alone, with or without a schema in it, others neither; none says so
before it is asked. A refusal costs nothing, so the ways are tried in the order of `Prompt.forms`, the strictest first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from kimi_beam.report.progress import PROGRESS
from kimi_beam.request.prompt import FORM_NAMES, Prompt
from kimi_beam.service.per_process import PerProcess
from kimi_beam.synchronous.after_reply import AskAgain, Call, Halt, Settle
from kimi_beam.types import Failure
from kimi_beam.wire.form_refusals import RefusedRequest
from kimi_beam.wire.service_errors import ServiceError

_LOG = logging.getLogger(__name__)


_ENOUGH = 3
"""Documents refused in each form, without a word of why, after which it is no document's fault; unless one of those
that are in flight is answered yet: a refusal comes at once, and an answer takes seconds."""

_SETTINGS = {
    "temperature": "--thinking (thinking=True in code) leaves it out",
    "chat_template_kwargs": "--thinking (thinking=True in code) leaves it out",
    "max_completion_tokens": "--max-completion-tokens (max_completion_tokens in code) sets its value",
    "max_tokens": "--max-completion-tokens (max_completion_tokens in code) sets its value",
    "stream": "--structured-output schema (structured_output in code) does not stream",
    "stream_options": "--structured-output schema (structured_output in code) does not stream",
}
"""Which setting changes a field that is the same in every request."""


@dataclass
class AskedForm:
    """The way in which a server is asked, as far as this process knows what it takes. Used on one event loop.

    Attributes:
        server: The root of its URL, for messages.
        prompt: What is asked.
        form: Which of `Prompt.forms` comes next for a new document.
        is_answered: Whether the server has answered a request of that form: from then on a refusal concerns one
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
        """The call as it is to be made now: never in a way that is known to be refused."""
        return replace(call, form=self.form) if call.form < self.form else call

    def answered(self, form: int) -> None:
        """The server has answered a request of this form."""
        if not self.is_answered and form > self.form:
            self._move(form)
        elif form < self.form:
            # An answer that was on its way longer than another document's refusal: the stricter form works after all.
            self.form = form
        self.is_answered = True

    def refused(
        self, call: Call, error: ServiceError, why: RefusedRequest, *, halts: bool, field: str | None = None
    ) -> AskAgain | Settle | Halt:
        """What follows where the server does not take a request as it is.

        Args:
            call: What was asked.
            error: What the server said.
            why: What that means.
            halts: Whether a server that takes none of the forms ends the run; else each document is given up.
            field: Which field of every request it names, where `why` is that it does not take one.
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
        told = (
            "it refuses each way of asking for JSON that was tried; name another by --structured-output "
            f"(structured_output in code): {error.message}"
        )
        if is_field:
            told = f"it does not take {field} as it is sent; {_SETTINGS[field or '']}: {error.message}"
            message = f"the server refused the request: {told}"
        own = Failure("submit", "refused", message, retryable=error.status >= 500)
        if not self.is_answered and (why is RefusedRequest.FORM or self._refused_in_each >= _ENOUGH):
            if halts:
                otherwise = None if why is RefusedRequest.FORM else own
                return Halt(call, replace(error, message=told), is_certain=True, unless_answered=otherwise)
            own = replace(own, message=f"the server takes no request: {told}")
        # A server that answers 5xx to what it cannot parse may have meant something that passes: so `retryable`.
        return Settle(call, own)

    def _move(self, form: int) -> None:
        before, now = (FORM_NAMES[self.prompt.forms[number]] for number in (self.form, form))
        self.form = form
        told = f"{self.server} refuses {before} ({self._refusal}): it is asked by {now} from now on"
        _LOG.warning("%s", told)
        PROGRESS.add_notice(f"{told}; --structured-output chooses how")


_forms = PerProcess[AskedForm]()


def asked_form_of(server: str, prompt: Prompt) -> AskedForm:
    """What this process knows of a server and a question: a schema may be refused that another's is not."""
    return _forms.get((server, prompt.identity), lambda: AskedForm(server, prompt))


def forget_asked_forms() -> None:
    """The next pipeline of this process finds out anew: the server may have been started differently meanwhile."""
    _forms.forget_all()
