"""Write constraints.txt: the newest version of each package that pyproject.toml allows.

pip resolves the dependencies of the package and of all its extras, and installs nothing. Run it
with the oldest Python version that is supported: `make constraints`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
HEADER = """\
# The versions of all dependencies, the extras included. To install exactly these:
#
#   pip install --constraint constraints.txt 'community_directory-0.1.0-py3-none-any.whl[embedded]'
#
# `make constraints` writes this file.
"""


def main() -> None:
    """Resolve the dependencies, and write the file."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", "--report=-", f"{PROJECT}[ci]"]
    report = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
    found = [package["metadata"] for package in json.loads(report)["install"]]
    versions = {
        re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in found
    }
    del versions["community-directory"]
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (PROJECT / "constraints.txt").write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
