"""A logging configuration may name uvicorn.logging.DefaultFormatter.

The module was renamed in 0.18.0 (#1426), which 0.18.2 reverted (#1543).
"""

import logging.config

logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s"}},
        "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default"}},
        "loggers": {"uvicorn": {"handlers": ["default"], "level": "INFO"}},
    }
)
logging.getLogger("uvicorn").info("formatted by uvicorn")
