"""The web pages for managers: Insights, and the admin panel in `admin`."""
