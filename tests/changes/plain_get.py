"""A plain GET is answered by the app.

No release is known to change this: it shows a bisection that finds nothing.
"""

from serving import answer

answered = answer(lambda scope: b"hello")
assert answered == b"hello", answered
