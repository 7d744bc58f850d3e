"""An ingest in a process of its own, to be killed: `python -m tests.ingest.run_ingest RAW STORE MODEL`."""

import sys

from infra import session
from ingest.graph import ingest
from tests.ingest.test_graph import ingest_settings, sources

if __name__ == "__main__":
    raw, store, model = sys.argv[1:]
    session.start()
    ingest(sources(raw), ingest_settings(model), store)
