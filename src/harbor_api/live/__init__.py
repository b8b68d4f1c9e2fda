"""What a process keeps warm for readers. All of it may be lost: the database holds the truth, and is asked
before anything here is told.

Stands beside ``services`` and ``ingest``: it may use the database, and nothing of HTTP.
"""
