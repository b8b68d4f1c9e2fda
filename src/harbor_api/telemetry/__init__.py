"""What the service tells of itself to whoever operates it.

Imports nothing of ours, so that everything may be counted and logged where it happens.
"""
