"""How hard an everyday request is: a prior set by hand, for what no recorded outcome is like.

The fitted model knows exam questions: those that offer answers to choose from, and stories with
numbers. Of greetings, look-ups and open work it knows nothing, and words say more there.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from domain.pattern import late_pattern
from domain.routing.reading import Reading, constraints_of, has_code, has_table, steps_of

BASE = 0.38
"""The score of a request that shows nothing; it is one for a small model."""
MOST, LEAST = 0.98, 0.02
_FEW_OPTIONS = 2
_STORY_LETTERS = 60
"""A story with numbers is no shorter."""
_NUMBER = late_pattern(
    r"\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|dozen|half|third|quarter|twice"
    r"|triple)s?\b"
)
_ASKS_FIGURE = late_pattern(
    r"\bhow (?:many|much|far|long|old|big|tall|fast)\b|\bwhat(?:'s|'ll| (?:is|was|will|would|are"
    r"|percent\w*|does))\b"
    r"|\b(?:calculate|find|determine|in (?:dollars|cents|hours|minutes|days|years|feet|pounds))\b",
)
_SENTENCE_END = late_pattern(r"[.?!](?:\s|$)")

_GREETING = (
    r"(?:hi|hello|hey|hiya|yo|howdy|hallo|hola|bonjour|ciao|servus|moin|greetings|welcome|bye"
    r"|goodbye"
    r"|good ?(?:morning|afternoon|evening|night|day)|guten (?:tag|morgen|abend)|see you|thanks?"
    r"|thank you|thx|danke|merci|gracias|please|ok|okay|cool|nice|great|perfect|awesome|lol|sorry"
    r"|test|ping|well done|good)"
)
_CHAT = late_pattern(
    rf"(?:{_GREETING}\W*)?(?:(?:a lot|so much|very much|there|all|everyone|again|friend|bot"
    rf"|assistant"
    rf"|for (?:that|your help|the help|everything)|{_GREETING}|and you|how are (?:you"
    rf"|things)(?: doing)?"
    r"(?: today)?|how(?:'s| is) it going|what(?:'s| is) up|who are you|what(?:'s| is) your name"
    r"|what can you do|nice to meet you|have a (?:nice|good|great) (?:day|one|weekend|evening)"
    r"|tell me a joke|can you help me|i need (?:some )?help)\W*)*"
)
_SUM = late_pattern(
    r"(?:(?:please |can you |could you )?(?:what(?:'s| is| are)|how much (?:is|are)|calculate"
    r"|compute"
    r"|convert|add|multiply|divide|subtract|solve|round)?\W*)?"
    r"(?:[-+*/x\u00d7\u00f7^=().,%$\u20ac\s\d]|plus|minus|times|divided by|multiplied by|of|and|by"
    r"|percent|the|square root|squared|cubed|to|in|from|miles?|km|kilomet(?:er|re)s?|met(?:er|re)s?"
    r"|feet|inch(?:es)?|pounds?|kg|degrees?|celsius|fahrenheit|dollars?|euros?|hours?|minutes?"
    r"|seconds?|days?|weeks?)+\??"
)
_MOST_SIGNS = 3
"""Signs of a sum that is still one step or two."""
_LOOK_UP = late_pattern(
    rf"(?:(?:{_GREETING}|can you|could you|do you know|tell me|and|so)\W+)*(?:say|give me"
    rf"|remind me|should i|whats|what|who|whose"
    rf"|when|where"
    r"|which|is|are|was|were|does|do|did|can|define|spell|translate|capital of|synonym|name|list"
    r"|how (?:many|much|old|tall|far|long|do|can|to|does|is)|why (?:is|are|do|does))\b"
)
_SMALL_LETTERS = 120
"""What is longer is no small talk and no sum of one step."""
_LOOK_UP_WORDS = 14
"""A longer question is more than a look-up."""

_AT_START = (
    r"(?:^|[.!?:;\n]\s{0,4}|\b(?:and|then|please|to|you|us|me|let's|now)\s+"
    r"|\b(?:steps?|\d)[.):]\s{0,4})"
)
_DEMANDING = late_pattern(
    rf"{_AT_START}(?:design|prove|derive|refactor|re-?architect|architect|formali[sz]e|devise"
    rf"|show that"
    r"|disprove|plan|optimi[sz]e|re-?engineer|diagnose|migrate|reverse.engineer"
    r"|(?:give|write) (?:me |us )?(?:a|the) proof)\b"
)
_WORKING = late_pattern(
    rf"{_AT_START}(?:compare|contrast|analy[sz]e|evaluate|critique|implement|debug|develop|build"
    r"|investigate|assess|review|rewrite|solve|integrate|argue|simulate|work out|find the bug"
    r"|create|explain why"
    r"|write an? (?:\w+ )?(?:compiler|parser|interpreter|report|brief|thesis|proposal|strategy))\b"
)
_AT_LENGTH = late_pattern(
    r"\b(?:in (?:depth|detail)|at length|detailed|thorough\w*|comprehensive\w*|rigorous\w*"
    r"|exhaustive\w*"
    r"|step.by.step|trade-?offs?|pros and cons|edge cases|from scratch|end.to.end|justify"
    r"|each (?:step|decision|choice)|with (?:citations|sources|proofs?))\b"
)
_BRIEFLY = late_pattern(
    r"\b(?:briefly|in (?:one|a|1) (?:word|sentence|line)|quick(?:ly)?|in short|short answer"
    r"|tl;?dr)\b"
)
_DEEP = late_pattern(
    r"\b(?:distributed|concurren\w+|consensus|asymptotic\w*|complexity|theorem|lemma|corollary"
    r"|proof"
    r"|architecture|scal(?:able|ability)|thread.safe\w*|lineari[sz]ab\w+|invariants?|liveness"
    r"|safety|fault.toleran\w+|eigen\w+|integral|differential|stochastic|bayesian|polynomial"
    r"|np-hard"
    r"|deadlocks?|race condition|multi-tenant|microservices?|optimal|constraints?|schema"
    r"|replication"
    r"|sharding|encryption|protocol|regression|causal\w*|liabilit\w+|jurisdiction\w*|algorithm)\b"
)
_PROGRAM = late_pattern(
    r"\b(?:function|script|program|sql|regex|unit tests?|class|code(?:base)?|python|javascript"
    r"|typescript|rust|java|golang|c\+\+|api|query|compiler|stack trace|bug)\b"
)
_DEMANDING_WORDS = 4
"""What is shorter, as `plan my day`, is not a demanding task yet."""
_USES_TOOL = late_pattern(
    r"\b(?:search|find|look up|look for|browse|fetch|download|upload|book|order|send|e-?mail"
    r"|schedule"
    r"|remind|check|latest|today|tomorrow|current|currently|weather|price of|news|files?|folder|run"
    r"|execute|calculate|compute|database|calendar|website|web|url|use (?:the|your|a)|tools?"
    r"|call)\b"
    r"|https?://"
)


def uses_tools(seen: Reading) -> bool:
    """Whether a request hints at work that tools do."""
    return bool(_USES_TOOL.search(seen.text.lower()))


@dataclass(frozen=True, slots=True)
class Prior:
    """What the words of a request say of it."""

    score: float
    """0..1, on the scale of the recorded requests."""
    parts: Mapping[str, float]
    """What each sign added to the score."""


def is_recorded_kind(seen: Reading) -> bool:
    """Whether a request is of the kind that outcomes were recorded of, an exam question."""
    if len(seen.options) >= _FEW_OPTIONS:
        return True
    lower = seen.text.lower()
    return (
        len(lower) >= _STORY_LETTERS
        and len(_NUMBER.findall(lower)) >= _FEW_OPTIONS
        and len(_SENTENCE_END.findall(lower)) > 1
        and bool(_ASKS_FIGURE.search(lower))
        and not (_DEMANDING.search(lower) or has_code(seen) or has_table(seen))
    )


def prior_of(seen: Reading, tools: int = 0, messages: int = 0) -> Prior:
    """Return what the words say. `tools` and `messages` are those around the request."""
    lower = seen.text.strip().lower().replace("\u2019", "'")
    small = _small(lower)
    if small is not None:
        name, score = small
        return Prior(score, {name: score - BASE})
    parts = {**_work(seen, lower), **_size(seen, lower), **_around(seen, tools, messages)}
    score = min(MOST, max(LEAST, BASE + sum(parts.values())))
    return Prior(score, {name: part for name, part in parts.items() if part})


def _small(lower: str) -> tuple[str, float] | None:
    """Return the name and score of what is small whatever stands around it."""
    if len(lower) > _SMALL_LETTERS:
        return None
    if _CHAT.fullmatch(lower):
        return "small_talk", 0.05
    signs = len(re.findall(r"[-+*/x\u00d7\u00f7^]|plus|minus|times|divided", lower))
    if signs <= _MOST_SIGNS and re.search(r"\d", lower) and _SUM.fullmatch(lower):
        return "one_sum", 0.1
    return None


def _work(seen: Reading, lower: str) -> dict[str, float]:
    """Return what the kind of work adds."""
    demanding = bool(_DEMANDING.search(lower))
    working = demanding or bool(_WORKING.search(lower))
    demanding = demanding and len(lower.split()) >= _DEMANDING_WORDS
    deep = len(set(_DEEP.findall(lower)))
    hard = working or deep > 1 or bool(_AT_LENGTH.search(lower))
    return {
        "open_work": 0.52 if demanding else 0.2 * working,
        "at_length": 0.3 * bool(_AT_LENGTH.search(lower)),
        "deep_matter": min(0.3, 0.1 * deep),
        "program": 0.12 * (has_code(seen) or bool(_PROGRAM.search(lower))),
        "brief": -0.15 * bool(_BRIEFLY.search(lower)),
        "look_up": 0.0 if hard else -0.15 * _is_look_up(lower),
    }


def _is_look_up(lower: str) -> bool:
    return len(lower.split()) <= _LOOK_UP_WORDS and bool(_LOOK_UP.match(lower))


def _size(seen: Reading, lower: str) -> dict[str, float]:
    """Return what length and conditions add."""
    conditions = constraints_of(seen) + steps_of(seen)
    return {
        "length": min(0.2, 0.04 * math.log2(max(1.0, seen.length / 100))),
        "conditions": min(0.4, 0.09 * max(0, conditions - 1)),
        "questions": min(0.2, 0.1 * max(0, lower.count("?") - 1)),
        "table": 0.05 * has_table(seen),
    }


def _around(seen: Reading, tools: int, messages: int) -> dict[str, float]:
    """Return what stands around a request, as far as the request has to do with it."""
    return {
        "tool": min(0.12, 0.05 + 0.01 * tools) if tools and uses_tools(seen) else 0.0,
        "history": min(0.1, 0.015 * math.log2(1 + messages)),
    }
