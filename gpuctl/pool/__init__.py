"""A pool made of clusters, decided here and now: what is the same for every cluster.

Fan-out with deadlines (``members``), references (``resolve``), the choice at submit (``submit``, ``promises``), what a submission carries
(``submission``), logs, waiting and volumes' homes. Knows clusters only through ``port.cluster``; never prints, never reads configuration.
"""
