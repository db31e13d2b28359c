"""Makes a component of a plugin's source: python -m palisade_sdk SOURCE -o FILE [--pure]."""

from __future__ import annotations

import argparse
import modulefinder
import os
import subprocess
import sys
import traceback
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m palisade_sdk", description=__doc__)
    parser.add_argument("source", type=Path, help="the module that has `Tools = export(…)`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the component goes")
    parser.add_argument("--pure", action="store_true", help="without files, clock, random numbers and output: it imports the host alone, and what needs them ends the call")
    options = parser.parse_args()
    here = Path(__file__).resolve().parent
    source = options.source.resolve()
    if not source.is_file():
        parser.error(f"there is no file {options.source}")

    # The compiler keeps every import of a world, and who imports the store needs a grant for it.
    try:
        world = "plugin" if uses_store(source, here) else "stateless-plugin"
    except SyntaxError as error:
        print("".join(traceback.format_exception_only(error)), end="", file=sys.stderr)
        return 1
    command = [sys.executable, "-c", "from componentize_py import script; script()"]
    command += ["--quiet", "--wit-path", str((here / "palisade.wit").resolve()), "--world", world]
    command += ["componentize", source.stem, "--python-path", str(source.parent), "--python-path", str(here.parent)]
    command += ["--output", str(options.output), *(["--stub-wasi"] if options.pure else [])]
    try:
        import componentize_py  # noqa: F401
    except ImportError:
        print(f"the compiler is not installed; once: {sys.executable} -m pip install -r {here.parent / 'requirements.txt'}", file=sys.stderr)
        return 1
    made = subprocess.run(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, stderr=subprocess.PIPE, text=True)
    if made.returncode:
        # Around the error of the plugin's module the compiler shows its own calls.
        print(made.stderr.partition("AssertionError: ")[2].partition("\n\nCaused by:")[0].strip() or made.stderr, file=sys.stderr)
        if "has no attribute 'Tools'" in made.stderr:
            print("a plugin exports its tools as `Tools = palisade_sdk.export(…)`", file=sys.stderr)
    return made.returncode


def uses_store(source: Path, here: Path) -> bool:
    finder = modulefinder.ModuleFinder(path=[str(source.parent), str(here.parent)])
    finder.run_script(str(source))
    return "palisade_sdk.store" in finder.modules


if __name__ == "__main__":
    sys.exit(main())
