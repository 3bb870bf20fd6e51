"""The pins install, from whatever the index still has of them, and show what they promise."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from . import pins


@pytest.mark.weekly
def test_no_compiler_is_needed_where_websockets_has_no_wheel(tmp_path: Path) -> None:
    python = [found for version in pins.VERSIONS if (found := pins.find_python(version))][-1]
    # Without a cache and a wheel of websockets, pip builds it now; its C part is optional.
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    bare |= {"PATH": str(tmp_path), "CC": "there-is-no-compiler"}
    options = ["--no-cache-dir", "--no-binary", "websockets"]
    assert pins.try_out(python, tmp_path / "environment", *options, environment=bare) == pins.PROMISES
    inside = tmp_path / "environment" / "bin" / "python"
    compiled = subprocess.run([inside, "-c", "import websockets.speedups"], capture_output=True, text=True)
    assert "ModuleNotFoundError: No module named 'websockets.speedups'" in compiled.stderr


@pytest.mark.weekly
@pytest.mark.parametrize("version", pins.VERSIONS)
def test_pip_installs_both_requirements_and_two_terminals_show_it(version: str, tmp_path: Path) -> None:
    python = pins.find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    assert pins.try_out(python, tmp_path / "environment") == pins.PROMISES


def test_the_sentence_names_the_pythons_where_it_holds_and_the_others(tmp_path: Path) -> None:
    file, verdicts = tmp_path / "pythons.json", {"3.8.18": pins.PROMISES, "3.13.0": pins.PROMISES}
    evidence = {"measured": "2026-11-23T18:00:00Z", "platform": "Linux x86_64", "pythons": verdicts}
    file.write_text(json.dumps(evidence))
    assert pins.sentence(file).endswith("gave these verdicts on Python 3.8.18, 3.13.0 (Linux x86_64, 2026-11-23).")
    verdicts["3.16.0a2"] = {"broken": "inconclusive", "fixed": "inconclusive"}
    file.write_text(json.dumps(evidence))
    assert pins.sentence(file).endswith("(Linux x86_64, 2026-11-23), and not on 3.16.0a2.")
