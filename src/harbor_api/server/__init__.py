"""gunicorn, taught what this service promises of connections: how long each may take, and whose go first.

It may import errors and problems; gevent lives here alone, and so does gunicorn, but for its errors. Nothing
in it knows what a request is about. What is changed of gunicorn, and why, is the table in `worker`.
"""
