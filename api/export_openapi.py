"""Writes the OpenAPI document: `python -m api.export_openapi docs/reference/openapi.json`."""

import json
import sys
from pathlib import Path

from api.app import describe


def render() -> str:
    """Return the document as it is committed."""
    return json.dumps(describe(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write the document to the path given, or to standard output."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main()
