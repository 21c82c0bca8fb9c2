"""Places where jobs run, one package each. Siblings never import each other."""
