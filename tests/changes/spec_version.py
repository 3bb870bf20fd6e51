"""An HTTP scope names ASGI 2.3: 2.1 before 0.17.1 (#1337), 2.4 from 0.28.0 (#2220) until 0.32.1 (#2513)."""

from serving import answering, dialed

version = dialed(answering(lambda scope: scope["asgi"]["spec_version"].encode())).content
assert version == b"2.3", version
