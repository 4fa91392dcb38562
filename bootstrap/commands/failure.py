"""How a command says that it cannot do what was asked."""


class CommandError(Exception):
    """One clear sentence for whoever typed the command; the process exits with `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class ServerAwayError(CommandError):
    """The server does not answer now and may be back soon.

    `was_reached` is False when nobody listens there at all.
    """

    def __init__(self, message: str, *, was_reached: bool) -> None:
        super().__init__(message)
        self.was_reached = was_reached
