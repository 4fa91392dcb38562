"""Why the embedded Temporal server does not start, one class per cause, one sentence per message.

Knows nothing of processes: whoever finds the cause raises it.

SetupError
├── PortTakenError       another program listens where the server should
├── BinaryMissingError   no way led to a `temporal` binary that is new enough
├── DataVersionError     the data file was written by another server version
├── DataInUseError       another orchestrator runs on the same data file
└── ServerFailedError    the server was started and did not become ready, or kept dying
"""

from domain.errors import SetupError


class PortTakenError(SetupError):
    """A port that was asked for is in use; nothing was started."""


class BinaryMissingError(SetupError):
    """Every way to a `temporal` binary failed; the message names each with its reason."""


class DataVersionError(SetupError):
    """The binary at hand is not of the version that wrote the data file; the file is untouched."""


class DataInUseError(SetupError):
    """Another orchestrator holds the data file."""


class ServerFailedError(SetupError):
    """The server process ended or stayed silent; the message holds the end of its log."""
