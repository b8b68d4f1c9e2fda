"""How a fix gets in, fast: what holds state in a worker process between one request and the next.

Imports `database` and what lies below. Resources know `intake` alone.
"""
