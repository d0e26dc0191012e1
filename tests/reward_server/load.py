"""Groups to post while one of several servers is lost."""

from ireasoner.clients import Group, Rollout

GROUPS = [
    Group(
        id=f"g{number}",
        rollouts=[
            Rollout(id="0", answer="7", steps=["north", "east"]),
            Rollout(id="1", answer="7", steps=["north north", "east"]),
            Rollout(id="2", answer=str(number), steps=["east"]),
        ],
    )
    for number in range(60)
]
