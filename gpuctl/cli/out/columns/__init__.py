"""The columns of each kind of object, one module a kind: ``COLUMNS`` and how an item is named. Pure: values in, text out."""
