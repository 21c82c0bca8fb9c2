"""Results to text: tables, JSON, YAML, names, single paths and columns. Pure: values in, text out."""
