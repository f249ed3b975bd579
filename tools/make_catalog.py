"""Write the expected objects of the schema: `python -m tools.make_catalog URL`.

The URL is that of a database in which the migrations have just run. Run it after each new
migration; a test fails until it was.
"""

import asyncio
import json
import sys

from community_directory.database import connect
from community_directory.doctor.schema_checks import CATALOG_PATH, read_catalog


async def main(url: str) -> None:
    """Write the objects of this database to the file of the package."""
    async with connect(url):
        catalog = await read_catalog()
    CATALOG_PATH.write_text(json.dumps(catalog, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
