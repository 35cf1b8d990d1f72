"""The rule-based stand-in for the model, which answers where `Emulator(answer=…)` gives no function of its own.

It reads labelled values, titles, tables and the habits of letterheads, tills and contracts, well enough for the samples
of `make demo` and for tests that want a plausible answer. The rules are frozen: what they find today is enough, and a
document that they cannot read is no reason to add one. A test that needs other answers passes `answer`.

`kimi_beam.emulator.work` alone imports this package, and only once it has an answer to write.
"""
