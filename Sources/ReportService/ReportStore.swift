import Files
import NIOCore

/// What is known of each day, in one directory: `DAY.results`, rows as they came, and `DAY.sent`, what has gone out already. Every
/// call may block.
struct ReportStore: Sendable {
    private let files: any FileSystem
    private let directory: FileHandle

    /// Results of one day: what they come to, and how many octets their file has.
    struct Results {
        var totals: ReportTotals
        var octets: Int
    }

    init(_ files: any FileSystem, in directory: FileHandle) {
        self.files = files
        self.directory = directory
    }

    private static let results = ".results"
    private static let sent = ".sent"
    /// What is being written anew.
    private static let fresh = ".fresh"
    /// Octets of a list of what was sent.
    private static let maximumSent = 1 << 30

    /// The most octets of a file of results whose rows come to so many: it's written anew when it's longer.
    static func maximumFile(rows octets: Int) -> Int { 2 * octets + 4 << 20 }

    /// The days that there is something of, in their order.
    func days() throws(FileError) -> [ReportDay] {
        var days: Set<ReportDay> = []
        for octets in try files.names(".", in: directory) {
            let name = String(decoding: octets, as: UTF8.self)
            for suffix in [Self.results, Self.sent] where name.hasSuffix(suffix) {
                if let day = ReportDay(named: name.dropLast(suffix.utf8.count)) { days.insert(day) }
            }
        }
        return days.sorted()
    }

    /// A day's results; none where there is no file. A row whose write was cut off, and what is behind it, is left out.
    ///
    /// - Parameters:
    ///   - maximum: octets of all rows.
    ///   - mending: whether the rest is cut off, so that rows can be appended.
    func results(of day: ReportDay, maximum: Int, mending: Bool) throws(FileError) -> Results {
        var totals = ReportTotals(maximum: maximum)
        let octets: ByteBuffer
        do throws(FileError) {
            // It may have been written with a larger maximum.
            let most = max(Self.maximumFile(rows: maximum), 1 << 30)
            octets = try files.contents(of: day.name + Self.results, in: directory, maximum: most)
        } catch {
            guard error.isMissing else { throw error }
            return Results(totals: totals, octets: 0)
        }
        let whole = totals.read(octets)
        if mending, whole < octets.readableBytes { try cut(day, to: whole) }
        return Results(totals: totals, octets: whole)
    }

    private func cut(_ day: ReportDay, to octets: Int) throws(FileError) {
        let file = try files.open(day.name + Self.results, in: directory, [.writing], mode: 0)
        defer { files.close(file) }
        try files.truncate(file, to: octets)
    }

    /// Appends rows to a day's results. They outlive this process, not the machine: they are counts, and a disk that syncs
    /// mail is not to wait for them.
    ///
    /// - Parameter length: of the file now; what was written is cut off where not all could be.
    func append(_ rows: ByteBuffer, to day: ReportDay, length: Int) throws(FileError) {
        let file = try files.open(day.name + Self.results, in: directory, [.writing, .creating], mode: 0o600)
        defer { files.close(file) }
        do throws(FileError) {
            try files.write(rows, to: file, at: length)
        } catch {
            try? files.truncate(file, to: length)
            throw error
        }
    }

    /// Writes a day's results anew, each row once.
    ///
    /// - Returns: octets of the file.
    func replace(_ day: ReportDay, by totals: ReportTotals) throws(FileError) -> Int {
        let rows = totals.encoded
        let name = day.name + Self.fresh
        let file = try files.open(name, in: directory, [.writing, .creating, .truncating], mode: 0o600)
        defer { files.close(file) }
        try files.write(rows, to: file)
        // Before it has the name: or a power cut leaves neither.
        try files.syncData(file)
        try files.rename(name, in: directory, to: day.name + Self.results, in: directory)
        return rows.readableBytes
    }

    // MARK: What has gone out

    /// The keys of what was sent about a day.
    func sent(about day: ReportDay) throws(FileError) -> Set<String> {
        do throws(FileError) {
            let octets = try files.contents(of: day.name + Self.sent, in: directory, maximum: Self.maximumSent)
            // A line without its end was cut off.
            return Set(
                String(buffer: octets).split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(
                    String.init
                )
            )
        } catch {
            guard error.isMissing else { throw error }
            return []
        }
    }

    /// Notes that something is in the queue; it's on stable storage when this returns.
    func note(sent key: String, about day: ReportDay) throws(FileError) {
        let name = day.name + Self.sent
        let file = try files.open(name, in: directory, [.writing, .appending, .creating], mode: 0o600)
        defer { files.close(file) }
        // A line that was cut off in a crash ends here.
        let size = try files.status(of: file).size
        let last = size > 0 ? try last(of: name, size) : ByteBuffer(string: "\n")
        let isCut = last != ByteBuffer(string: "\n")
        try files.write(ByteBuffer(string: "\(isCut ? "\n" : "")\(key)\n"), to: file)
        try files.syncData(file)
        // Always: who notes something at the same time may have made the file, and not have come so far.
        try files.sync(directory)
    }

    private func last(of name: String, _ size: Int) throws(FileError) -> ByteBuffer {
        let file = try files.open(name, in: directory, [.reading], mode: 0)
        defer { files.close(file) }
        return try files.read(1, from: file, at: size - 1)
    }

    /// Forgets a day. The list of what was sent goes last: without it, all would be sent again.
    func remove(_ day: ReportDay) throws(FileError) {
        for suffix in [Self.fresh, Self.results] { try removeIfThere(day.name + suffix) }
        try files.sync(directory)
        try removeIfThere(day.name + Self.sent)
    }

    private func removeIfThere(_ name: String) throws(FileError) {
        do throws(FileError) { try files.remove(name, in: directory) } catch {
            guard error.isMissing else { throw error }
        }
    }
}
