"""The programs of PostgreSQL that the package runs."""

import asyncio
import gc

from community_directory.database import programs


async def test_a_program_whose_output_is_not_wanted_any_more_leaves_nothing_open() -> None:
    # `exec` makes the shell itself the program: its end is the end of the output.
    command = ["/bin/sh", "-c", "exec yes"]
    async with programs.running(command, stdout=asyncio.subprocess.PIPE) as program:
        async for chunk in programs.read_chunks(program):
            assert chunk.startswith(b"y\ny\n")
            break
    assert program.process.returncode is not None
    gc.collect()  # A pipe that is still open warns when it is collected, and warnings are errors.
