"""scope["path"] is the path that the client asked for, with a root path too.

Since 0.26.0 (#2213) it begins with the root path, as the ASGI specification says.
"""

from serving import answering, dialed

path = dialed(answering(lambda scope: scope["path"].encode()), root_path="/api").content
assert path == b"/", path
