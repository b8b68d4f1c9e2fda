"""Views: HTTP in, HTTP out, one file a feature. Decorators say who calls, what is sent, what may go wrong.

Imports `web`, services, schemas and `ingest`, never repositories, and no resource another one: what two need
is one floor down.
"""
