"""The plugin's own key-value store: all that one call leaves to the next. Its manifest asks for it with `store = true`.

Keys are in the order of their bytes. Outside a component it is a map in memory, so that a plugin's own tests can use it. Import
it as a module, `from palisade_sdk import store`: a plugin that never does so needs no grant for it.
"""

from __future__ import annotations

from typing import Any, Callable

try:
    from wit_world.imports import store as _store
except ImportError:
    _store = None

_SENTENCES = {
    "key": "the key is empty or too long for the store",
    "value": "the value is too large for the store",
    "full": "the store is full",
    "unavailable": "the store cannot be used",
}


class StoreError(Exception):
    """Why the store did nothing: `kind` is key, value, full or unavailable."""

    def __init__(self, kind: str) -> None:
        super().__init__(_SENTENCES[kind])
        self.kind = kind


def get(key: str) -> bytes | None:
    """The value of a key."""
    return _attempt(lambda: _backend.get(key))


def set(key: str, value: bytes) -> None:
    """Sets a value, whatever was there."""
    _attempt(lambda: _backend.set(key, value))


def delete(key: str) -> bool:
    """Removes a key; whether it was there."""
    return _attempt(lambda: _backend.delete(key))


def swap(key: str, expected: bytes | None, value: bytes | None) -> bool:
    """Sets a value, or removes it with `None`, if the key still has the value `expected`; whether it did.

    Another call may have changed what this one read: this is how nothing is lost.
    """
    return _attempt(lambda: _backend.swap(key, expected, value))


def keys(prefix: str = "", after: str | None = None, most: int = 1000) -> list[str]:
    """The keys that begin with `prefix` and come after `after`, in order: at most `most` and at most 1 000."""
    return _attempt(lambda: _backend.keys(prefix, after, most))


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        # As the bindings raise what the store answers: `Err(StoreError_Key())`.
        kind = type(getattr(error, "value", None)).__name__.removeprefix("StoreError_").lower()
        if kind in _SENTENCES:
            raise StoreError(kind) from None
        raise


class _Memory:
    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def _check(self, key: str) -> None:
        if not 0 < len(key.encode()) <= 512:
            raise StoreError("key")

    def get(self, key: str) -> bytes | None:
        self._check(key)
        return self.entries.get(key)

    def set(self, key: str, value: bytes) -> None:
        self._check(key)
        self.entries[key] = bytes(value)

    def delete(self, key: str) -> bool:
        self._check(key)
        return self.entries.pop(key, None) is not None

    def swap(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        self._check(key)
        if self.entries.get(key) != expected:
            return False
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = bytes(value)
        return True

    def keys(self, prefix: str, after: str | None, most: int) -> list[str]:
        # Python compares by code points, which is the order of UTF-8.
        fits = (key for key in sorted(self.entries) if key.startswith(prefix) and (after is None or key > after))
        return [key for key, _ in zip(fits, range(min(most, 1000)))]


_backend: Any = _store or _Memory()
