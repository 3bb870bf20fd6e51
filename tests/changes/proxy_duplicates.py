"""A proxy's X-Forwarded-For is heeded where it comes in two headers, as one proxy after another sends it.

It was ignored in 0.48.0 (#2944); 0.49.0 undid that (#2971).
"""

from serving import answering, dialed, get

forwarded = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2")]
answer = dialed(answering(lambda scope: scope["client"][0].encode()), lambda connection: get(connection, *forwarded))
assert answer.content == b"192.0.2.2", answer.content
