"""What people open in a browser; none of it is an operation of the API or in its document.

Imports what views stand on (`web`) and services, never repositories, and no page another one.
"""
