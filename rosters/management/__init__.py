"""What the commands of `manage.py` share."""

from __future__ import annotations

from pathlib import Path


def unreadable(path: Path) -> str:
    """Why nothing can be read at `path`, as a sentence; "" where something can. Nobody waits for a pipe."""
    try:
        path.stat()
        if path.is_dir():
            next(path.iterdir(), None)
        elif path.is_file():
            path.open("rb").close()
        else:
            return f"{path} is neither a file nor a folder."
    except FileNotFoundError:
        return f"There is nothing at {path}."
    except OSError as reason:
        return f"{path} cannot be opened: {reason.strerror}."
    return ""
