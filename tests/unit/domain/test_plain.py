"""A conversation told to one who has no tools."""

from domain.bounds import bytes_of
from domain.chat import ChatMessage, ToolCallRequest
from domain.plain import without_tools

CALL = ToolCallRequest(call_id="c1", name="calculator", arguments='{"expression": "1+1"}')
SAID = (
    ChatMessage(role="user", content="how much is 1+1?"),
    ChatMessage(role="assistant", content="let me see", tool_calls=(CALL,)),
    ChatMessage(role="tool", content="2", tool_call_id="c1"),
    ChatMessage(role="assistant", content="", tool_calls=(CALL, CALL)),
    ChatMessage(role="assistant", content="two"),
)


def test_calls_and_results_are_told_in_words_and_the_rest_stays() -> None:
    told = without_tools(SAID)

    assert [message.role for message in told] == [
        *("user", "assistant", "user", "assistant", "assistant")
    ]
    assert not any(message.tool_calls or message.tool_call_id for message in told)
    assert told[1].content == 'let me see\n[called calculator with {"expression": "1+1"}]'
    assert told[2].content == "[tool result]\n2"
    assert (told[0], told[4]) == (SAID[0], SAID[4])


def test_what_is_told_is_no_longer_than_what_is_held_for_it() -> None:
    said = sum(len(message.content) for message in without_tools(SAID))

    assert said <= bytes_of(SAID)
