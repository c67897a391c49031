"""From local fallback to migrated and cleaned: the JSONL archive and what is done with it."""
