"""A plain GET is answered by the app.

No release is known to change this: it shows a bisection that finds nothing.
"""

from serving import answering, dialed

answer = dialed(answering(lambda scope: b"hello")).content
assert answer == b"hello", answer
