/// Tells when files of a zone are to be read again: they have changed, and nobody is writing them, since they look as they
/// did at the look before. Half of a zone must not be served, nor go to others under the serial that the whole will have.
struct FileWatch {
    /// Files by their names, as they looked at a time; nil for those that couldn't be reached.
    typealias Versions = [String: ZoneFile.Version?]

    /// As they were read; nil before that.
    private var known: Versions?
    /// As they looked last.
    private var seen: Versions?

    /// The files were read as they were then.
    mutating func note(_ versions: Versions) {
        known = versions
        seen = nil
    }

    /// Whether the files aren't as they were read. Blocks.
    func hasChanged(_ file: ZoneFile) -> Bool {
        known?.contains { name, version in file.version(of: name) != version } ?? true
    }

    /// Whether the files aren't as they were read, and have been as they are for a look at least. Blocks.
    mutating func hasSettled(_ file: ZoneFile) -> Bool {
        guard let known else { return true }
        let now = Versions(uniqueKeysWithValues: known.keys.map { ($0, file.version(of: $0)) })
        defer { seen = now }
        return now != known && now == seen
    }
}
