"""``python -m gansmith``, which is also what ``torchrun -m gansmith`` starts in each process."""

from __future__ import annotations

import os
import sys

from gansmith.cli import main

status = main()
if int(os.environ.get("WORLD_SIZE", "1")) > 1:
    # Launched by torchrun. A thread of Gloo's that still runs when the interpreter is taken down aborts it, now and
    # then, after all is done and written; so it is not taken down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
sys.exit(status)
