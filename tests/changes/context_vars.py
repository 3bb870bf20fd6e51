"""An app sees what was set where the server was started: not from 0.39.0 (#2742) on, which 0.45.0 reverted (#2911)."""

import contextvars

from serving import answering, dialed

tenant = contextvars.ContextVar("tenant", default=b"none")
tenant.set(b"acme")
seen = dialed(answering(lambda scope: tenant.get())).content
assert seen == b"acme", seen
