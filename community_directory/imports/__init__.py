"""A community's history: exports of its chats, read as a stream into contacts and participation events."""
