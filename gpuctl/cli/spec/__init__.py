"""From what a person typed, wrote and exported to one job document, with the origin of every value.

    directives in the script < GPUCTL_SUBMIT_* < job file < flags < --set

* ``flag``: what a flag is, and the settings it yields; ``table``: every flag, once, for all of these sources; ``read_*``: their values;
* ``given``: where gpuctl's flags end and the script's begin;
* ``directives``, ``environment``, ``jobfile``, ``script``: the other sources;
* ``layers``: who wins, and who said so; ``build``: everything together, every problem at once.

Nothing here talks to a pool or prints.
"""
