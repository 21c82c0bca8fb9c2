"""Settings of Sphinx. ``nox -s docs`` builds the pages; a warning is an error."""

import re
from pathlib import Path

project = "gpuctl"
author = "The gpuctl authors"
release = re.search(r'__version__ = "([^"]+)"', (Path(__file__).parents[1] / "gpuctl" / "__init__.py").read_text("utf-8"))[1]
extensions = ["myst_parser"]
exclude_patterns = ["_build", "examples"]
html_theme = "furo"
html_title = f"gpuctl {release}"
html_copy_source = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
