"""The reporter's own library: the version for which #1606 was a fix, and the one for which it was a break."""

from evidence.rows import Kept, Row, here
from harness import asking, base
from harness.index import Index
from harness.judge import Judge
from harness.place import ROOT

VERSIONS, UVICORNS = ("0.3.0", "0.4.0"), ("0.19.0", "0.20.0")  # 0.3.0 accepts without subprotocol=, 0.4.0 with it
# A row is one version on one uvicorn: the lines that go out, and the verdict.
KEPT = Kept("library", lambda row: (row["name"], row["version"], row["uvicorn"]))


def measure() -> list[Row]:
    """A row for each version on each uvicorn. Raises Unavailable."""
    index = Index.configured()
    words = {"APP": f"{ROOT}/tests/apps/central.py:app", "WS": "websockets", "WEBSOCKETS": base.pins()["websockets"]}
    words |= {"OFFER": "ocpp1.6", "HEADER": "Sec-WebSocket-Protocol: ocpp1.6", "NONE": "rejected"}
    found = []
    for version in VERSIONS:
        asked = asking.question({**words, "WITH": f"ocpp-asgi=={version} jsonschema<4.18"}, index)
        with Judge(asked, index) as judging:
            for release in (one for one in index.releases("uvicorn") if one.version in UVICORNS):
                [trial] = judging.release(release)
                row = {"name": "ocpp-asgi", "version": version, **here(), "uvicorn": release.version}
                result = {"sent": trial.sent, "verdict": trial.verdict.name}
                found.append(row | ({"missing": trial.reason} if trial.cause else result))
    return found
