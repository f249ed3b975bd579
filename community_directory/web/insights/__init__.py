"""Insights: pages that show the community in charts, and lead from each number to its people."""
