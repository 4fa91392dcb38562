"""What a start leaves for later."""

import subprocess
import sys

_IMPORTS = """
from bootstrap import pace
with pace.without_pydantic_v1(), pace.late_models():
    import bootstrap.parts
from fastapi.openapi.models import Info
from pydantic import BaseModel
assert "defer_build" not in BaseModel.model_config
assert not Info.__pydantic_complete__
assert Info(title="t", version="1").title == "t"
class Later(BaseModel):
    n: int
assert Later.__pydantic_complete__
"""


def test_models_of_a_start_are_built_later_and_nobody_elses() -> None:
    command = [sys.executable, "-c", _IMPORTS]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
