"""What several families share: where shipped weights and tables lie, training, optional packages."""

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
"""One folder of weights and tables per task, each with a manifest."""
