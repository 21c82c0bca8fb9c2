"""The fields of Kubernetes objects that gpuctl reads, as types that an answer is decoded into; everything else is skipped unparsed.

One module per family. Every field has a default, since an API server leaves out what is empty; collections may also be null, so they
are ``X | None``. Types have no garbage collector's header (``gc=False``): they form trees, and ten thousand pods decode without a
pause. To write an object, build it as a plain mapping; these types are for reading.
"""
