"""Serve the web app: `python main.py [--demo]`, or `uvicorn main:app`."""

if __name__ == "__main__":
    from community_directory.__main__ import run_serve

    run_serve()
else:
    from community_directory.app import app as app  # noqa: PLC0414  uvicorn finds it here
