-- Indexes that are quicker to make after the first crawl than during it.
CREATE INDEX IF NOT EXISTS entry_ino ON entry (ino);
CREATE INDEX IF NOT EXISTS entry_name ON entry (name);
CREATE INDEX IF NOT EXISTS entry_size ON entry (size);
CREATE INDEX IF NOT EXISTS entry_modified ON entry (modified);
CREATE INDEX IF NOT EXISTS entry_status ON entry (status) WHERE status <> 2;
