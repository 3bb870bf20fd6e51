"""scope["path"] is the path the client asked for: since 0.26.0 (#2213) it begins with the root path, as ASGI says."""

from serving import answering, dialed

path = dialed(answering(lambda scope: scope["path"].encode()), root_path="/api").content
assert path == b"/", path
