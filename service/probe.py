"""`python -m service.probe`: exit status 0 while the service on this machine is ready.

For container health checks, where no curl is at hand. It reads the port from the same variable as the service, and
imports nothing but the standard library, so that a check costs little.
"""

from __future__ import annotations

import os
import sys
import urllib.request

TIMEOUT = 2.0


def main() -> int:
    """Ask `/readyz`; returns 0 if it says ready, else 1 with the reason on standard error."""
    port = os.environ.get("SENTIMENT_PORT") or "8000"
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT):  # noqa: S310 - fixed scheme
            return 0
    except (OSError, ValueError) as error:
        print(f"not ready: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
