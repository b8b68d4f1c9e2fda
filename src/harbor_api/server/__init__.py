"""gunicorn, taught what this service promises of connections: how long each may take, and whose go first.

It may import errors and problems, and gevent and gunicorn live here alone. Nothing in it knows what a
request is about.
"""
