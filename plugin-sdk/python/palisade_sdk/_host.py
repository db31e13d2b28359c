"""The host. Outside a component a log line goes to standard error, so that a plugin's own tests run anywhere."""

import sys
from enum import Enum

try:
    from wit_world.imports import host as _host
except ImportError:
    _host = None


class Level(Enum):
    """How much a log line matters."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def log(level: Level, message: str) -> None:
    """Writes a line to the operator's log. Outside a component, to standard error."""
    if _host:
        _host.log(_host.Level[level.name], well_formed(message))
    else:
        print(f"{level.value}: {message}", file=sys.stderr)


def progress(done: float, total: "float | None" = None, message: "str | None" = None) -> None:
    """Reports progress: how much of how much is done. Outside a component it does nothing."""
    if _host:
        _host.progress(done, total, None if message is None else well_formed(message))


def cancelled() -> bool:
    """Whether the caller gave up. A tool that works for long asks now and then. Outside a component: no."""
    return bool(_host) and _host.cancelled()


def well_formed(text: str) -> str:
    """A text with a mark for each half of a character: half a one is no text, and the host would not take it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text
