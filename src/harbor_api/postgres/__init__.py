"""What we teach PostgreSQL and its driver: tables, statements, groups, migrations, a server to try it with.

Imports `domain` and `settings` alone. Nothing here knows what a request or a unit of work is.
"""
