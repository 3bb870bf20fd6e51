"""The Date header changes with the time, on one connection too.

So since 0.19.0 (#1706), after two tries that were reverted before any release (#1639, #1665).
"""

import time

from serving import answering, dialed, get


def client(connection):
    dates, end = set(), time.monotonic() + 2.5
    while len(dates) < 2 and time.monotonic() < end:
        dates.add(get(connection).headers["date"])
        time.sleep(0.05)
    return dates


dates = dialed(answering(lambda scope: b""), client)
assert len(dates) == 2, dates
