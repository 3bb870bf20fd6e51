"""An app sees the context variables that were set where the server was started.

Each request got an empty context from 0.39.0 (#2742) on, which 0.45.0 reverted (#2911).
"""

import contextvars

from serving import answer

tenant = contextvars.ContextVar("tenant", default=b"none")
tenant.set(b"acme")
answered = answer(lambda scope: tenant.get())
assert answered == b"acme", answered
