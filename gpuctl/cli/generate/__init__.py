"""What is made from the command tree: completion scripts, the man page, the reference pages, JSON Schemas.

``walk`` turns the verbs into plain values (``tree``); every other module here is a pure function from those values to a file's text.
``python -m gpuctl.cli.generate`` writes the files of a checkout, with ``--check`` it only says which of them are out of date.
"""
