"""What to do about dead letters of each code."""

from __future__ import annotations

_AGAIN = "run them again (redrive)"
_INPUT = "mend the input, and run extract over it"

ADVICE = {
    # read
    "not_utf8": "name their encoding (--encoding), and run extract over them",
    "not_text": _INPUT,
    "unknown_kind": "convert them, or pass over them (--skip-unknown)",
    "encrypted": "name their password (--password-from), and run extract over them",
    "damaged": "get whole files, and run extract over them",
    "too_many_pages": "split the files, and run extract over the parts",
    "too_many_pixels": "make the pictures smaller, and run extract over them",
    "too_many_members": "unpack the archives by hand, and run extract over what they hold",
    "nested_too_deep": "unpack the archives by hand, and run extract over what they hold",
    "compression_bomb": "look at the archives: they unpack to far more than they are",
    "hidden_text": "look at the files: they hold a text that nobody sees (--hidden-text drop leaves it out)",
    "reader_crashed": "look at the files, or convert them by another program: their reader died of them",
    "reader_timeout": "split the files, or convert them by another program",
    "reader_memory": "split the files, or convert them by another program",
    "reader_failed": "mend the reader (--reader), or install the extra that the message names",
    "not_json": "of lines: mend them; of answers: redrive --code not_json asks once more",
    "repeated_key": _INPUT,
    "ragged_row": _INPUT,
    "missing_id": "name the key of the id (--id-field; '#' makes ids of line numbers)",
    "missing_text": "name the key of the text (--text-field; '*' takes all keys)",
    "bad_image": "convert the pictures, and run extract over them",
    "too_large": "split the documents, or raise --max-document-bytes where that is the limit",
    "unreadable": "look at the files and at who may read them, and run extract over them",
    "file_changed": "run extract over the files as they are now",
    # prompt
    "empty_document": "look whether there is a text at all; a scan may need --pages image",
    "unredactable": "mend the finder of sensitive values, or allow pictures (--redact-images allow)",
    "duplicate_id": "give each document an id of its own (--id-field '#')",
    # submit
    "refused": "read the message; what the service was too busy for is retryable (redrive)",
    "unknown_submit": "redrive asks again; the service may have taken the first request, and bills it then",
    "unreachable": f"look at the network, and {_AGAIN}",
    "quota_exhausted": f"wait for the next day or change the plan, and {_AGAIN}",
    "stopped": f"mend what failed most often, and {_AGAIN}",
    "budget": f"raise --max-cost, and {_AGAIN}",
    # poll
    "deadline": f"{_AGAIN}: what was paid for is fetched, and waited for as long again (--deadline)",
    "expired": _AGAIN,
    "job_failed": _AGAIN,
    "no_results": f"{_AGAIN}: what was paid for is fetched",
    # infer
    "item_failed": _AGAIN,
    "missing_item": _AGAIN,
    "malformed_item": _AGAIN,
    "truncated": "allow longer answers (--max-completion-tokens) or smaller parts (--chunk-tokens), and redrive them",
    "empty_answer": "look at the documents, and redrive --code empty_answer",
    "answer_in_reasoning": "ask without --thinking, and redrive --code answer_in_reasoning",
    "refusal": "look at documents and instructions: the model declines them",
    "content_filter": "look at the documents: the service declines them",
    "tool_call": "ask in another form (--structured-output schema), and redrive --code tool_call",
    "too_many_turns": "give the tools' answers faster to the point, or allow more turns",
    "json_mode_unmet": "make the schema simpler, or ask in another form (--structured-output prompt)",
    "json_mode_unsupported": "ask in another form (--structured-output prompt), or another model",
    # parse, validate, type
    "schema_violation": "look at what was answered: mend the schema or the instructions, and redrive them",
    "redacted_value": "leave the field out of the schema, or the rule out of --redact",
    "ungrounded": "look at the values: they do not stand in the documents (--require-grounding)",
    "type_mismatch": "give the field another x-arrow-type, and redrive them",
}
"""For each code of a dead letter what its user does next, in a few words."""
OF_OTHERS = "read the message"
"""For a code that this version does not know."""
