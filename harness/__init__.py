"""Which uvicorn did it? For the reported app, for the other ways to the failure, for one's own app or script."""
