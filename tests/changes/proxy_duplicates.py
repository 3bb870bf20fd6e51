"""A proxy's X-Forwarded-For is heeded in two headers too: not in 0.48.0 (#2944), which 0.49.0 undid (#2971)."""

from serving import answering, dialed, get

forwarded = {"X-Forwarded-For": "192.0.2.1", "x-forwarded-for": "192.0.2.2"}  # one proxy after another
answer = dialed(answering(lambda scope: scope["client"][0].encode()), lambda connection: get(connection, **forwarded))
assert answer.content == b"192.0.2.2", answer.content
