"""All SQL, one file an aggregate: rows in, frozen dataclasses out, on a connection that is handed over.

Imports `postgres` and `domain`; none ends a transaction, and none knows another. A new statement gets its row
in tests/repositories/test_plans_at_size.py, or that test fails.
"""
