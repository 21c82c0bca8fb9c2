"""What a cluster's objects say of jobs: states, attempts, evidence.

``objects`` holds the fields that are read, ``gather`` the calls that read them; everything named ``translate`` is pure and is tested with
recorded objects. Nothing here judges: evidence goes to ``policy.explain``.
"""
