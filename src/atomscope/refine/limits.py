"""The Cramér-Rao bound: how well positions can be known at best."""


def cramer_rao() -> None:
    """Say how well positions can be known at best (to come)."""
