"""The objects with which the platform's side of gpuctl is installed in a cluster: definition, roles, deployment, admission policies.

Pure: from a few settings to plain mappings in the words of Kubernetes, the same ones in the same order every time.
"""
