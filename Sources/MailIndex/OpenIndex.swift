/// The open file of an index, with the statements that were prepared.
final class OpenIndex {
    private let database: Database
    private var statements: [String: Statement] = [:]

    /// Counts the forms of the file: one of another form is made anew, for it's a cache.
    private static let form: Int64 = 3
    private static let texts = "texts"
    /// Those with a row a message.
    private static let tables = IndexedItem.allCases.map(\.rawValue) + [texts]

    /// Texts of messages that are gone are carried along up to this at least. Octets.
    private let maximumGarbage: Int64

    init(_ path: String, maximumGarbage: Int64 = 16 << 20) throws(DatabaseError) {
        self.maximumGarbage = maximumGarbage
        database = try Database(path)
        // A power cut costs the latest transactions, not the file. Temporary tables are in memory: there is no directory for them.
        try database.run(
            """
            PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024;
            PRAGMA journal_size_limit = 4194304; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
            """
        )
        guard try form() != Self.form else {
            try checkTables()
            return
        }
        try database.transaction { () throws(DatabaseError) in
            // Another process may have been faster.
            guard try form() != Self.form else { return }
            for table in Self.tables + ["folder", "text", "garbage"] {
                try database.run("DROP TABLE IF EXISTS \(table)")
            }
            try database.run(
                "CREATE TABLE folder (number INTEGER PRIMARY KEY, name TEXT, validity INTEGER, UNIQUE (name, validity))"
            )
            for item in IndexedItem.allCases {
                try database.run(
                    "CREATE TABLE \(item.rawValue) (id INTEGER PRIMARY KEY, identity INTEGER, octets BLOB)"
                )
            }
            try database.run(
                "CREATE TABLE texts (id INTEGER PRIMARY KEY, identity INTEGER, kept INTEGER, octets INTEGER)"
            )
            try database.run("CREATE TABLE garbage (octets INTEGER); INSERT INTO garbage VALUES (0)")
            try database.run(
                "CREATE VIRTUAL TABLE text USING fts5(header, body, content = '', columnsize = 0, detail = column, tokenize = 'trigram')"
            )
            try database.run("PRAGMA user_version = \(Self.form)")
        }
    }

    /// A file that we haven't made may have anything in the place of tables.
    private func checkTables() throws(DatabaseError) {
        let select = try database.prepare("SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')")
        defer { select.reset() }
        guard try select.step(), select.integer(0) == 0 else { throw .damage("not an index of messages") }
    }

    private func form() throws(DatabaseError) -> Int64 {
        let statement = try database.prepare("PRAGMA user_version")
        defer { statement.reset() }
        return try statement.step() ? statement.integer(0) : 0
    }

    private func statement(_ text: String) throws(DatabaseError) -> Statement {
        if let known = statements[text] { return known }
        let made = try database.prepare(text)
        statements[text] = made
        return made
    }

    // MARK: Folders

    func folder(_ name: String, _ validity: UInt32) throws(DatabaseError) -> Int64 {
        if let known = try number(name, validity) { return known }
        let insert = try statement("INSERT OR IGNORE INTO folder (name, validity) VALUES (?, ?)")
        insert.bind(1, text: name)
        insert.bind(2, Int64(validity))
        try insert.run()
        guard let number = try number(name, validity) else { throw database.error }
        return number
    }

    private func number(_ name: String, _ validity: UInt32) throws(DatabaseError) -> Int64? {
        let select = try statement("SELECT number FROM folder WHERE name = ? AND validity = ?")
        select.bind(1, text: name)
        select.bind(2, Int64(validity))
        defer { select.reset() }
        return try select.step() ? select.integer(0) : nil
    }

    // MARK: Items

    /// A message's key in all tables: ascends with the UID within a folder.
    private static func id(_ folder: Int64, _ uid: UInt32) -> Int64 { folder << 32 | Int64(uid) }
    private static func uid(_ id: Int64) -> UInt32 { UInt32(truncatingIfNeeded: id) }

    func read(
        _ item: IndexedItem,
        _ folder: Int64,
        _ uids: ClosedRange<UInt32>,
        _ body: (IndexedMessage, UnsafeRawBufferPointer) -> Void
    ) throws(DatabaseError) {
        let select = try statement(
            "SELECT id, identity, octets FROM \(item.rawValue) WHERE id BETWEEN ? AND ? ORDER BY id"
        )
        select.bind(1, Self.id(folder, uids.lowerBound))
        select.bind(2, Self.id(folder, uids.upperBound))
        while try select.step() { body(message(select), select.octets(2)) }
    }

    private func message(_ row: Statement) -> IndexedMessage {
        IndexedMessage(uid: Self.uid(row.integer(0)), identity: UInt64(bitPattern: row.integer(1)))
    }

    func keep(_ items: [(message: IndexedMessage, item: IndexedItem, octets: [UInt8])], _ folder: Int64)
        throws(DatabaseError)
    {
        try database.transaction { () throws(DatabaseError) in
            for entry in items {
                let insert = try statement(
                    "INSERT OR REPLACE INTO \(entry.item.rawValue) (id, identity, octets) VALUES (?, ?, ?)"
                )
                insert.bind(1, Self.id(folder, entry.message.uid))
                insert.bind(2, Int64(bitPattern: entry.message.identity))
                insert.bind(3, octets: entry.octets)
                try insert.run()
            }
        }
    }

    // MARK: Texts

    func keep(_ texts: [FolderIndex.Text], _ folder: Int64) throws(DatabaseError) {
        try database.transaction { () throws(DatabaseError) in
            let insert = try statement("INSERT OR IGNORE INTO texts (id, identity, kept, octets) VALUES (?, ?, ?, ?)")
            let count = try statement("SELECT changes()")
            let index = try statement("INSERT INTO text (rowid, header, body) VALUES (?, ?, ?)")
            for text in texts {
                let id = Self.id(folder, text.message.uid)
                insert.bind(1, id)
                insert.bind(2, Int64(bitPattern: text.message.identity))
                insert.bind(3, text.isWhole ? 1 : 0)
                insert.bind(4, text.isWhole ? Int64(text.header.count + text.body.count) : 0)
                try insert.run()
                defer { count.reset() }
                // Where it's in the index already it stays: a text can't be taken out.
                guard try count.step(), count.integer(0) == 1, text.isWhole else { continue }
                index.bind(1, id)
                index.bind(2, text: Trigrams.text(text.header))
                index.bind(3, text: Trigrams.text(text.body))
                try index.run()
            }
        }
    }

    func textStates(_ folder: Int64) throws(DatabaseError) -> [FolderIndex.TextState] {
        let select = try statement("SELECT id, identity, kept FROM texts WHERE id BETWEEN ? AND ? ORDER BY id")
        bindAll(of: folder, to: select, from: 1)
        var found: [FolderIndex.TextState] = []
        while try select.step() {
            found.append(FolderIndex.TextState(message: message(select), isKept: select.integer(2) != 0))
        }
        return found
    }

    private func bindAll(of folder: Int64, to statement: Statement, from place: CInt) {
        statement.bind(place, Self.id(folder, 0))
        statement.bind(place + 1, Self.id(folder, .max))
    }

    /// In one transaction, so that no text comes or goes in between.
    func lookUp(_ queries: [String?], _ folder: Int64) throws(DatabaseError) -> FolderIndex.TextAnswer {
        var answer = FolderIndex.TextAnswer()
        try database.transaction(writing: false) { () throws(DatabaseError) in
            answer.states = try textStates(folder)
            for query in queries {
                guard let query else {
                    answer.candidates.append(nil)
                    continue
                }
                let found = try candidates(query, folder)
                answer.candidates.append(found.count <= FolderIndex.maximumCandidates ? found : nil)
            }
        }
        return answer
    }

    func candidates(_ query: String, _ folder: Int64) throws(DatabaseError) -> [UInt32] {
        let select = try statement(
            "SELECT rowid FROM text WHERE text MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?"
        )
        select.bind(1, text: query)
        bindAll(of: folder, to: select, from: 2)
        select.bind(4, Int64(FolderIndex.maximumCandidates) + 1)
        var found: [UInt32] = []
        while try select.step() { found.append(Self.uid(select.integer(0))) }
        return found
    }

    // MARK: What is gone

    func remove(_ uids: [UInt32], _ folder: Int64) throws(DatabaseError) {
        try database.transaction { () throws(DatabaseError) in
            let select = try statement("SELECT octets FROM texts WHERE id = ?")
            var garbage: Int64 = 0
            for uid in uids {
                select.bind(1, Self.id(folder, uid))
                if try select.step() { garbage += select.integer(0) }
                select.reset()
            }
            for table in Self.tables {
                let delete = try statement("DELETE FROM \(table) WHERE id = ?")
                for uid in uids {
                    delete.bind(1, Self.id(folder, uid))
                    try delete.run()
                }
            }
            try leave(garbage)
        }
        try shrink()
    }

    func retain(_ uids: [UInt32], _ folder: Int64) throws(DatabaseError) {
        var gone: Set<UInt32> = []
        for table in Self.tables {
            let select = try statement("SELECT id FROM \(table) WHERE id BETWEEN ? AND ? ORDER BY id")
            bindAll(of: folder, to: select, from: 1)
            var place = 0
            while try select.step() {
                let uid = Self.uid(select.integer(0))
                while place < uids.count, uids[place] < uid { place += 1 }
                if place == uids.count || uids[place] != uid { gone.insert(uid) }
            }
        }
        if !gone.isEmpty { try remove(gone.sorted(), folder) }
    }

    /// Forgets folders that aren't among these names, and of one name all but the one of that number.
    func retain(folders names: Set<String>, _ current: Int64) throws(DatabaseError) {
        let select = try statement("SELECT number, name, (SELECT name FROM folder WHERE number = ?1) FROM folder")
        select.bind(1, current)
        var gone: [Int64] = []
        while try select.step() {
            let (number, name) = (select.integer(0), String(decoding: select.octets(1), as: UTF8.self))
            let isAnother = number != current && name == String(decoding: select.octets(2), as: UTF8.self)
            if isAnother || !names.contains(name) { gone.append(number) }
        }
        guard !gone.isEmpty else { return }
        try database.transaction { () throws(DatabaseError) in
            var garbage: Int64 = 0
            let sum = try statement("SELECT coalesce(sum(octets), 0) FROM texts WHERE id BETWEEN ? AND ?")
            let forget = try statement("DELETE FROM folder WHERE number = ?")
            for number in gone {
                bindAll(of: number, to: sum, from: 1)
                if try sum.step() { garbage += sum.integer(0) }
                sum.reset()
                for table in Self.tables {
                    let delete = try statement("DELETE FROM \(table) WHERE id BETWEEN ? AND ?")
                    bindAll(of: number, to: delete, from: 1)
                    try delete.run()
                }
                forget.bind(1, number)
                try forget.run()
            }
            try leave(garbage)
        }
        try shrink()
    }

    /// Texts of messages that are gone stay in the full-text index, which has no copy of them to take them out by. When most of
    /// it is of that kind it's emptied, and filled again.
    private func leave(_ octets: Int64) throws(DatabaseError) {
        guard octets > 0 else { return }
        let add = try statement("UPDATE garbage SET octets = octets + ?")
        add.bind(1, octets)
        try add.run()
        let select = try statement("SELECT octets, (SELECT coalesce(sum(octets), 0) FROM texts) FROM garbage")
        guard try select.step() else { return }
        let (garbage, kept) = (select.integer(0), select.integer(1))
        select.reset()
        guard garbage > max(maximumGarbage, kept) else { return }
        try database.run(
            "INSERT INTO text (text) VALUES ('delete-all'); DELETE FROM texts; UPDATE garbage SET octets = 0"
        )
    }

    /// Gives room that is free in the file back to the file system.
    private func shrink() throws(DatabaseError) {
        try database.run("PRAGMA incremental_vacuum")
    }
}
