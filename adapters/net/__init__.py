"""How we reach the outside over HTTP without being led inside. Knows no tool and no agent."""
