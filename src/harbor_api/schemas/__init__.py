"""Shapes: what a body, a query and an answer look like, and what the document says of them.

Imports only `domain`; marshmallow lives here. No I/O: what is right in itself a service may still refuse.
"""
