"""What was known before a report measures anything: how uvicorn wants it, and what it has said of each case."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model import UPSTREAM

HOW = f"""<!-- First a discussion: {UPSTREAM}/discussions/new?category=potential-issue
An issue once a maintainer asks for one; then the boxes are yours to tick. Read it all before you post it. -->"""
CHECKS = """- [ ] I confirm this was discussed, and the maintainers suggest I open an issue.
- [ ] I'm aware that if I created this issue without a discussion, it may be closed without a response."""
TITLES = {
    "server-headers": "Sec-WebSocket-Protocol is sent twice with subprotocol= and the header in headers=",
    "accept-headers": "Sec-WebSocket-Protocol is sent twice with subprotocol= and the header in websocket.accept",
    "unsplit-offer": "An offer of several subprotocols in one line reaches the app as one subprotocol",
    "header-alone": "No subprotocol is agreed where the app leaves Sec-WebSocket-Protocol to headers=",
}


def pull(number: int) -> str:
    return f"[#{number}]({UPSTREAM}/pull/{number})"


ISSUE = f"[#1778]({UPSTREAM}/issues/1778)"
THREAD = f"""{ISSUE} reported `Sec-WebSocket-Protocol` twice in a response: once for `subprotocol=`, and once from
`headers=`. It ended with the maintainer saying that an app is not supposed to send this header, because the server is
in charge of it. {pull(1780)}, which filtered it out of `headers=`, was closed unmerged."""
RULES = """[RFC 6455, section 11.3.4](https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4) forbids the header more
than once in a response. The
[ASGI specification](https://asgi.readthedocs.io/en/latest/specs/www.html#accept-send-event) says that the `headers` of
`websocket.accept` must not include it."""
TWICE = f"{THREAD}\n\n{RULES}"
KNOWN = {
    "server-headers": f"{THREAD} `headers=` reaches WebSocket responses since {pull(1606)} (0.20.0).\n\n{RULES}",
    "accept-headers": f"""{THREAD} Here the header is not in `headers=` but in the `headers` of `websocket.accept`,
which uvicorn sends since {pull(1293)} (0.17.0).\n\n{RULES}""",
    "unsplit-offer": f"""The implementation `websockets-sansio`, added by {pull(2540)} (0.35.0), gave the app an offer
of several names in one line as one name; {pull(3019)} (0.50.1) mended it.""",
    "header-alone": f"""`headers=` reaches WebSocket responses since {pull(1606)} (0.20.0). That is a fix for this app,
and the break for the app of {ISSUE}, which passes `subprotocol=` too.""",
    "none": "This is the control of the other cases: nothing but `subprotocol=` writes the header.",
}
PROPOSAL = f"""A proposal with tests, in the spirit of {pull(1780)}, is in the reproduction's `upstream/README.md`:
with `subprotocol=`, uvicorn would leave the header out of `headers=` and of the `headers` of `websocket.accept`, and
warn."""


def title(name: str, sent: Sequence[str] | None, mended: str) -> str:
    """What fails, by the values of the header that were sent; None where nothing fails. `mended` is a release."""
    if sent is None:
        return f"No failure: {name}"
    several = "Sec-WebSocket-Protocol is sent twice" if len(sent) == 2 else "More than one subprotocol is sent"
    what = TITLES.get(name) or (several if sent else "No subprotocol is agreed")
    return f"{what}: mended in {mended}" if mended else what
