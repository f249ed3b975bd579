"""Serve the web app: `python main.py [--demo]`, or `uvicorn main:app`."""

from community_directory.app import app as app  # noqa: PLC0414  uvicorn finds it here
from community_directory.app import main

if __name__ == "__main__":
    main()
