"""One kubeconfig context as a Cluster: jobs as Kubernetes objects, read back from the cluster alone.

Everything that knows what a job looks like there lives here: ``names`` (names, labels, annotations), ``manifests`` (a submission as
objects; pure), ``code`` (a working directory as Secrets, and the program that runs in every pod), ``observe`` (objects and events as
states and evidence), and the cluster that puts them together. How an API server is spoken to is for ``gpuctl.kube``.
"""
