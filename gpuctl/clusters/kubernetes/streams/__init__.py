"""What flows between a person and the pods of a job: logs, programs, connections, files.

``target`` says which pod; ``logs`` (with ``reading``, ``resume``, ``records``, ``spool``) reads what pods print, ``exec`` runs programs in
them, ``forward`` reaches their ports, ``copy`` and ``volumepod`` move files. Which pods a job has, and in which state it is, is found out
elsewhere and handed in.
"""
