"""Goals: which moves between their states are refused."""

import pytest

from domain.errors import ConflictError
from domain.goal import GoalState, check_goal_move


@pytest.mark.parametrize("before", [state for state in GoalState if state is not GoalState.CREATED])
def test_a_goal_that_was_begun_is_not_untouched_again(before: GoalState) -> None:
    with pytest.raises(ConflictError, match="goal_1"):
        check_goal_move("goal_1", before, GoalState.CREATED)


@pytest.mark.parametrize("after", list(GoalState))
def test_a_goal_that_is_untouched_may_become_anything(after: GoalState) -> None:
    check_goal_move("goal_1", GoalState.CREATED, after)
