"""Speaking to a Kubernetes API: kubeconfig, credentials, HTTP, typed partial decoding, lists, watches, streams. It knows no jobs of ours.

What is about Kubernetes as such lives here and nothing else: how to reach an API server, who we are there, what its answers and refusals
mean, and the fields of its objects that we read. What a job looks like in a cluster is for ``clusters/kubernetes``. ``api.Api`` is the
door; the other modules are what stands behind it. httpx and PyYAML are imported only when a cluster is talked to, the ``kubernetes``
package only for the few kinds of credentials that are left to it.
"""
