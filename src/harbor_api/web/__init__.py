"""What every view stands on: Flask and flask-smorest as we use them, one file a concern.

Imports `ingest`, `services` and what lies below. A decorator here does a thing and documents it in one place.
"""
