"""Write the objects that `doctor` expects in the schema: `python -m tools.make_catalog URL`.

The URL is that of an empty database, in which the migrations run. Run it for each new migration.
"""

import asyncio
import json
import sys

from community_directory.database import connect, migrate
from community_directory.doctor.schema_checks import CATALOG_PATH, read_catalog


async def main(url: str) -> None:
    """Run the migrations, and write the objects that they make to the file of the package."""
    async with connect(url):
        await migrate()
        catalog = await read_catalog()
    CATALOG_PATH.write_text(json.dumps(catalog, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
