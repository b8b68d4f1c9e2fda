"""One piece of work each, in one unit of work: what an operator does with vessels, trackers, keys and so on.

Imports `database` and what lies below. Who may do it is known by then, and how it is told is not theirs.
"""
