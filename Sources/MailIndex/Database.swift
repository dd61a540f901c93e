import CSQLite

#if canImport(Glibc)
import Glibc
#endif

/// What SQLite says is wrong (https://www.sqlite.org/rescode.html).
struct DatabaseError: Error, Equatable, CustomStringConvertible {
    /// An extended result code.
    let code: CInt
    let description: String

    static func damage(_ text: String) -> DatabaseError { DatabaseError(code: SQLITE_CORRUPT, description: text) }

    /// The file holds no database, or one that was damaged: only a new one helps.
    var isDamage: Bool {
        let primary = code & 0xFF
        return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB
    }
}

/// One connection to a SQLite file. Used by one thread at a time.
struct Database: ~Copyable {
    private let connection: OpaquePointer

    /// How long a statement waits for another process. Milliseconds.
    private static let patience: CInt = 1000

    /// Opens the file; makes it, readable for its owner alone, where there is none.
    init(_ path: String) throws(DatabaseError) {
        try Self.makeFile(path)
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            let text = String(cString: sqlite3_errstr(code))
            sqlite3_close_v2(opened)
            throw DatabaseError(code: code, description: text)
        }
        connection = opened
        sqlite3_busy_timeout(connection, Self.patience)
    }

    deinit { sqlite3_close_v2(connection) }

    /// Makes the file where there is none. One that is there isn't opened: closing it would end SQLite's locks in this process.
    private static func makeFile(_ path: String) throws(DatabaseError) {
        var status = stat()
        if lstat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw DatabaseError(code: SQLITE_CANTOPEN, description: "not a file")
            }
            return
        }
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        if file >= 0 { close(file) }
        guard file >= 0 || errno == EEXIST else {
            throw DatabaseError(code: SQLITE_CANTOPEN, description: String(cString: strerror(errno)))
        }
    }

    var error: DatabaseError {
        DatabaseError(
            code: sqlite3_extended_errcode(connection),
            description: String(cString: sqlite3_errmsg(connection))
        )
    }

    /// Runs statements that have no values and no rows.
    func run(_ text: String) throws(DatabaseError) {
        guard sqlite3_exec(connection, text, nil, nil, nil) == SQLITE_OK else { throw error }
    }

    func prepare(_ text: String) throws(DatabaseError) -> Statement {
        var statement: OpaquePointer?
        let flags = UInt32(SQLITE_PREPARE_PERSISTENT)
        guard sqlite3_prepare_v3(connection, text, -1, flags, &statement, nil) == SQLITE_OK, let statement else {
            throw error
        }
        return Statement(statement)
    }

    /// Runs the body in a transaction, which is undone where the body throws.
    ///
    /// - Parameter writing: false where it only reads, which never waits for others.
    func transaction(writing: Bool = true, _ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        try run(writing ? "BEGIN IMMEDIATE" : "BEGIN")
        do throws(DatabaseError) {
            try body()
            try run("COMMIT")
        } catch {
            try? run("ROLLBACK")
            throw error
        }
    }
}

/// A prepared statement; ended with the last reference.
final class Statement {
    private let statement: OpaquePointer

    init(_ statement: OpaquePointer) { self.statement = statement }

    deinit { sqlite3_finalize(statement) }

    /// Sets values by their place, from 1 on.
    func bind(_ place: CInt, _ value: Int64) { sqlite3_bind_int64(statement, place, value) }

    func bind(_ place: CInt, octets: [UInt8]) {
        _ = octets.withUnsafeBytes { CSQLite_bind_octets(statement, place, $0.baseAddress, CInt(clamping: $0.count)) }
    }

    func bind(_ place: CInt, text: String) {
        var text = text
        _ = text.withUTF8 { octets in
            octets.withMemoryRebound(to: CChar.self) {
                CSQLite_bind_text(statement, place, $0.baseAddress, CInt(clamping: $0.count))
            }
        }
    }

    /// Goes to the next row; false where there is none: the statement can be used again then.
    func step() throws(DatabaseError) -> Bool {
        let code = sqlite3_step(statement)
        if code == SQLITE_ROW { return true }
        // The code again, or none: what is wrong has been said.
        sqlite3_reset(statement)
        guard code == SQLITE_DONE else {
            throw DatabaseError(code: code, description: String(cString: sqlite3_errstr(code)))
        }
        return false
    }

    /// Runs a statement that has no rows.
    func run() throws(DatabaseError) {
        while try step() {}
    }

    /// Leaves the rows that are left.
    func reset() { sqlite3_reset(statement) }

    func integer(_ column: CInt) -> Int64 { sqlite3_column_int64(statement, column) }

    /// A column's octets; they are there until the next step.
    func octets(_ column: CInt) -> UnsafeRawBufferPointer {
        let start = sqlite3_column_blob(statement, column)
        return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))
    }
}
