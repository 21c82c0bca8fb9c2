"""The command line: the only room that parses arguments or prints, and the only user of typer and rich. It decides nothing.

* ``main``: process entry, fast paths, errors to exit codes;
* ``commands``: the table of verbs, each loaded when it is called;
* ``verb``: what a verb is, and the options every verb takes;
* ``session``: streams, terminal facts, clock, pool: everything a verb touches, replaced whole in tests;
* ``cmd``: one module a verb: a parse half (its signature) and a run half;
* ``out``: results to text in every format; ``show``: errors, progress, prompts.
"""
