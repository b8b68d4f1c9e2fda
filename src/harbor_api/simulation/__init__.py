"""Trackers that are not aboard: what demo and replay send, over HTTP and signed like anybody's.

Imports only `domain`: a simulated tracker knows of the service what firmware does. httpx lives here.
"""
