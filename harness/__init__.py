"""The harness around server.py and client.py."""

import sys
from pathlib import Path

# Those of this project, and not what has their names in the current folder.
if sys.path[:1] != [root := str(Path(__file__).resolve().parent.parent)]:
    sys.path.insert(0, root)
