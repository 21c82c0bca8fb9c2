"""One module a verb (or a noun with verbs). Each names its ``VERB`` and keeps parsing, the run and the look of the result apart."""
