"""What a request writes into scope["state"] is gone in the next: not in 0.21.0 (#1818); 0.21.1 mended it (#1903)."""

from serving import answering, dialed, get


def body(scope):
    state = scope.get("state", {})
    state["requests"] = state.get("requests", 0) + 1
    return b"%d" % state["requests"]


seen = dialed(answering(body), lambda connection: [get(connection).content for _ in range(2)])
assert seen == [b"1", b"1"], seen
