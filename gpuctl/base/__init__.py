"""The floor: errors, exit codes, and the small languages people type (durations, quantities, names, selectors).

Only the standard library may be imported here, and nothing here knows what a GPU or a job is.
"""
