"""The number of the engine: part of what a cell's name is a hash of.

Add 1 to ENGINE whenever the result of some cell may be another than before: a sampler, an estimator, a random stream,
what the oracle charges, how a generator trains. Every cell then has a new name, so that `suite bench` runs it again and
no report averages over both. Leave it as it is where results stay equal byte for byte: for speed, messages, new files.

tests/suite_tests/test_engine.py fails when one of the sources behind a cell's numbers changes, and says what to do
(docs/decisions/009). Records written before the engine had a number are of engine 0.
"""

from __future__ import annotations

ENGINE = 3
