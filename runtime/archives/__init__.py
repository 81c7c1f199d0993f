"""Archives: many videos, recognized in pieces by several workers, into files that a run which was killed goes on with.

`recognize_archive` draws how its parts work together.
"""
