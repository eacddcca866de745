"""Speed of localinstruct beside the fastest and the usual way on the same machine.

README.md describes each measurement.
"""
