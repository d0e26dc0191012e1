"""The arithmetic of an audit: how a run's groups have changed since its start, and whether that looks like a collapse.

It reads nothing and writes nothing, and needs the standard library only: the reward server audits ledgers with it, and
the trainer's guard watches a run with it.
"""
