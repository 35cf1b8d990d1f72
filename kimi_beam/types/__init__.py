"""The values that flow through a pipeline: frozen, picklable, without clocks or I/O.

::

    Document ─▶ batch (bytes) ─▶ Job ─▶ Reply ─▶ Extraction │ DeadLetter

An exception stops the pipeline (the runner retries the bundle). A `Failure` is a value and concerns one document, which
it sends to the dead letters. Each document leaves exactly once, as an `Extraction` or as a `DeadLetter`.
"""
