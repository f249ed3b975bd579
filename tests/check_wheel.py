"""Check an installed wheel in an empty directory: `check_wheel.py …/bin/community-directory`.

It needs the extra `embedded`, and nothing of the clone. CI runs it with the package alone.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

SAY_JOIN = """
from community_directory.language import find_translation
print(find_translation("es").gettext("Join"))
"""
"""A program that needs the catalog of a language."""
MAX_SECONDS = 120
"""The longest that one program may take."""


def main(program: str) -> None:
    """Start the demo twice, look at it, and read its database."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        os.chdir(folder)
        Path(folder).chmod(0o755)  # PostgreSQL's system user may enter it
        assert "serve" in output_of(program, "--help")
        assert "CREATE ROLE" in output_of(program, "roles")
        python = str(Path(program).with_name("python"))
        assert output_of(python, "-c", SAY_JOIN) == "Unirme\n"
        for start in ("The first start", "The second start"):
            seconds = check_panel(program)
            print(f"{start} took {seconds:.1f} seconds.")  # noqa: T201  for the log of CI
        count = output_of(program, "psql", "-At", "-c", "SELECT count(*) FROM community_members")
        assert int(count) > 100, count
        assert output_of(program, "migrate") == "The schema is up to date.\n"
        assert (Path(folder) / ".postgres" / "PG_VERSION").exists()


def check_panel(program: str) -> float:
    """Serve the demo until it is ready and its sign-in page answers; return how long it took."""
    begin = time.monotonic()
    with subprocess.Popen(
        [program, "serve", "--demo", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as server:
        signal.alarm(MAX_SECONDS)
        try:
            assert server.stdout
            url = next(
                found.group() for line in server.stdout if (found := re.search(r"http://\S+", line))
            )
            assert status_of(f"{url}readyz") == 200
            seconds = time.monotonic() - begin
            assert status_of(url) == 200
            assert status_of(f"{url}admin/public/login/") == 200
        finally:
            server.terminate()
    signal.alarm(0)
    assert server.returncode == 128 + signal.SIGTERM, server.returncode
    return seconds


def status_of(url: str) -> int:
    """Return the status of the answer."""
    with urlopen(url, timeout=30) as response:
        return int(response.status)


def output_of(*command: str) -> str:
    """Run a program that succeeds, and return its output."""
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=MAX_SECONDS
    ).stdout


if __name__ == "__main__":
    main(sys.argv[1])
