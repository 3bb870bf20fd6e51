"""A logging configuration may name uvicorn's formatter: not in 0.18.0 (#1426), which 0.18.2 reverted (#1543)."""

import logging.config

logging.config.dictConfig({"version": 1, "formatters": {"own": {"()": "uvicorn.logging.DefaultFormatter"}}})
