"""scope["path"] is the path that the client asked for, with a root path too.

Since 0.26.0 (#2213) it begins with the root path, as the ASGI specification says.
"""

from serving import answer

path = answer(lambda scope: scope["path"].encode(), path="/items", root_path="/api")
assert path == b"/items", path
