//! The tables, and the steps that bring a file of an earlier version up to date.
//!
//! `PRAGMA user_version` counts the steps that a file has seen. A step is never changed once it is
//! released: what it leaves is what users have.

use rusqlite::{Connection, Transaction};

/// Tells our file from other databases: `LSTO` in ASCII.
pub(crate) const APPLICATION_ID: u32 = 0x4c53_544f;

/// One step from a version to the next.
type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// All steps; the file's version is the number of those that it has seen.
const MIGRATIONS: &[Migration] = &[
    |transaction| transaction.execute_batch(FIRST),
    |transaction| transaction.execute_batch(SECOND),
    |transaction| transaction.execute_batch(THIRD),
    |transaction| transaction.execute_batch(DRAFT_ATTACHMENTS),
    |transaction| transaction.execute_batch(CONNECTION_DETAILS),
];

/// The version that this program writes.
pub(crate) fn version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Sizes of files and times are SQLite's signed integers; times are milliseconds since 1970.
///
/// Paths of models are relative to the folder of models where they lie in it, so that it may move; a
/// path that is not UTF-8 is a blob.
const FIRST: &str = "
    CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        path TEXT NOT NULL UNIQUE,
        owner TEXT,
        repository TEXT,
        file TEXT,
        revision TEXT,
        sha256 TEXT,
        size_bytes INTEGER NOT NULL,
        licence TEXT,
        quantisation TEXT NOT NULL,
        family TEXT NOT NULL,
        context_tokens INTEGER,
        added_ms INTEGER NOT NULL,
        last_used_ms INTEGER,
        is_pinned INTEGER NOT NULL DEFAULT 0,
        is_damaged INTEGER NOT NULL DEFAULT 0,
        digests BLOB NOT NULL DEFAULT x''
    );
    CREATE TABLE downloads (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        repository TEXT NOT NULL,
        file TEXT NOT NULL,
        revision TEXT NOT NULL,
        wanted_sha256 TEXT,
        state TEXT NOT NULL DEFAULT 'queued',
        failure TEXT,
        model TEXT,
        progress TEXT NOT NULL DEFAULT '{}',
        received BLOB NOT NULL DEFAULT x'',
        digests BLOB NOT NULL DEFAULT x'',
        UNIQUE (repository, file)
    );
    CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE peaks (
        id INTEGER PRIMARY KEY,
        model TEXT NOT NULL, family TEXT NOT NULL, weights INTEGER NOT NULL,
        estimated INTEGER NOT NULL, measured INTEGER NOT NULL
    );
    CREATE TABLE connections (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL, host TEXT NOT NULL, purpose TEXT NOT NULL, outcome TEXT NOT NULL
    );
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE conversations (
        id TEXT PRIMARY KEY,
        title TEXT,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        is_pinned INTEGER NOT NULL DEFAULT 0,
        is_archived INTEGER NOT NULL DEFAULT 0,
        current_leaf TEXT,
        overflow TEXT,
        settings TEXT,
        view TEXT
    ) WITHOUT ROWID;
    CREATE INDEX conversations_by_update ON conversations (is_archived, is_pinned, updated_ms);
    -- The parent is checked at the end of a transaction, so that one statement removes a whole branch:
    -- a cascade along a chain of messages would be deeper than SQLite allows.
    CREATE TABLE messages (
        id TEXT PRIMARY KEY,
        conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        parent TEXT,
        position INTEGER NOT NULL,
        role TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        model TEXT,
        settings TEXT,
        stats TEXT,
        state TEXT NOT NULL CHECK (state IN ('writing', 'done', 'stopped', 'failed')),
        error TEXT,
        writer INTEGER,
        UNIQUE (conversation, id),
        FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id)
            DEFERRABLE INITIALLY DEFERRED
    ) WITHOUT ROWID;
    CREATE INDEX messages_by_parent ON messages (conversation, parent, position);
    CREATE INDEX messages_being_written ON messages (writer) WHERE state = 'writing';
    CREATE TABLE parts (
        id INTEGER PRIMARY KEY,
        message TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL DEFAULT '',
        data TEXT,
        UNIQUE (message, ordinal)
    );
    -- What an answer has grown by since it began; becomes parts when the answer ends.
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY,
        message TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        data TEXT
    );
    CREATE INDEX journal_by_message ON journal (message, id);
    CREATE TABLE drafts (
        conversation TEXT UNIQUE REFERENCES conversations (id) ON DELETE CASCADE,
        text TEXT NOT NULL,
        updated_ms INTEGER NOT NULL
    );

    CREATE VIEW searchable AS SELECT id, text FROM parts WHERE kind = 'text';
    CREATE VIRTUAL TABLE search USING fts5(
        text, content = 'searchable', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2'
    );
    -- Words of deleted messages leave the index at once, not at some later merge.
    INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
    CREATE TRIGGER parts_inserted AFTER INSERT ON parts WHEN new.kind = 'text' BEGIN
        INSERT INTO search (rowid, text) VALUES (new.id, new.text);
    END;
    CREATE TRIGGER parts_deleted AFTER DELETE ON parts WHEN old.kind = 'text' BEGIN
        INSERT INTO search (search, rowid, text) VALUES ('delete', old.id, old.text);
    END;
    CREATE TRIGGER parts_leaving BEFORE UPDATE ON parts WHEN old.kind = 'text' BEGIN
        INSERT INTO search (search, rowid, text) VALUES ('delete', old.id, old.text);
    END;
    CREATE TRIGGER parts_updated AFTER UPDATE ON parts WHEN new.kind = 'text' BEGIN
        INSERT INTO search (rowid, text) VALUES (new.id, new.text);
    END;

    -- Files of earlier versions that were taken over, so that none is taken over twice.
    CREATE TABLE imports (
        name TEXT NOT NULL, sha256 TEXT NOT NULL, at_ms INTEGER NOT NULL,
        kept_as TEXT, conversation TEXT,
        PRIMARY KEY (name, sha256)
    ) WITHOUT ROWID;
";

/// Folders, where titles come from, and what is deleted but can be restored for a few seconds.
const SECOND: &str = "
    CREATE TABLE conversation_folders (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, created_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    ALTER TABLE conversations ADD COLUMN title_origin TEXT;
    ALTER TABLE conversations ADD COLUMN folder TEXT
        REFERENCES conversation_folders (id) ON DELETE SET NULL;
    ALTER TABLE conversations ADD COLUMN deleted_ms INTEGER;
    ALTER TABLE messages ADD COLUMN deleted_ms INTEGER;
    CREATE INDEX conversations_by_folder ON conversations (folder) WHERE folder IS NOT NULL;
    CREATE INDEX conversations_deleted ON conversations (deleted_ms) WHERE deleted_ms IS NOT NULL;
    CREATE INDEX messages_deleted ON messages (deleted_ms) WHERE deleted_ms IS NOT NULL;
    UPDATE conversations SET title_origin = 'user' WHERE title IS NOT NULL;
    -- As `question_title`, except that runs of white space are not joined.
    UPDATE conversations SET title_origin = 'question', title = (
        SELECT trim(substr(replace(replace(parts.text, char(10), ' '), char(13), ' '), 1, 80))
        FROM messages JOIN parts ON parts.message = messages.id AND parts.kind = 'text'
        WHERE messages.conversation = conversations.id AND messages.role = 'user'
        ORDER BY messages.id, parts.ordinal LIMIT 1
    ) WHERE title IS NULL;
    UPDATE conversations SET title_origin = NULL WHERE title IS NULL;
";

/// Assistants and presets.
const THIRD: &str = "
    CREATE TABLE assistants (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT, look TEXT, settings TEXT,
        created_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// The documents that are attached to drafts; those of questions are parts of their messages.
const DRAFT_ATTACHMENTS: &str = "
    CREATE TABLE draft_attachments (
        id TEXT PRIMARY KEY,
        conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        text TEXT NOT NULL,
        data TEXT NOT NULL
    );
    CREATE INDEX draft_attachments_by_conversation ON draft_attachments (conversation);
";

/// What a connection was about, who asked for it, where it led, and its bytes each way.
const CONNECTION_DETAILS: &str = "
    ALTER TABLE connections ADD COLUMN subject TEXT NOT NULL DEFAULT '';
    ALTER TABLE connections ADD COLUMN asker TEXT NOT NULL DEFAULT '';
    ALTER TABLE connections ADD COLUMN address TEXT;
    ALTER TABLE connections ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE connections ADD COLUMN received INTEGER NOT NULL DEFAULT 0;
";

/// The tables and the columns that are read of each, in the order of their insertion.
pub(crate) const COLUMNS: &[(&str, &str)] = &[
    ("models", crate::models::COLUMNS),
    ("downloads", crate::downloads::COLUMNS),
    ("folders", "path"),
    ("peaks", "model, family, weights, estimated, measured"),
    ("connections", "at_ms, host, purpose, outcome, subject, asker, address, sent, received"),
    ("settings", "key, value"),
    ("assistants", crate::assistants::COLUMNS),
    ("conversation_folders", "id, name, created_ms"),
    (
        "conversations",
        "id, title, created_ms, updated_ms, is_pinned, is_archived, current_leaf, overflow, \
         settings, view, title_origin, folder, deleted_ms",
    ),
    (
        "messages",
        "id, conversation, parent, position, role, created_ms, model, settings, stats, state, \
         error, writer, deleted_ms",
    ),
    ("parts", "message, ordinal, kind, text, data"),
    ("journal", "message, kind, text, data"),
    ("drafts", "conversation, text, updated_ms"),
    ("draft_attachments", "id, conversation, text, data"),
    ("imports", "name, sha256, at_ms, kept_as, conversation"),
];

/// Checks that the tables have the columns that are read; `Err` says what is wrong.
pub(crate) fn check_tables(connection: &Connection) -> rusqlite::Result<()> {
    for (table, columns) in COLUMNS {
        connection.prepare(&format!("SELECT {columns} FROM {table} LIMIT 0"))?;
    }
    connection.prepare("SELECT rowid, text FROM search LIMIT 0")?;
    Ok(())
}

/// Carries out the steps that the file has not seen, in one transaction of the caller's.
pub(crate) fn migrate(transaction: &Transaction<'_>, from: u32) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().skip(from as usize) {
        migration(transaction)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_leaves_the_tables_that_are_read() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        migrate(&transaction, 0).unwrap();
        check_tables(&transaction).unwrap();
        transaction.commit().unwrap();
    }

    #[test]
    fn conversations_of_version_1_get_titles() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        transaction.execute_batch(FIRST).unwrap();
        transaction
            .execute_batch(
                "INSERT INTO conversations (id, title, created_ms, updated_ms)
                     VALUES ('a', NULL, 1, 2), ('b', 'Own', 1, 2), ('c', NULL, 1, 2);
                 INSERT INTO messages (id, conversation, position, role, created_ms, state)
                     VALUES ('m', 'a', 0, 'system', 1, 'done'), ('n', 'a', 1, 'user', 1, 'done'),
                            ('o', 'b', 0, 'user', 1, 'done');
                 INSERT INTO parts (message, ordinal, kind, text)
                     VALUES ('m', 0, 'text', 'Be brief'), ('n', 0, 'text', 'Why
not?'),
                            ('o', 0, 'text', 'Other');",
            )
            .unwrap();
        migrate(&transaction, 1).unwrap();
        check_tables(&transaction).unwrap();
        let sql = "SELECT title, title_origin FROM conversations ORDER BY id";
        let mut statement = transaction.prepare(sql).unwrap();
        let titles = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let titles: Vec<(Option<String>, Option<String>)> = titles.map(Result::unwrap).collect();
        let text = |text: &str| Some(text.to_owned());
        let expected =
            [(text("Why not?"), text("question")), (text("Own"), text("user")), (None, None)];
        assert_eq!(titles, expected);
    }
}
