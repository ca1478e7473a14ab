"""The folder where the benchmarks find the programs: that of cargo build --release."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = (Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release").resolve()
