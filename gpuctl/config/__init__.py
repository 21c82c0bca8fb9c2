"""What a person configured: directories, settings with their sources, profiles, and secrets.

Files, environment variables and the OS keyring are read here and nowhere else above the clusters. Nothing here talks to a cluster.
``keys`` is the one table of settings; documentation and ``config explain`` are generated from it. YAML and keyring are imported only
when a file exists or a token is needed, since every command passes through here.
"""
