"""An empty MLflow database for every test that wants one: made once, since that takes MLflow seconds."""

import tempfile
from functools import cache
from pathlib import Path

from mlflow import MlflowClient


def lay_database(folder: Path) -> None:
    """Put it where `tracking_for` looks for the runs of an output folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(_empty())


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
        return file.read_bytes()
