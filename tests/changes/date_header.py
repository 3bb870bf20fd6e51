"""The Date header changes with the time, on one connection too: since 0.19.0 (#1706), after two tries were reverted."""

import time

from serving import answering, dialed, get


def client(connection):
    before = get(connection).headers["date"]
    time.sleep(1.5)  # uvicorn looks at the clock once a second
    return before, get(connection).headers["date"]


before, after = dialed(answering(lambda scope: b""), client)
assert before != after, before
