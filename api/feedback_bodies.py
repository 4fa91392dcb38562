"""What callers send about how runs went."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.requests import Body

_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$"
Words = Annotated[str, Field(min_length=1, max_length=20_000)]


class Thumb(StrEnum):
    """A rating without a number."""

    UP = "up"
    DOWN = "down"


_WORTH = {Thumb.UP: 1.0, Thumb.DOWN: -1.0}


class FeedbackBody(Body):
    """What a run was worth: `score` or `thumbs`, one of them."""

    run_id: Annotated[str, Field(pattern=_ID, examples=["run_01k9"])]
    score: Annotated[float, Field(ge=-1, le=1, description="From -1, bad, to 1, good.")] | None = (
        None
    )
    thumbs: Annotated[Thumb, Field(strict=False)] | None = None
    text: Words | None = None
    improvement: (
        Annotated[Words, Field(description="What should be done otherwise from now on.")] | None
    ) = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"run_id": "run_01k9", "thumbs": "up"}]}
    )

    @model_validator(mode="after")
    def _one_rating(self) -> Self:
        if (self.score is None) == (self.thumbs is None):
            raise PydanticCustomError("one_rating", "send score or thumbs, one of them")
        return self

    @property
    def rating(self) -> float:
        """What the run was worth, -1 to 1."""
        return _WORTH[self.thumbs] if self.thumbs is not None else float(self.score or 0.0)
