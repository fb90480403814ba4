"""``python -m gansmith``, which is also what ``torchrun -m gansmith`` starts in each process."""

from __future__ import annotations

import sys

from gansmith.cli import main

sys.exit(main())
