"""Temporal's payloads: JSON by pydantic.

The SDK makes a payload converter anew for each workflow task, and pydantic's is dear to make: ours
share their encodings, which hold nothing but a cache of type adapters.
"""

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

_ENCODINGS = tuple(PydanticPayloadConverter().converters.values())


class SharedPayloadConverter(CompositePayloadConverter):
    """Converts as `PydanticPayloadConverter` does; costs nothing to make."""

    def __init__(self) -> None:
        """Take the encodings of the process."""
        super().__init__(*_ENCODINGS)


data_converter = DataConverter(payload_converter_class=SharedPayloadConverter)
"""What our clients, workers and replays are given."""
