"""Logs of the server processes: one line an event, JSON or for a console, to standard output.

Whatever is logged while a withdrawal is being dealt with carries its digest as `withdrawal`
(custody.flows.rows binds it); so do the lines of libraries, which come through the same processors.
"""

import logging
import sys

import structlog

FORMATS = ("json", "console")


def set_up(form: str) -> None:
    """Send our lines and the libraries' to standard output, as `form` says; see FORMATS."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form == "console":
        last = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Each request's address, which may hold a node provider's token, is nobody's business.
    logging.getLogger("httpx").setLevel(logging.WARNING)
