"""Entry point of ``python -m geomstats_vae``."""

import sys

from geomstats_vae.commands import main

if __name__ == "__main__":
    sys.exit(main())
