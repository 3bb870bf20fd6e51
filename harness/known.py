"""What was known before a report measures anything: how uvicorn wants it, and what it has said of each case."""

from harness.model import UPSTREAM

FORM = f"""<!-- First a discussion: {UPSTREAM}/discussions/new?category=potential-issue
An issue once a maintainer asks for one; then the boxes are yours to tick. Read it all before you post it. -->

### Initial Checks

- [ ] I confirm this was discussed, and the maintainers suggest I open an issue.
- [ ] I'm aware that if I created this issue without a discussion, it may be closed without a response.

### Discussion Link

(none yet)"""


def pull(number: int) -> str:
    return f"[#{number}]({UPSTREAM}/pull/{number})"


ISSUE = f"[#1778]({UPSTREAM}/issues/1778)"
REACHES = f"`headers=` reaches WebSocket responses since {pull(1606)} (0.20.0)."
TWICE = f"""{ISSUE} reported `Sec-WebSocket-Protocol` twice in a response: for `subprotocol=`, and from `headers=`. It
ended with the maintainer saying that an app is not supposed to send this header, because the server is in charge of it.
{pull(1780)}, which filtered it out of `headers=`, was closed unmerged.

[RFC 6455, section 11.3.4](https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4) forbids the header more than once in a
response. The [ASGI specification](https://asgi.readthedocs.io/en/latest/specs/www.html#accept-send-event) says that the
`headers` of `websocket.accept` must not include it."""
PROPOSAL = """A proposal that was tested with this case, in `upstream/README.md` of the reproduction, leaves the header
out of `headers=` and of the `headers` of `websocket.accept` where there is a `subprotocol=`, and warns."""
KNOWN = {
    "server-headers": f"{REACHES} {TWICE}\n\n{PROPOSAL}",
    "accept-headers": f"`websocket.accept`'s `headers` are sent since {pull(1293)} (0.17.0). {TWICE}\n\n{PROPOSAL}",
    "unsplit-offer": f"""`websockets-sansio`, added by {pull(2540)} (0.35.0), gave the app an offer of several names in
one line as one name; {pull(3019)} (0.50.1) mended it.""",
    "header-alone": f"{REACHES} That mends this app, and breaks that of {ISSUE}, which passes `subprotocol=` too.",
}
