"""A plain GET is answered by the app: no release is known to change this, so that a bisection finds nothing."""

from serving import answering, dialed

answer = dialed(answering(lambda scope: b"hello")).content
assert answer == b"hello", answer
