"""What one request writes into scope["state"] is not there in the next on the same connection.

It was in 0.21.0, which brought the state (#1818); 0.21.1 mended it (#1903).
"""

from serving import answering, dialed, get


def body(scope):
    state = scope.get("state", {})
    found = str(state).encode()
    state["user"] = "alice"
    return found


seen = dialed(answering(body), lambda connection: [get(connection).content for _ in range(2)])
assert seen == [b"{}", b"{}"], seen
