"""The logs of all ranks as one stream: merged by time, folded, rendered. The same for every cluster.

What may live here: whatever turns the records of :mod:`gpuctl.port.stream` into lines for people (``merge.rendered``) or values for
programs (``merge.lines``). Everything works on blocks and lists of ``bytes`` with as little Python per line as can be; that is what reads
100 MB/s.

A *tagged* record, the form in which records travel inside this package, is a record without its newline and with four bytes at its end that
say which log it came from (see ``source``).
"""
