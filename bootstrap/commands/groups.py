"""Every group of commands, in the order in which the help shows them."""

from bootstrap.commands import (
    agents,
    approvals,
    config,
    costs,
    deadletters,
    demo,
    doctor,
    forks,
    host,
    keys,
    processes,
    run,
    runs,
    schedules,
    sessions,
    tools,
)

GROUPS = (
    *(processes, run, runs, forks, agents, sessions, tools, host, approvals, deadletters, costs),
    *(schedules, keys, config, demo, doctor),
)
