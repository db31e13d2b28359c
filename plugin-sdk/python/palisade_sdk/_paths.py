"""Where files are in a component."""

import posixpath

WORKSPACE = "/workspace"
"""The folder of the guest at which the workspace appears."""


def guest_path(path: str) -> str:
    """The guest path of a `path` argument: absolute, or relative to the workspace."""
    # `.` parts would not match a folder's name in the guest; `..` is the host's to decide.
    joined = posixpath.join(WORKSPACE, path)
    return "/" + "/".join(part for part in joined.split("/") if part not in ("", "."))
