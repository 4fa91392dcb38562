"""How a better model is asked after a weaker one's answer did not do."""

from domain.bounds import bytes_of
from domain.chat import ChatMessage


def asked_again(answer: str, why: str) -> tuple[ChatMessage, ChatMessage]:
    """Return the turn in which a better model reads what a weaker one said, and what is wrong."""
    said = ChatMessage(role="assistant", content=answer)
    wish = f"That answer does not do: {why}. Answer the request above anew, and better."
    return said, ChatMessage(role="user", content=wish)


def size_of(rejected: tuple[str, str] | None) -> int:
    """Return an upper bound of the tokens that a rejected answer adds to a request."""
    return 0 if rejected is None else bytes_of(asked_again(*rejected))
