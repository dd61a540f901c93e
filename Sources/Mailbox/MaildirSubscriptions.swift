/// The file `subscriptions` of Dovecot, in the format in which it is found: version 2 (a line `V<TAB>2`, an empty line, then
/// names with a tab between their parts) or the older one (a name a line, as IMAP has it). New files get version 2. Names that
/// can't be used here are kept as they are.
struct MaildirSubscriptions: Equatable {
    static let path = "subscriptions"
    private static let header = Array("V\t2".utf8)
    private static let tab = UInt8(ascii: "\t")

    private let hasParts: Bool
    /// Of version 2, what is in front of the names.
    private let head: [[UInt8]]
    private var lines: [[UInt8]]

    /// What stands between the parts of the store's names.
    private let delimiter: UInt8

    /// - Parameters:
    ///   - octets: the file's; nil where there is none.
    ///   - delimiter: the store's.
    init(_ octets: [UInt8]?, delimiter: UInt8) {
        self.delimiter = delimiter
        var lines = (octets ?? []).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { Array($0) }
        hasParts = octets == nil || lines.first == Self.header
        if hasParts, octets != nil, let end = lines.firstIndex(of: []) {
            head = Array(lines[..<end])
            lines.removeSubrange(...end)
        } else {
            head = [Self.header]
            if hasParts { lines = [] }
        }
        self.lines = lines.filter { !$0.isEmpty }
    }

    /// In the order of the file.
    var names: [FolderName] { lines.compactMap { name($0) } }

    private func name(_ line: [UInt8]) -> FolderName? {
        guard hasParts else { return FolderName(String(decoding: line, as: UTF8.self), delimiter: delimiter) }
        return FolderName(
            parts: line.split(separator: Self.tab, omittingEmptySubsequences: false),
            delimiter: delimiter
        )
    }

    mutating func insert(_ name: FolderName) {
        guard !names.contains(name) else { return }
        let parts = name.parts.map { Array($0.utf8) }
        lines.append(hasParts ? Array(parts.joined(separator: [Self.tab])) : Array(name.description.utf8))
    }

    mutating func remove(_ name: FolderName) { lines = lines.filter { self.name($0) != name } }

    var octets: [UInt8] {
        let all = hasParts ? head + [[]] + lines : lines
        return all.flatMap { $0 + [UInt8(ascii: "\n")] }
    }
}
