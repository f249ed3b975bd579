"""The workspace: the pages in which managers review, find and look after people."""
