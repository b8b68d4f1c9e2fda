"""The nouns and rules of the service: pure, and the first thing to read.

Imports the standard library and nothing else: no I/O, no clock, no setting, no framework. Tracks are the
exception, which are arithmetic on columns: numpy's.
"""
